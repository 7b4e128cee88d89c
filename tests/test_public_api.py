"""What is public stays as it is: the names of `harness.api`, `harness.testing` and `harness`, and the hooks.

All of it is recorded in golden/public_api.json; docs/versioning.md says how it may change. If a change was meant:
BENCH_WRITE_GOLDEN=1 python -m pytest tests/test_public_api.py
"""

from __future__ import annotations

import inspect
import json
import os
import subprocess
import sys
import typing
from pathlib import Path
from types import ModuleType

import pytest

import harness
from harness import api, testing
from harness.contract import hookspecs

GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "public_api.json"


def describe(value: object) -> list[str]:
    """What users of a name rely on: arguments, public methods and attributes; for a type alias its arguments."""
    if typing.get_origin(value) is not None:
        return [getattr(argument, "__name__", str(argument)) for argument in typing.get_args(value)]
    if inspect.isclass(value):
        parameters = _parameters(value)
        members = _defined_names(value) - {parameter.removesuffix("=") for parameter in parameters}
        return parameters + [f".{name}" for name in sorted(members) if not name.startswith("_")]
    return _parameters(value) if callable(value) else []


def _defined_names(cls: type) -> set[str]:
    """Names that classes of this package define: not those inherited from torch or msgspec."""
    return {name for base in cls.__mro__ if base.__module__.startswith("harness") for name in vars(base)}


def _parameters(value: typing.Callable[..., object]) -> list[str]:
    parameters = inspect.signature(value).parameters.values()
    return [
        f"{p.name}=" if p.default is not p.empty else p.name for p in parameters if p.name not in ("args", "kwargs")
    ]


def public_names(module: ModuleType) -> dict[str, list[str]]:
    return {name: describe(getattr(module, name)) for name in module.__all__}


def surface() -> dict[str, dict[str, list[str]]]:
    hooks = {name: describe(hook) for name, hook in vars(hookspecs).items() if name.startswith("bench_")}
    modules = {"harness.api": api, "harness.testing": testing, "harness": harness}
    return {**{name: public_names(module) for name, module in modules.items()}, "hooks": hooks}


def test_the_public_surface_is_as_recorded() -> None:
    now = surface()
    if os.environ.get("BENCH_WRITE_GOLDEN"):
        GOLDEN.write_text(json.dumps(now, indent=1) + "\n")
    recorded = json.loads(GOLDEN.read_text())
    for part, names in recorded.items():
        assert sorted(now[part]) == sorted(names), f"names of {part}"
        for name, description in names.items():
            assert now[part][name] == description, f"{part}: {name}"
    assert now.keys() == recorded.keys()


@pytest.mark.parametrize("module", [api, testing, harness], ids=lambda module: module.__name__)
def test_public_names_are_sorted_and_no_others_resolve(module: ModuleType) -> None:
    assert list(module.__all__) == sorted(
        module.__all__, key=lambda name: (not name.isupper(), name[0].islower(), name)
    )
    with pytest.raises(AttributeError, match="no_such_name"):
        module.no_such_name  # noqa: B018


def test_importing_the_public_names_imports_nothing_heavy() -> None:
    modules = "harness, harness.api, harness.testing.pytest_plugin"
    code = f"import sys, {modules}; print({{'torch', 'numpy', 'pandas', 'scipy'}} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
