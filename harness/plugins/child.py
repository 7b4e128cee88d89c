"""Read a plugin, a file or an object in a child process, validate the entries, and write the answer."""

from __future__ import annotations

import inspect
import math
import os
import re
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

import msgspec
import pluggy

from harness import __version__
from harness.contract import hookspecs
from harness.contract.entries import (
    DatasetEntry,
    ExecutorEntry,
    ObserverEntry,
    PartEntry,
    SubmissionEntry,
    WorkloadEntry,
)
from harness.errors import PluginError, suggest_nearest
from harness.plugins import loading, objects
from harness.plugins.contents import PluginContents, ReadRequest, TargetKind
from harness.plugins.locating import locate_top
from harness.plugins.normalising import normalise
from harness.plugins.validation import Entry, find_duplicate
from harness.system.files import read_struct

#: Names of all hooks.
HOOKS = tuple(name for name in vars(hookspecs) if name.startswith("bench_"))
#: Maximum number of entries of one hook. A generator that yields more entries is assumed to be infinite.
_MAX_ENTRIES = 10_000
#: Remedy if a plugin uses a name or field that is unknown to this version of the harness.
NEWER_VERSION = f"if the plugin is for a newer version than {__version__}, update algorace"
_EntryT = TypeVar("_EntryT", bound=Entry)
#: Kind of target -> the function that reads the target. Plugins are not listed: `read_plugin` has other arguments.
_READERS: Mapping[TargetKind, Callable[[ReadRequest], PluginContents]] = {
    "submission": objects.read_submission_file,
    "workload": objects.read_workload_file,
    "class": objects.read_class,
    "loaded submission": objects.read_loaded_submission,
    "loaded workload": objects.read_loaded_workload,
}


def main(folder: Path) -> None:
    """Execute the request in a folder and write the answer there."""
    request = read_struct(folder / "request.json", ReadRequest)
    # Normally, the requesting process ends a child that hangs. The alarm ends the child if the requesting process
    # has died. On a busy machine, the requesting process allows more time than the limit. The time to the alarm is
    # therefore more than ten times the limit.
    signal.alarm(math.ceil(10 * request.limit) + 5)
    sys.path[:] = request.path
    contents = read(request)
    temporary = folder / "answer.tmp"
    temporary.write_bytes(msgspec.json.encode(contents))
    os.replace(temporary, folder / "answer.json")
    # sys.exit would wait for threads that the plugin started.
    os._exit(0)


def read(request: ReadRequest) -> PluginContents:
    """Read the target of a request. Any exception is returned as `PluginContents.error`."""
    own_code = request.target if request.target_kind in ("submission", "workload") else ""
    try:
        if request.target_kind == "plugin":
            folders, origin = locate_top(re.split(r"[.:\s]", request.target)[0])
            own_code = folders[0] if folders else str(origin or "")
            return read_plugin(request.target, request.title)
        return _READERS[request.target_kind](request)
    except PluginError as error:
        fix = _one_line(error.fix) if error.fix else None
        return PluginContents(error=_one_line(error.what), fix=fix, is_transient=_is_transient(error.__cause__))
    # A plugin may raise anything, including SystemExit and KeyboardInterrupt.
    except BaseException as error:
        text = loading.format_error(error, own_code)
        return PluginContents(error=text, fix=find_fix(error), is_transient=_is_transient(error))


def find_fix(error: BaseException) -> str | None:
    """Return the remedy for an error that depends on the installed packages; None for other errors.

    Such an error has one of two causes:

    * A package is missing.
    * The plugin is for a newer version of the harness. It uses a name of `harness.api`, or a field of an entry, that
      this version does not have.

    >>> find_fix(ModuleNotFoundError("No module named 'numba.core'", name="numba.core"))
    'pip install numba, or install the plugin again with its dependencies'
    """
    if isinstance(error, ModuleNotFoundError) and error.name and not error.name.startswith("harness"):
        return f"pip install {error.name.partition('.')[0]}, or install the plugin again with its dependencies"
    is_of_api = isinstance(error, ImportError) and (error.name or "").startswith("harness")
    is_of_entry = isinstance(error, TypeError) and "Unexpected keyword argument" in str(error)
    return NEWER_VERSION if is_of_api or is_of_entry else None


def _is_transient(error: BaseException | None) -> bool:
    """Return whether an error may be transient, such as a lack of memory or space, or a signal from outside."""
    return isinstance(error, OSError | MemoryError | KeyboardInterrupt)


