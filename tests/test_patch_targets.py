"""A test that patches an attribute by its dotted name names an attribute that exists.

A renamed function would otherwise be noticed only where the patching code runs, which may be a slow test or a child
process.
"""

from __future__ import annotations

import ast
import pkgutil
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
#: Calls whose first argument is the dotted name of what is replaced.
PATCHES = frozenset({"patch", "setattr", "delattr"})
PACKAGES = ("harness.", "submissions.", "workloads.", "studies.", "tools.", "benchmarks.")


def patch_targets(source: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and node.args:
            function, target = node.func, node.args[0]
            name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", None)
            if (
                name in PATCHES
                and isinstance(target, ast.Constant)
                and isinstance(target.value, str)
                and target.value.startswith(PACKAGES)
            ):
                yield target.value


TARGETS = sorted(
    {
        (path.relative_to(REPOSITORY).as_posix(), target)
        for folder in ("tests", "benchmarks")
        for path in (REPOSITORY / folder).rglob("*.py")
        for target in patch_targets(path.read_text())
    }
)


def test_targets_are_read_from_calls() -> None:
    source = 'mock.patch("harness.a.b", c)\nmonkeypatch.setattr("harness.d", 1)\nsetattr(x, "harness.e", 1)\n'
    assert list(patch_targets(source)) == ["harness.a.b", "harness.d"]


@pytest.mark.parametrize(("file", "target"), TARGETS)
def test_the_target_exists(file: str, target: str) -> None:
    pkgutil.resolve_name(target)
