"""Read one plugin in a child process: import it, call its hooks, validate the entries and write the answer."""

from __future__ import annotations

import importlib
import inspect
import math
import os
import re
import signal
import sys
from collections.abc import Callable, Iterator
from functools import reduce
from itertools import islice
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

import msgspec
import pluggy

from harness.contract import hookspecs
from harness.contract.entries import DatasetEntry, ExecutorEntry, PartEntry, SubmissionEntry, WorkloadEntry
from harness.contract.workload import WorkloadFacts
from harness.errors import PluginError, suggest_nearest
from harness.plugins import loading
from harness.plugins.contents import PluginContents, ReadRequest
from harness.plugins.locating import locate_top
from harness.plugins.optimizer_space import signature_space
from harness.plugins.validation import Entry, find_duplicate, validate_entry
from harness.system.files import read_struct

#: Names of all hooks.
HOOKS = tuple(name for name in vars(hookspecs) if name.startswith("bench_"))
#: Maximum number of entries of one hook. A generator that yields more is assumed to be infinite.
_MAX_ENTRIES = 10_000
_EntryT = TypeVar("_EntryT", bound=Entry)
_SUBMISSION_KINDS = "a Recipe, a class with step(), eval_weights() and state_dict(), or a torch optimizer class"


def main(folder: Path) -> None:
    """Execute the request in a folder and write the answer there."""
    request = read_struct(folder / "request.json", ReadRequest)
    # If a plugin hangs and the requesting process has died, the alarm ends this process. The requesting process allows
    # for a busy machine, so the alarm comes much later than the limit.
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
    within = ""
    try:
        if request.action == "plugin":
            folders, origin = locate_top(re.split(r"[.:\s]", request.target)[0])
            within = folders[0] if folders else str(origin or "")
            return read_plugin(request.target, request.title)
        if request.action == "class":
            return PluginContents(submissions=(read_class(request.target),))
        within = request.target
        module = loading.import_file(Path(request.target))
        if request.action == "submission":
            return PluginContents(submissions=(read_submission(module, request.name),))
        return PluginContents(workloads=(read_workload(module, request.name),))
    except PluginError as error:
        fix = _one_line(error.fix) if error.fix else None
        return PluginContents(error=_one_line(error.what), fix=fix, passing=_is_passing(error.__cause__))
    # A plugin may raise anything, including SystemExit and KeyboardInterrupt.
    except BaseException as error:
        return PluginContents(error=loading.format_error(error, within), passing=_is_passing(error))


def _is_passing(error: BaseException | None) -> bool:
    """Return whether an error may be due to a lack of memory, space or open files, or to a signal from outside."""
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
            raise PluginError(problem, fix=f"choose one of: {', '.join(HOOKS)}") from error
        fix = "harness/contract/hookspecs.py has the signature of each hook"
        raise PluginError(_one_line(str(error)), fix=fix) from error
    return manager


def _refuse_undecorated(plugin: Any) -> None:
    """Raise PluginError for a function that has a hook's name but no `@hookimpl`. pluggy would ignore this function."""
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
        raise PluginError(problem, fix=f"{hook}() must yield entries") from error
    if len(items) > _MAX_ENTRIES:
        problem = f"{hook}() yields more than {_MAX_ENTRIES:,} entries"
        raise PluginError(problem, fix=f"yield at most {_MAX_ENTRIES:,} entries")
    for item in items:
        if not isinstance(item, expected):
            problem = f"{hook}() yields a {type(item).__name__}, not a {expected.__name__}"
            raise PluginError(problem, fix=f"yield objects of {expected.__name__}, from harness.api")
        yield normalise(item, expected, hook)


