"""The child's side of reading plugins: imports one, calls its hooks, validates what they yield, writes the answer."""

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
from harness.contract.domains import Fixed, LogUniform, Scalar, Space
from harness.contract.entries import DatasetEntry, ExecutorEntry, PartEntry, SubmissionEntry, WorkloadEntry
from harness.contract.workload import WorkloadFacts
from harness.errors import PluginError, nearest
from harness.plugins import loading
from harness.plugins.cache import CacheRequest, PluginContents
from harness.plugins.validation import Entry, find_duplicates, validate_entry

_HOOKS = tuple(name for name in vars(hookspecs) if name.startswith("bench_"))
#: More entries than this from one hook are taken for a generator that does not end.
_MANY = 10_000
_EntryT = TypeVar("_EntryT", bound=Entry)


def main(folder: Path) -> None:
    """Carry out the request in a folder and leave the answer there."""
    request = msgspec.json.decode((folder / "request.json").read_bytes(), type=CacheRequest)
    # Should the asking process die, nobody else would end a plugin that hangs.
    signal.alarm(math.ceil(request.limit) + 5)
    sys.path[:] = request.path
    offer = read(request)
    temporary = folder / "answer.tmp"
    temporary.write_bytes(msgspec.json.encode(offer))
    os.replace(temporary, folder / "answer.json")
    # Without the interpreter's farewell, which would wait for the threads that a plugin left behind.
    os._exit(0)


def read(request: CacheRequest) -> PluginContents:
    """What a request names, as plain data; whatever goes wrong is the offer's error."""
    within = ""
    try:
        if request.action == "plugin":
            folders, origin = loading.locate_top(re.split(r"[.:\s]", request.target)[0])
            within = folders[0] if folders else str(origin or "")
            return read_plugin(request.target, request.title)
        if request.action == "class":
            return PluginContents(submissions=(read_class(request.target),))
        within = request.target
        module = loading.import_file(Path(request.target))
        if request.action == "submission":
            return PluginContents(submissions=(read_submission(module, request.wanted),))
        return PluginContents(workloads=(read_workload(module, request.wanted),))
    except PluginError as error:
        return PluginContents(error=" ".join(str(error).split()))
    # A plugin may raise anything, SystemExit and KeyboardInterrupt among it.
    except BaseException as error:
        return PluginContents(error=loading.format_error(error, within))


# --- plugins --------------------------------------------------------------------------------------------------------


def read_plugin(value: str, title: str) -> PluginContents:
    """Import an entry point's value, register it, and collect what its hooks yield.

    Raises:
        PluginError: unknown hooks, wrong signatures, invalid entries.
        BaseException: whatever the import raises.
    """
    plugin = loading.load_entry_point(value)
    manager = register(plugin, title)
    _undecorated(plugin)
    implemented = {hook: getattr(manager.hook, hook).get_hookimpls() for hook in _HOOKS}
    hooks = tuple(hook for hook in _HOOKS if implemented[hook])
    if not hooks:
        raise PluginError(f"it implements none of the hooks {', '.join(_HOOKS)}")

    def collect(hook: str, expected: type[_EntryT]) -> tuple[_EntryT, ...]:
        made = [entry for impl in implemented[hook] for entry in _yielded(hook, impl.function, expected)]
        twice = find_duplicates(entry.id if isinstance(entry, PartEntry) else entry.name for entry in made)
        if twice is not None:
            raise PluginError(f"{hook}() yields {twice!r} twice")
        return tuple(made)

    return PluginContents(
        hooks=hooks,
        workloads=collect("bench_workloads", WorkloadEntry),
        submissions=collect("bench_submissions", SubmissionEntry),
        parts=collect("bench_parts", PartEntry),
        executors=collect("bench_executors", ExecutorEntry),
        datasets=collect("bench_datasets", DatasetEntry),
    )


def register(plugin: Any, title: str) -> pluggy.PluginManager:
    """A plugin manager with this plugin in it, its hooks checked.

    Raises:
        PluginError: a hook that does not exist, or one with arguments that it does not have.
    """
    manager = pluggy.PluginManager(hookspecs.PROJECT)
    manager.add_hookspecs(hookspecs)
    try:
        manager.register(plugin, name=title)
        manager.check_pending()
    except pluggy.PluginValidationError as error:
        text = " ".join(str(error).split())
        if unknown := re.match(r"unknown hook '(\w+)'", text):
            text = f"unknown hook {unknown[1]!r}{nearest(unknown[1], _HOOKS)}"
        raise PluginError(text) from error
    return manager


def _undecorated(plugin: Any) -> None:
    """Refuse functions that are called like a hook and would be ignored without a word."""
    for name, value in vars(plugin).items() if isinstance(plugin, ModuleType) else ():
        if name in _HOOKS and inspect.isfunction(value) and not hasattr(value, f"{hookspecs.PROJECT}_impl"):
            raise PluginError(f"{name} is not marked with @hookimpl", fix="from harness.api import hookimpl")


