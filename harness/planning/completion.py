"""Complete a submission's entry from the object that the entry loads, and check that both agree.

The field `load` of an entry names an object: a `Recipe`, or a class that implements `Submission`. The object may
declare fields of the entry, such as `version`. Its attribute `search_space` is the field `space` of the entry.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from harness.contract.entries import SubmissionEntry, WorkloadEntry
from harness.contract.part_kinds import PART_KINDS
from harness.errors import PluginError
from harness.planning.compose import PartLookup, compose
from harness.plugins.code_reading import DeclaredSubmission, read_loaded_facts, read_loaded_submission
from harness.plugins.contents import Signature
from harness.plugins.loading import is_file, split_load

#: Fields that are taken from the loaded object if the entry leaves them out -> function that makes two values
#: comparable. For example, two tuples of parts are compared as sets, because their order has no meaning.
_FIELDS: Mapping[str, Callable[[Any], object]] = {
    "parts": frozenset,
    "space": dict,
    "checks": frozenset,
    "model_options": dict,
    "version": str,
}
#: Other fields that are taken from the object if the entry leaves them out. The entry and the object may differ in
#: them, because they only describe the submission.
_DESCRIPTIVE_FIELDS = ("sources", "tags")
_DEFAULTS = SubmissionEntry(name="default", summary="default")
#: Hyperparameters that the harness itself uses.
_USED_BY_HARNESS = frozenset({"batch_size", "horizon_fraction"})


def complete_submission(entry: SubmissionEntry, registry: PartLookup) -> SubmissionEntry:
    """Return an entry whose missing fields are taken from the object that the entry loads.

    Raises:
        PluginError: the object cannot be loaded, or the entry and the object disagree.
        UsageError: the parts cannot be composed.
    """
    if entry.load is None:
        return entry
    loaded = read_loaded_submission(entry)
    completed = DeclaredSubmission(_merge(entry, loaded), loaded.signatures)
    check_arguments(completed, registry)
    return completed.entry


def _merge(entry: SubmissionEntry, loaded: DeclaredSubmission) -> SubmissionEntry:
    """Return the entry, with its missing fields taken from the object.

    Raises:
        PluginError: the entry and the object declare different values of a field.
    """
    declared = loaded.entry
    changes = {
        field: getattr(declared, field)
        for field in (*_FIELDS, *_DESCRIPTIVE_FIELDS)
        if getattr(entry, field) == getattr(_DEFAULTS, field)
    }
    for field, form in _FIELDS.items():
        written, declared_value = form(getattr(entry, field)), form(getattr(declared, field))
        is_declared = declared_value != form(getattr(_DEFAULTS, field)) and not loaded.is_derived
        if field not in changes and is_declared and written != declared_value:
            difference = _describe(written, declared_value)
            raise PluginError(
                f"the entry of {entry.name!r} and {entry.load} disagree about {field}: {difference}",
                fix=f"leave {field} out of the entry, which then takes it from {entry.load}",
            )
    implied = frozenset[str]().union(*(PART_KINDS[part.partition(":")[0]].implied_needs for part in entry.parts))
    if entry.needs and (missing := declared.needs - entry.needs - implied):
        needs = ", ".join(map(repr, sorted(entry.needs | declared.needs)))
        raise PluginError(
            f"{entry.load} needs {', '.join(sorted(missing))}, which the entry of {entry.name!r} does not declare",
            fix=f"write needs={{{needs}}}, or leave needs out of the entry",
        )
    return msgspec.structs.replace(entry, needs=entry.needs | declared.needs, **changes)


def _describe(written: Any, declared_value: Any) -> str:
    """Describe the difference between two values of a field. For sets and mappings, name only the items that differ."""
    if isinstance(written, str):
        return f"{written} and {declared_value}"
    differing = sorted(
        name
        for name in {*written, *declared_value}
        if (name in written) != (name in declared_value)
        or (isinstance(written, dict) and written[name] != declared_value[name])
    )
    places = {(True, True): "differs", (True, False): "only in the entry", (False, True): "not in the entry"}
    return ", ".join(f"{name} ({places[name in written, name in declared_value]})" for name in differing)


def check_arguments(submission: DeclaredSubmission, registry: PartLookup) -> None:
    """Check that the hyperparameters of a recipe and the arguments of its functions fit together.

    Raises:
        PluginError: an argument without a default has no hyperparameter, a hyperparameter has no argument, or a
            hyperparameter has the name of an argument that the harness passes.
        UsageError: the parts cannot be composed.
    """
    composition = compose(submission.entry, registry)
    space, load = set(composition.space), submission.entry.load
    for signature in submission.signatures:
        function = f"the {signature.kind} {signature.function} of {load}"
        if missing := set(signature.required) - space - _USED_BY_HARNESS:
            names = ", ".join(sorted(missing))
            raise PluginError(
                f"{function} has the argument(s) {names}, but there is no hyperparameter of this name",
                fix=f"add {names} to the search_space, or give the argument(s) a default",
            )
        if clash := set(signature.positional) & space:
            names = ", ".join(sorted(clash))
            raise PluginError(
                f"{function} takes {names} by position, and there is a hyperparameter of the same name",
                fix="rename the argument or the hyperparameter",
            )
    # The next check leaves out submissions with installed parts. The functions of these parts may have more arguments
    # than their entries declare, and only loading the parts would show them.
    if submission.signatures and not composition.parts and (unused := _unused_names(submission.signatures, space)):
        names = ", ".join(sorted(unused))
        raise PluginError(
            f"no function of {load} has an argument for the hyperparameter(s) {names}",
            fix=f"remove {names} from the search_space, or add an argument of the same name to a function",
        )


def _unused_names(signatures: tuple[Signature, ...], space: set[str]) -> set[str]:
    """Return the hyperparameters that no function accepts."""
    if any(signature.open for signature in signatures):
        return set()
    return space - _USED_BY_HARNESS - {name for signature in signatures for name in signature.accepted}


def check_workload(entry: WorkloadEntry) -> None:
    """Check that the facts of a workload's entry equal the facts of the class that the entry loads.

    Nothing is checked here for a class in a file, or for an entry with `arguments` for the class. Such arguments may
    give each object of the class other facts. The worker compares these facts with the entry when it constructs the
    object.

    Raises:
        PluginError: the class cannot be loaded, a method has wrong arguments, or the facts differ.
    """
    if is_file(split_load(entry.load)[0]) or entry.arguments:
        return
    facts = read_loaded_facts(entry)
    if facts is not None and facts != entry.facts:
        fields = [field for field in facts.__struct_fields__ if getattr(facts, field) != getattr(entry.facts, field)]
        raise PluginError(
            f"the entry of the workload {entry.name!r} and {entry.load}.facts disagree about {', '.join(fields)}",
            fix="make the class's `facts` and the entry's `facts` the same object",
        )