def normalise(entry: Any, expected: type[_EntryT], origin: str) -> _EntryT:
    """Validate an entry, and return it as it will be read from the cache, with every field in its declared type.

    Args:
        entry: the entry.
        expected: the entry's type.
        origin: name of the hook or file that declares the entry, for messages.

    Raises:
        PluginError: a field has a wrong type, or the entry is invalid.
    """
    fix = f"correct the fields of this {expected.__name__}"
    try:
        # Constructors of structs do not check types, but decoding does.
        normalised = msgspec.json.decode(msgspec.json.encode(entry), type=expected)
    except (msgspec.MsgspecError, TypeError, ValueError) as error:
        name = getattr(getattr(entry, "facts", entry), "name", None)
        raise PluginError(f"{origin}: {name!r}: {error}", fix=fix) from error
    if problems := validate_entry(normalised):
        raise PluginError(f"{origin}: {normalised.name!r}: {'; '.join(problems)}", fix=fix)
    return normalised


# --- files ----------------------------------------------------------------------------------------------------------


def read_submission(module: ModuleType, name: str | None) -> SubmissionEntry:
    """Return the entry of the submission in a file.

    Args:
        module: the imported file.
        name: name of the submission in the file. If None, the file must define exactly one submission; optimizer
            classes do not count if the file also defines a `Recipe` or a submission class.

    Raises:
        PluginError: the file does not define a submission, or defines several.
    """
    definitions = _find_submissions(module, None)
    preferred = [(n, value) for n, value in definitions if not _is_optimizer(value)] or definitions
    candidates = _find_submissions(module, name) if name else preferred
    name, value = _pick_one(candidates, module, name, "a submission", _SUBMISSION_KINDS)
    entry_name = _entry_name(module)
    if [n for n, _ in preferred] != [name]:
        entry_name += f".{name.lower()}"  # distinguishes the submissions of a file
    fields: dict[str, Any] = {"name": entry_name, "load": f"{_file_name(module)}:{name}", "distribution": "file"}
    summary = _summary(value, module, f"{name} in {Path(_file_name(module)).name}")
    if _is_optimizer(value):
        entry = SubmissionEntry(summary=summary, space=signature_space(value), **fields)
    else:
        # These fields have the same names in a recipe and in an entry.
        for field in ("needs", "checks", "model_options", "sources", "parts", "tags", "version"):
            if (attribute := getattr(value, field, None)) is not None:
                fields[field] = attribute
        fields["needs"] = getattr(value, "all_needs", fields.get("needs", frozenset()))
        entry = SubmissionEntry(summary=summary, space=getattr(value, "search_space", None) or {}, **fields)
    return normalise(entry, SubmissionEntry, Path(_file_name(module)).name)


def _find_submissions(module: ModuleType, name: str | None) -> list[tuple[str, Any]]:
    """Return the names and objects of the submissions in a file; only the object `name` if a name is given."""
    return [(n, value) for n, value in _public_names(module, name) if _is_submission(value, module, name)]


def _entry_name(module: ModuleType) -> str:
    """Return the name of an entry, which is derived from the file's name: `my-optimizer` for `my_optimizer.py`."""
    stem = Path(_file_name(module)).stem.lower().replace("_", "-")
    return re.sub(r"[^a-z0-9.+-]+", "-", stem).strip("-.+") or "file"


def read_workload(module: ModuleType, name: str | None) -> WorkloadEntry:
    """Return the entry of the workload class in a file.

    Args:
        module: the imported file.
        name: name of the class; None if the file must define exactly one workload.

    Raises:
        PluginError: the file does not define a workload, or defines several.
    """
    candidates = [
        (n, value)
        for n, value in _public_names(module, name)
        if inspect.isclass(value) and _is_defined_in(module, value, name) and hasattr(value, "facts")
    ]
    name, value = _pick_one(candidates, module, name, "a workload", "a class with `facts`")
    if not isinstance(value.facts, WorkloadFacts):
        problem = f"{name}.facts is a {type(value.facts).__name__}, not WorkloadFacts"
        raise PluginError(problem, fix="from harness.api import WorkloadFacts")
    optional = {field: getattr(value, field) for field in ("sources", "sibling", "needs_data") if hasattr(value, field)}
    entry = WorkloadEntry(
        facts=value.facts,
        load=f"{_file_name(module)}:{name}",
        summary=_summary(value, module, f"{name} in {Path(_file_name(module)).name}"),
        distribution="file",
        **optional,
    )
    return normalise(entry, WorkloadEntry, Path(_file_name(module)).name)