def _yielded(hook: str, function: Callable[[], Any], expected: type[_EntryT]) -> Iterator[_EntryT]:
    try:
        result = function()
        items = [] if result is None else list(islice(iter(result), _MANY + 1))
    except Exception as error:
        code = getattr(function, "__code__", None)
        within = code.co_filename if code else ""
        raise PluginError(f"{hook}() raised {loading.format_error(error, within)}") from error
    if len(items) > _MANY:
        raise PluginError(f"{hook}() does not come to an end")
    for item in items:
        if not isinstance(item, expected):
            raise PluginError(f"{hook}() yields a {type(item).__name__}, not a {expected.__name__}")
        yield normalised(item, expected, hook)


def normalised(entry: Any, expected: type[_EntryT], origin: str) -> _EntryT:
    """The entry with every field in its declared type, as it will come back from the cache.

    Raises:
        PluginError: a field of a wrong type, or an invalid entry.
    """
    try:
        # Constructors of structs check nothing; reading them back does.
        made = msgspec.json.decode(msgspec.json.encode(entry), type=expected)
    except (msgspec.MsgspecError, TypeError, ValueError) as error:
        name = getattr(getattr(entry, "facts", entry), "name", None)
        raise PluginError(f"{origin}: {name!r}: {error}") from error
    if problems := validate_entry(made):
        raise PluginError(f"{origin}: {made.name!r}: {'; '.join(problems)}")
    return made


# --- files ----------------------------------------------------------------------------------------------------------


def read_submission(module: ModuleType, wanted: str | None) -> SubmissionEntry:
    """The entry of the one submission that a file defines, or of the one wanted.

    A `Recipe` or a submission class goes before optimizer classes, which it is then made of.

    Raises:
        PluginError: none, or several; they are listed.
    """
    found = _submissions(module, None)
    own = [(name, value) for name, value in found if not _is_optimizer(value)] or found
    what = "Recipe, no class with step, eval_weights and state_dict, and no torch optimizer class"
    name, value = _only(_submissions(module, wanted) if wanted else own, module, wanted, what)
    entry_name = _stem(module)
    if [other for other, _ in own] != [name]:
        entry_name += f".{name.lower()}"  # a file of several needs their names apart
    fields: dict[str, Any] = {"name": entry_name, "load": f"{_file(module)}:{name}", "distribution": "file"}
    summary = _summary(value, module, f"{name} in {Path(_file(module)).name}")
    if _is_optimizer(value):
        entry = SubmissionEntry(summary=summary, space=signature_space(value), **fields)
    else:
        # These have the same names in a recipe and in an entry.
        for field in ("needs", "checks", "model_options", "sources", "parts", "tags", "version"):
            if (given := getattr(value, field, None)) is not None:
                fields[field] = given
        entry = SubmissionEntry(summary=summary, space=getattr(value, "search_space", None) or {}, **fields)
    return normalised(entry, SubmissionEntry, Path(_file(module)).name)


def _submissions(module: ModuleType, wanted: str | None) -> list[tuple[str, Any]]:
    return [(name, value) for name, value in _public(module, wanted) if _is_submission(value, module, wanted)]


def _stem(module: ModuleType) -> str:
    """A file's name as the name of an entry: `my_optimizer.py` makes `my-optimizer`."""
    stem = Path(_file(module)).stem.lower().replace("_", "-")
    return re.sub(r"[^a-z0-9.+-]+", "-", stem).strip("-.+") or "file"


def read_workload(module: ModuleType, wanted: str | None) -> WorkloadEntry:
    """The entry of the one workload class that a file defines, or of the one wanted.

    Raises:
        PluginError: none, or several; they are listed.
    """
    found = [
        (name, value)
        for name, value in _public(module, wanted)
        if inspect.isclass(value) and _defined(value, module, wanted) and hasattr(value, "facts")
    ]
    name, value = _only(found, module, wanted, "class with `facts`")
    if not isinstance(value.facts, WorkloadFacts):
        raise PluginError(f"{name}.facts is a {type(value.facts).__name__}, not WorkloadFacts")
    optional = {field: getattr(value, field) for field in ("sources", "sibling", "needs_data") if hasattr(value, field)}
    entry = WorkloadEntry(
        facts=value.facts,
        load=f"{_file(module)}:{name}",
        summary=_summary(value, module, f"{name} in {Path(_file(module)).name}"),
        distribution="file",
        **optional,
    )
    return normalised(entry, WorkloadEntry, Path(_file(module)).name)


def _file(module: ModuleType) -> str:
    assert module.__file__ is not None
    return module.__file__


def _public(module: ModuleType, wanted: str | None) -> list[tuple[str, Any]]:
    """Names and objects of a module, each object once; only the wanted name when there is one."""
    if wanted is not None:
        return [(wanted, vars(module)[wanted])] if wanted in vars(module) else []
    once: dict[int, tuple[str, Any]] = {}
    for name, value in vars(module).items():
        if not name.startswith("_"):
            once.setdefault(id(value), (name, value))
    return list(once.values())


