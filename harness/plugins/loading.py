"""Load objects by import path: `package.module:Name`, or `/path/file.py:Name` for a single file.

Processes without the module `site` lack the functions `exit`, `quit` and `help`. `provide_builtins` defines them before
the code of others is imported.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import inspect
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from functools import reduce
from pathlib import Path
from types import ModuleType
from typing import Any

from harness.contract.domains import Scalar
from harness.errors import PluginError
from harness.system import python_process


def load_object(load: str) -> Any:
    """Return the object at an import path.

    Args:
        load: the import path, such as `torch.optim:Adam`.

    Raises:
        PluginError: the module cannot be imported, or does not define the name. The message contains the import path,
            and the file and line of the error.
    """
    python_process.provide_builtins()
    module_name, name = split_load(load)
    try:
        module = import_file(Path(module_name)) if is_file(module_name) else importlib.import_module(module_name)
        return reduce(getattr, name.split("."), module)
    except (Exception, SystemExit) as error:
        fix = "correct the import path, or install the package"
        raise PluginError(f"{load} cannot be loaded: {format_error(error)}", fix=fix) from error


@contextmanager
def drop_output() -> Iterator[None]:
    """Discard what a plugin prints to stdout within this context, because stdout is for the results of a command."""
    with open(os.devnull, "w", encoding="utf-8") as null, redirect_stdout(null):
        yield


def load_entry_point(value: str) -> Any:
    """Return the module or object of an entry point's value, `package.module` or `package.module:object`.

    Raises:
        BaseException: any exception that the import raises.
    """
    python_process.provide_builtins()
    module, _, attribute = value.partition("[")[0].partition(":")
    names = [name for name in attribute.strip().split(".") if name]
    return reduce(getattr, names, importlib.import_module(module.strip()))


def split_load(load: str) -> tuple[str, str]:
    """Return the module (or file) and the name in an import path.

    Raises:
        PluginError: the text is not of the form `module:Name`.

    >>> split_load("bench_mine.task:MyTask")
    ('bench_mine.task', 'MyTask')
    """
    module, colon, name = load.rpartition(":")
    if not (colon and module and name):
        problem = f"{load!r} is not an import path (package.module:name)"
        raise PluginError(problem, fix="write a path such as torch.optim:Adam")
    return module, name


def is_file(module: str) -> bool:
    """Return whether the module of an import path is the path of a file."""
    return module.endswith(".py")


def import_file(path: Path) -> ModuleType:
    """Execute a file as a module, once per process. The module's name is derived from the path.

    Raises:
        FileNotFoundError: the file does not exist.
        Exception: any exception that the file raises.
    """
    python_process.provide_builtins()
    path = path.expanduser().resolve()
    name = f"bench_file_{path.stem}_{hashlib.sha256(os.fsencode(path)).hexdigest()[:8]}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None, f"{path} is not a Python file"
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # The module is registered before it is executed, because dataclasses and pickle look it up by name.
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def select_keywords(part: Callable[..., Any], hparams: Mapping[str, Scalar]) -> dict[str, Scalar]:
    """Return the hyperparameters that a part's function accepts. A function with `**kwargs` accepts all of them."""
    parameters = inspect.signature(part).parameters.values()
    if any(p.kind is p.VAR_KEYWORD for p in parameters):
        return dict(hparams)
    names = {p.name for p in parameters}
    return {name: value for name, value in hparams.items() if name in names}


# --- errors in the code of plugins ----------------------------------------------------------------------------------


def format_error(error: BaseException, preferred: str = "") -> str:
    """Format an exception in one line: its type, its message, and the file and line that raised it.

    Args:
        error: the exception.
        preferred: path of a folder or file. The innermost stack frame in this folder or file is reported. If there is
            no such frame, the innermost frame outside this package is reported.

    >>> format_error(ValueError("two\\nlines"))
    'ValueError: two lines'
    """
    if isinstance(error, SyntaxError):
        message, file, line = error.msg, error.filename, error.lineno
    else:
        message = str(error)
        file, line = _find_innermost_frame(error, preferred)
    text = f"{type(error).__name__}: {' '.join(message.split())}".removesuffix(": ")
    if len(text) > 200:
        text = f"{text[:199]}…"
    return f"{text} ({Path(file).name}, line {line})" if file and line else text


def _find_innermost_frame(error: BaseException, preferred: str) -> tuple[str, int]:
    """Return the file and line of the innermost stack frame outside this package and the import machinery.

    Frames in the folder or file `preferred` take precedence.
    """
    innermost, innermost_preferred, trace = ("", 0), ("", 0), error.__traceback__
    harness = str(Path(__file__).parents[1])
    while trace is not None:
        file, line = trace.tb_frame.f_code.co_filename, trace.tb_lineno
        if not file.startswith(("<frozen", harness)) and Path(file).parent.name != "importlib":
            innermost = (file, line)
            innermost_preferred = innermost if preferred and file.startswith(preferred) else innermost_preferred
        trace = trace.tb_next
    return innermost_preferred if innermost_preferred[0] else innermost
