"""Loads the objects that import paths name: `package.module:Name`, or `/path/file.py:Name` for a single file."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import inspect
import os
import sys
from collections.abc import Callable, Mapping
from functools import reduce
from pathlib import Path
from types import ModuleType
from typing import Any

from harness.contract.domains import Scalar
from harness.errors import PluginError


def load_object(load: str) -> Any:
    """The object that an import path names.

    Raises:
        PluginError: the module cannot be imported or does not have the name; the message has the import path, and the
            file and line of the error.
    """
    module_name, name = split_load(load)
    try:
        module = import_file(Path(module_name)) if is_file(module_name) else importlib.import_module(module_name)
        return reduce(getattr, name.split("."), module)
    except (Exception, SystemExit) as error:
        fix = "correct the import path, or install what it needs"
        raise PluginError(f"{load} cannot be loaded: {format_error(error)}", fix=fix) from error


def load_entry_point(value: str) -> Any:
    """The module or object that the value of an entry point names, `package.module` or `package.module:object`.

    Raises:
        BaseException: whatever the import raises.
    """
    module, _, attribute = value.partition("[")[0].partition(":")
    names = [name for name in attribute.strip().split(".") if name]
    return reduce(getattr, names, importlib.import_module(module.strip()))


def split_load(load: str) -> tuple[str, str]:
    """The module (or file) and the name of an import path.

    Raises:
        PluginError: the text is not of the form `module:Name`.

    >>> split_load("bench_mine.task:MyTask")
    ('bench_mine.task', 'MyTask')
    """
    module, colon, name = load.rpartition(":")
    if not (colon and module and name):
        raise PluginError(f"{load!r} is not an import path (package.module:name)", fix="such as torch.optim:Adam")
    return module, name


def is_file(module: str) -> bool:
    """Whether the module of an import path is given as the path of a file."""
    return module.endswith(".py")


def import_file(path: Path) -> ModuleType:
    """Execute a file as a module, once per process; the module's name is derived from the path.

    Raises:
        Exception: whatever the file raises; FileNotFoundError where it does not exist.
    """
    path = path.expanduser().resolve()
    name = f"bench_file_{path.stem}_{hashlib.sha256(os.fsencode(path)).hexdigest()[:8]}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None, f"{path} is not a Python file"
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # Registered before it is executed, because dataclasses and pickle look up their module by name.
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def select_keywords(part: Callable[..., Any], hparams: Mapping[str, Scalar]) -> dict[str, Scalar]:
    """The hyperparameters that a part has as arguments; all of them where it takes `**kwargs`."""
    parameters = inspect.signature(part).parameters.values()
    if any(p.kind is p.VAR_KEYWORD for p in parameters):
        return dict(hparams)
    names = {p.name for p in parameters}
    return {k: v for k, v in hparams.items() if k in names}


# --- errors in the code of plugins ----------------------------------------------------------------------------------


def format_error(error: BaseException, within: str = "") -> str:
    """An exception in one line: type, message, file and line.

    Args:
        within: a folder or file; the innermost frame in it is named, rather than one in a library that it called.

    >>> format_error(ValueError("two\\nlines"))
    'ValueError: two lines'
    """
    if isinstance(error, SyntaxError):
        message, file, line = error.msg, error.filename, error.lineno
    else:
        message = str(error)
        file, line = _find_innermost_frame(error, within)
    text = f"{type(error).__name__}: {' '.join(message.split())}".removesuffix(": ")
    if len(text) > 200:
        text = f"{text[:199]}…"
    return f"{text} ({Path(file).name}, line {line})" if file and line else text


def _find_innermost_frame(error: BaseException, within: str) -> tuple[str, int]:
    """File and line of the innermost frame that is neither of this package nor of the import machinery."""
    place, inside, trace = ("", 0), ("", 0), error.__traceback__
    harness = str(Path(__file__).parents[1])
    while trace is not None:
        file, line = trace.tb_frame.f_code.co_filename, trace.tb_lineno
        if not file.startswith(("<frozen", harness)) and Path(file).parent.name != "importlib":
            place = (file, line)
            inside = place if within and file.startswith(within) else inside
        trace = trace.tb_next
    return inside if inside[0] else place