def _defined(value: Any, module: ModuleType, wanted: str | None) -> bool:
    """Whether a class is the file's own; one that was named counts wherever it comes from."""
    return wanted is not None or value.__module__ == module.__name__


def _is_submission(value: Any, module: ModuleType, wanted: str | None) -> bool:
    # Whoever defined a recipe has imported this; otherwise there is none, and torch need not be imported.
    recipes = sys.modules.get("harness.worker.recipe")
    if recipes is not None and isinstance(value, recipes.Recipe):
        return True
    if not inspect.isclass(value) or not _defined(value, module, wanted):
        return False
    methods = all(callable(getattr(value, name, None)) for name in ("step", "eval_weights", "state_dict"))
    return methods or _is_optimizer(value)


def _is_optimizer(value: Any) -> bool:
    torch = sys.modules.get("torch")
    return torch is not None and inspect.isclass(value) and issubclass(value, torch.optim.Optimizer)


def _only(found: list[tuple[str, Any]], module: ModuleType, wanted: str | None, what: str) -> tuple[str, Any]:
    if len(found) == 1:
        return found[0]
    file = Path(_file(module)).name
    if found:
        names = ", ".join(f"{file}:{name}" for name, _ in found)
        raise PluginError(f"it defines several: {', '.join(name for name, _ in found)}", fix=f"name one: {names}")
    if wanted is not None and wanted in vars(module):
        raise PluginError(f"{wanted} is none: it is no {what}")
    if wanted is not None:
        raise PluginError(f"it has no {wanted!r}{nearest(wanted, [name for name, _ in _public(module, None)])}")
    raise PluginError(f"it defines no {what}")


def _summary(value: Any, module: ModuleType, otherwise: str) -> str:
    given = getattr(value, "summary", None)
    own = vars(value).get("__doc__") if inspect.isclass(value) else None
    for text in (given, own, module.__doc__):
        if isinstance(text, str) and text.strip():
            return text.strip().splitlines()[0].strip()
    return otherwise


# --- classes --------------------------------------------------------------------------------------------------------


def read_class(load: str) -> SubmissionEntry:
    """The entry of a bare torch optimizer class.

    Raises:
        PluginError: it is no torch optimizer class, or needs arguments that have no default.
        BaseException: whatever the import raises.
    """
    module, _, name = load.partition(":")
    value = reduce(getattr, name.split("."), importlib.import_module(module))
    if not _is_optimizer(value):
        raise PluginError("it is no torch.optim.Optimizer class")
    return SubmissionEntry(
        name=load,
        summary=f"{name} of {module} at a constant learning rate",
        load=load,
        space=signature_space(value),
        distribution=module.partition(".")[0],
    )


#: Arguments of optimizers that have one meaning everywhere, and the values that make sense.
_LIMITS = {
    "momentum": (0.0, 0.999999),
    "betas": (0.0, 0.999999),
    "weight_decay": (0.0, math.inf),
    "eps": (0.0, math.inf),
}


def signature_space(optimizer: Any) -> Space:
    """The hyperparameters of an optimizer class: its learning rate is searched, other scalars stay at their defaults.

    `betas` are `beta1`, `beta2` and so on.

    Raises:
        PluginError: it needs more arguments than parameters and a learning rate, or its `step` a closure, as that of
            `torch.optim.LBFGS` does: how often an update computes the loss is for a submission to say.
    """
    closure = inspect.signature(optimizer.step).parameters.get("closure")
    if closure is not None and closure.default is closure.empty:
        raise PluginError(
            f"{optimizer.__name__} computes the loss within its step, so it cannot run by itself",
            fix="write a submission class whose `step` calls `work.backward` in the closure",
        )
    space: Space = {}
    # The first argument is the parameters.
    for parameter in list(inspect.signature(optimizer).parameters.values())[1:]:
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        default = parameter.default
        if parameter.name == "lr":
            usable = isinstance(default, float) and 0 < default < math.inf
            space["lr"] = LogUniform(1e-4, 1e-1, default=float(default) if usable else 1e-3)
        elif default is parameter.empty:
            raise PluginError(
                f"{optimizer.__name__} needs the argument {parameter.name!r}", fix="write a Recipe that gives it"
            )
        elif parameter.name == "betas" and isinstance(default, tuple):
            space |= {f"beta{k}": _limited("betas", beta) for k, beta in enumerate(default, 1)}
        elif _is_scalar(default):
            # `weight_decay: float = 0` is no whole number.
            real = parameter.annotation in (float, "float") and not isinstance(default, str | bool)
            space[parameter.name] = _limited(parameter.name, float(default) if real else default)
    return space


def _limited(name: str, default: Scalar) -> Fixed:
    """An argument at its default; with the limits of its name, unless it means something else by it."""
    low, high = _LIMITS.get(name, (math.inf, -math.inf))
    if isinstance(default, str | bool) or not low <= default <= high:
        return Fixed(default)
    return Fixed(float(default), limits=(low, None if high == math.inf else high))


def _is_scalar(value: Any) -> bool:
    return isinstance(value, Scalar) and not (isinstance(value, float) and not math.isfinite(value))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