# --- plugins --------------------------------------------------------------------------------------------------------


def read_plugin(value: str, title: str) -> PluginContents:
    """Import an entry point's value, register it, and collect the entries that its hooks yield.

    Args:
        value: value of the entry point, `package.module` or `package.module:object`.
        title: the name under which pluggy registers the plugin.

    Raises:
        PluginError: a hook is unknown or has a wrong signature, or an entry is invalid.
        BaseException: any exception that the import raises.
    """
    plugin = loading.load_entry_point(value)
    manager = register(plugin, title)
    _refuse_undecorated(plugin)
    implemented = {hook: getattr(manager.hook, hook).get_hookimpls() for hook in HOOKS}
    hooks = tuple(hook for hook in HOOKS if implemented[hook])
    if not hooks:
        raise PluginError("it does not implement a hook", fix=f"implement one of {', '.join(HOOKS)}")

    def collect(hook: str, expected: type[_EntryT]) -> tuple[_EntryT, ...]:
        entries = [entry for impl in implemented[hook] for entry in _call_hook(hook, impl.function, expected)]
        names = [entry.id if isinstance(entry, PartEntry) else entry.name for entry in entries]
        if (duplicate := find_duplicate(names)) is not None:
            raise PluginError(f"{hook}() yields {duplicate!r} twice", fix="rename one of the two entries")
        return tuple(entries)

    return PluginContents(
        hooks=hooks,
        workloads=collect("bench_workloads", WorkloadEntry),
        submissions=collect("bench_submissions", SubmissionEntry),
        parts=collect("bench_parts", PartEntry),
        executors=collect("bench_executors", ExecutorEntry),
        observers=collect("bench_observers", ObserverEntry),
        datasets=collect("bench_datasets", DatasetEntry),
    )


def register(plugin: Any, title: str) -> pluggy.PluginManager:
    """Register a plugin with a new plugin manager, which checks its hooks.

    Raises:
        PluginError: a hook does not exist, or its implementation has unknown arguments.
    """
    manager = pluggy.PluginManager(hookspecs.PROJECT)
    manager.add_hookspecs(hookspecs)
    try:
        manager.register(plugin, name=title)
        manager.check_pending()
    except pluggy.PluginValidationError as error:
        if match := re.match(r"unknown hook '(\w+)'", str(error)):
            problem = f"unknown hook {match[1]!r}{suggest_nearest(match[1], HOOKS)}"
            raise PluginError(problem, fix=f"choose one of: {', '.join(HOOKS)}; {NEWER_VERSION}") from error
        fix = "harness/contract/hookspecs.py has the signature of each hook"
        raise PluginError(_one_line(str(error)), fix=fix) from error
    return manager


def _refuse_undecorated(plugin: Any) -> None:
    """Raise PluginError if a function has a hook's name but no `@hookimpl`. Pluggy would ignore this function."""
    for name, value in vars(plugin).items() if isinstance(plugin, ModuleType) else ():
        if name in HOOKS and inspect.isfunction(value) and not hasattr(value, f"{hookspecs.PROJECT}_impl"):
            raise PluginError(f"{name} is not marked with @hookimpl", fix="import hookimpl from harness.api")


def _call_hook(hook: str, function: Callable[[], Any], expected: type[_EntryT]) -> Iterator[_EntryT]:
    """Call a hook of a plugin, and yield its entries after checking their type and content."""
    try:
        result = function()
        items = [] if result is None else list(islice(iter(result), _MAX_ENTRIES + 1))
    except Exception as error:
        code = getattr(function, "__code__", None)
        problem = f"{hook}() raised {loading.format_error(error, code.co_filename if code else '')}"
        raise PluginError(problem, fix=find_fix(error) or f"{hook}() must yield entries") from error
    if len(items) > _MAX_ENTRIES:
        problem = f"{hook}() yields more than {_MAX_ENTRIES:,} entries"
        raise PluginError(problem, fix=f"yield at most {_MAX_ENTRIES:,} entries")
    for item in items:
        if not isinstance(item, expected):
            problem = f"{hook}() yields a {type(item).__name__}, not a {expected.__name__}"
            raise PluginError(problem, fix=f"yield objects of {expected.__name__}, from harness.api")
        yield normalise(item, expected, hook)


def _one_line(text: str) -> str:
    return " ".join(text.split())


if __name__ == "__main__":
    main(Path(sys.argv[1]))