def _file_name(module: ModuleType) -> str:
    assert module.__file__ is not None
    return module.__file__


def _public_names(module: ModuleType, name: str | None) -> list[tuple[str, Any]]:
    """Return the public names and objects of a module, each object once; only the object `name` if a name is given."""
    if name is not None:
        return [(name, vars(module)[name])] if name in vars(module) else []
    by_identity: dict[int, tuple[str, Any]] = {}
    for public_name, value in vars(module).items():
        if not public_name.startswith("_"):
            by_identity.setdefault(id(value), (public_name, value))
    return list(by_identity.values())


def _is_defined_in(module: ModuleType, value: Any, name: str | None) -> bool:
    """Return whether a class belongs to a file, because it is defined there or was requested by name."""
    return name is not None or value.__module__ == module.__name__


def _is_submission(value: Any, module: ModuleType, name: str | None) -> bool:
    # A file that defines a recipe has already imported `harness.worker.recipe`. An import here would load torch for
    # every file.
    recipes = sys.modules.get("harness.worker.recipe")
    if recipes is not None and isinstance(value, recipes.Recipe):
        return True
    if not inspect.isclass(value) or not _is_defined_in(module, value, name):
        return False
    has_methods = all(callable(getattr(value, method, None)) for method in ("step", "eval_weights", "state_dict"))
    return has_methods or _is_optimizer(value)


def _is_optimizer(value: Any) -> bool:
    torch = sys.modules.get("torch")
    return torch is not None and inspect.isclass(value) and issubclass(value, torch.optim.Optimizer)


def _pick_one(
    candidates: list[tuple[str, Any]], module: ModuleType, name: str | None, noun: str, expected: str
) -> tuple[str, Any]:
    """Return the only candidate.

    Args:
        candidates: names and objects.
        module: the imported file.
        name: the requested name; None if no name was given.
        noun: the kind of object in messages, such as `a submission`.
        expected: description of the objects of this kind in messages.

    Raises:
        PluginError: there is no candidate, or there are several.
    """
    if len(candidates) == 1:
        return candidates[0]
    file = Path(_file_name(module)).name
    if candidates:
        choices = ", ".join(f"{file}:{candidate}" for candidate, _ in candidates)
        names = ", ".join(candidate for candidate, _ in candidates)
        raise PluginError(f"it defines several: {names}", fix=f"choose one of {choices}")
    if name is not None and name in vars(module):
        raise PluginError(f"{name} is not {noun}", fix=f"define {expected}")
    if name is not None:
        public = [candidate for candidate, _ in _public_names(module, None)]
        fix = f"choose one of: {', '.join(public)}" if public else f"define {expected}"
        raise PluginError(f"it has no {name!r}{suggest_nearest(name, public)}", fix=fix)
    raise PluginError(f"it does not define {noun}", fix=f"define {expected}")


def _summary(value: Any, module: ModuleType, default: str) -> str:
    """Return the first line of the first text that exists.

    The texts are the object's `summary`, its docstring, the docstring of the file, and `default`.
    """
    docstring = vars(value).get("__doc__") if inspect.isclass(value) else None
    for text in (getattr(value, "summary", None), docstring, module.__doc__):
        if isinstance(text, str) and text.strip():
            return text.strip().splitlines()[0].strip()
    return default


def _one_line(text: str) -> str:
    return " ".join(text.split())


# --- classes --------------------------------------------------------------------------------------------------------


def read_class(load: str) -> SubmissionEntry:
    """Return the entry of a torch optimizer class.

    Args:
        load: import path of the class, such as `torch.optim:Adam`.

    Raises:
        PluginError: the object is not a torch optimizer class, or has arguments without defaults.
        BaseException: any exception that the import raises.
    """
    module, _, name = load.partition(":")
    value = reduce(getattr, name.split("."), importlib.import_module(module))
    if not _is_optimizer(value):
        raise PluginError("it is not a torch optimizer class", fix="give a subclass of torch.optim.Optimizer")
    return SubmissionEntry(
        name=load,
        summary=f"{name} of {module} at a constant learning rate",
        load=load,
        space=signature_space(value),
        distribution=module.partition(".")[0],
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
