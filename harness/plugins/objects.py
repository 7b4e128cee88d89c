"""In a child process, find a submission or workload in a file or at an import path, and read its declarations."""

from __future__ import annotations

import importlib
import inspect
import re
import sys
from functools import reduce
from pathlib import Path
from types import ModuleType
from typing import Any

from harness.contract.entries import SubmissionEntry, WorkloadEntry
from harness.contract.workload import WorkloadFacts
from harness.errors import PluginError, suggest_nearest
from harness.plugins import loading, signatures
from harness.plugins.contents import PluginContents, ReadRequest, Signature
from harness.plugins.normalising import normalise
from harness.plugins.optimizer_space import signature_space

_SUBMISSION_KINDS = "a Recipe, a class with step(), eval_weights() and state_dict(), or a torch optimizer class"
#: Attributes of a recipe or submission class that an entry has as fields of the same names.
_SUBMISSION_FIELDS = ("needs", "checks", "model_options", "sources", "parts", "tags", "version")
#: The same for a workload class.
_WORKLOAD_FIELDS = ("sources", "sibling", "needs_data")
#: Placeholder for the name in the entry of a loaded object. Such an object has no name of its own.
_NAMELESS = "loaded"


# --- what an entry loads --------------------------------------------------------------------------------------------


def read_loaded_submission(request: ReadRequest) -> PluginContents:
    """Read the declarations of the recipe, submission class or torch optimizer class at an import path.

    Raises:
        PluginError: the object cannot be loaded, is not a submission, or has methods with wrong arguments.
    """
    value = loading.load_object(request.target)
    if not (_is_recipe(value) or _is_submission_class(value) or _is_optimizer(value)):
        raise PluginError(
            f"{request.target} is not a submission: it is a {type(value).__name__}",
            fix=f"set the entry's `load` to the import path of {_SUBMISSION_KINDS}",
        )
    fields = {"name": _NAMELESS, "load": request.target, "summary": _summary(value, None, request.target)}
    return _describe_submission(value, fields, request.target)


def read_loaded_workload(request: ReadRequest) -> PluginContents:
    """Read the facts of the workload class at an import path.

    The keyword arguments of the class are unknown here, and the facts may depend on them. A class without the attribute
    `facts` is therefore accepted. The answer then contains no workload.

    Raises:
        PluginError: the class cannot be loaded, or has methods with wrong arguments.
    """
    value = loading.load_object(request.target)
    if not callable(value):
        problem = f"{request.target} is not a workload: it is a {type(value).__name__}"
        raise PluginError(problem, fix="set the entry's `load` to the import path of a class")
    facts = getattr(value, "facts", None)
    if not inspect.isclass(value) or not isinstance(facts, WorkloadFacts):
        return PluginContents()
    signatures.check_workload_class(value, request.target, facts.model_options, None)
    entry = WorkloadEntry(facts=facts, load=request.target, summary=_summary(value, None, request.target))
    return PluginContents(workloads=(normalise(entry, WorkloadEntry, request.target),))


# --- files ----------------------------------------------------------------------------------------------------------


def read_submission_file(request: ReadRequest) -> PluginContents:
    """Read the submission in a file.

    If the request has no name, the file must define exactly one submission. Optimizer classes count only if the file
    defines neither a `Recipe` nor a submission class.

    Raises:
        PluginError: the file does not define a submission, or defines several.
    """
    module = loading.import_file(Path(request.target))
    definitions = _find_submissions(module, None)
    preferred = [(n, value) for n, value in definitions if not _is_optimizer(value)] or definitions
    candidates = _find_submissions(module, request.name) if request.name else preferred
    name, value = _pick_one(candidates, module, request.name, "a submission", _SUBMISSION_KINDS)
    entry_name = _entry_name(module)
    if [n for n, _ in preferred] != [name]:
        entry_name += f".{name.lower()}"  # distinguishes the submissions of a file
    file = _file_name(module)
    summary = _summary(value, module, f"{name} in {Path(file).name}")
    fields = {"name": entry_name, "load": f"{file}:{name}", "distribution": "file", "summary": summary}
    return _describe_submission(value, fields, Path(file).name)


def read_workload_file(request: ReadRequest) -> PluginContents:
    """Read the workload class in a file. If the request has no name, the file must define exactly one workload.

    Raises:
        PluginError: the file does not define a workload, or defines several.
    """
    module = loading.import_file(Path(request.target))
    candidates = [
        (n, value)
        for n, value in _public_names(module, request.name)
        if inspect.isclass(value) and _is_defined_in(module, value, request.name) and hasattr(value, "facts")
    ]
    name, value = _pick_one(candidates, module, request.name, "a workload", "a class with `facts`")
    if not isinstance(value.facts, WorkloadFacts):
        problem = f"{name}.facts is a {type(value.facts).__name__}, not WorkloadFacts"
        raise PluginError(problem, fix="from harness.api import WorkloadFacts")
    file = _file_name(module)
    entry = WorkloadEntry(
        facts=value.facts,
        load=f"{file}:{name}",
        summary=_summary(value, module, f"{name} in {Path(file).name}"),
        distribution="file",
        redraws_held_out=hasattr(value, signatures.REDRAW_METHOD),
        **{field: getattr(value, field) for field in _WORKLOAD_FIELDS if hasattr(value, field)},
    )
    entry = normalise(entry, WorkloadEntry, Path(file).name)
    signatures.check_workload_class(value, name, entry.facts.model_options, {})
    return PluginContents(workloads=(entry,))


def _find_submissions(module: ModuleType, name: str | None) -> list[tuple[str, Any]]:
    """Return the names and objects of the submissions in a file. A given name selects one object."""
    return [(n, value) for n, value in _public_names(module, name) if _is_submission(value, module, name)]


def _entry_name(module: ModuleType) -> str:
    """Return the name of a file's entry, derived from the file's name: `my-optimizer` for `my_optimizer.py`."""
    stem = Path(_file_name(module)).stem.lower().replace("_", "-")
    return re.sub(r"[^a-z0-9.+-]+", "-", stem).strip("-.+") or "file"


def _file_name(module: ModuleType) -> str:
    assert module.__file__ is not None
    return module.__file__


def _public_names(module: ModuleType, name: str | None) -> list[tuple[str, Any]]:
    """Return the public names and objects of a module, each object once.

    If a name is given, return only this object.
    """
    if name is not None:
        return [(name, vars(module)[name])] if name in vars(module) else []
    by_identity: dict[int, tuple[str, Any]] = {}
    for public_name, value in vars(module).items():
        if not public_name.startswith("_"):
            by_identity.setdefault(id(value), (public_name, value))
    return list(by_identity.values())


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


# --- kinds of objects -----------------------------------------------------------------------------------------------


def _is_defined_in(module: ModuleType, value: Any, name: str | None) -> bool:
    """Return whether a class counts as defined in a file: the file defines it, or the user requested it by name."""
    return name is not None or value.__module__ == module.__name__


def _is_submission(value: Any, module: ModuleType, name: str | None) -> bool:
    if _is_recipe(value):
        return True
    if not inspect.isclass(value) or not _is_defined_in(module, value, name):
        return False
    return _is_submission_class(value) or _is_optimizer(value)


def _is_recipe(value: Any) -> bool:
    # Code that defines a recipe has already imported `harness.worker.recipe`. An import of this module here would load
    # torch for every file.
    recipes = sys.modules.get("harness.worker.recipe")
    return recipes is not None and isinstance(value, recipes.Recipe)


def _is_submission_class(value: Any) -> bool:
    methods = ("step", "eval_weights", "state_dict")
    return inspect.isclass(value) and all(callable(getattr(value, method, None)) for method in methods)


def _is_optimizer(value: Any) -> bool:
    torch = sys.modules.get("torch")
    return torch is not None and inspect.isclass(value) and issubclass(value, torch.optim.Optimizer)


# --- declarations ---------------------------------------------------------------------------------------------------


def _describe_submission(value: Any, fields: dict[str, Any], origin: str) -> PluginContents:
    """Return what a submission declares.

    Args:
        value: a recipe, a submission class or a torch optimizer class.
        fields: fields of the entry that the caller has determined, such as `name` and `load`.
        origin: the file or import path, for messages.

    Raises:
        PluginError: a declaration is invalid, or a method or part has the wrong arguments.
    """
    name = fields["load"].rpartition(":")[2]
    recipe_signatures: tuple[Signature, ...] = ()
    if _is_optimizer(value):
        entry = SubmissionEntry(space=signature_space(value), **fields)
    else:
        declared = {field: getattr(value, field, None) for field in _SUBMISSION_FIELDS}
        fields |= {field: attribute for field, attribute in declared.items() if attribute is not None}
        fields["needs"] = getattr(value, "all_needs", fields.get("needs", frozenset()))
        entry = SubmissionEntry(space=getattr(value, "search_space", None) or {}, **fields)
    entry = normalise(entry, SubmissionEntry, origin)
    if _is_recipe(value):
        recipe_signatures = signatures.describe_recipe(value, name)
    elif not _is_optimizer(value):
        signatures.check_submission_class(value, name)
    return PluginContents(submissions=(entry,), signatures=recipe_signatures, is_derived=_is_optimizer(value))


def _summary(value: Any, module: ModuleType | None, default: str) -> str:
    """Return a one-line summary of an object.

    It is the first line of the object's `summary`. If there is none, the class's docstring, the file's docstring and
    `default` are tried in this order.
    """
    docstring = vars(value).get("__doc__") if inspect.isclass(value) else None
    for text in (getattr(value, "summary", None), docstring, module and module.__doc__):
        if isinstance(text, str) and text.strip():
            return text.strip().splitlines()[0].strip()
    return default


# --- classes --------------------------------------------------------------------------------------------------------


def read_class(request: ReadRequest) -> PluginContents:
    """Read a torch optimizer class, such as `torch.optim:Adam`.

    Raises:
        PluginError: the object is not a torch optimizer class, or has arguments without defaults.
        BaseException: any exception that the import raises.
    """
    module, _, name = request.target.partition(":")
    value = reduce(getattr, name.split("."), importlib.import_module(module))
    if not _is_optimizer(value):
        raise PluginError("it is not a torch optimizer class", fix="give a subclass of torch.optim.Optimizer")
    entry = SubmissionEntry(
        name=request.target,
        summary=f"{name} of {module} at a constant learning rate",
        load=request.target,
        space=signature_space(value),
        distribution=module.partition(".")[0],
    )
    return PluginContents(submissions=(entry,))
