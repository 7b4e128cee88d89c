"""Group the names of entries for `bench list`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from harness.contract.entries import PartEntry, SubmissionEntry, WorkloadEntry
from harness.contract.part_kinds import PART_KINDS
from harness.errors import BenchError
from harness.planning.compose import compose
from harness.plugins.registry import Registry

#: An optimizer forms a group of its own if at least this number of submissions use it without a distinguishing part.
MIN_GROUP = 4
#: Characters before the suffix in a workload's name: `+` in a variant (`lm-tiny+postnorm`), `:` before the kind of
#: the tasks of a stream (`continual-mnist:task`).
_SUFFIX_MARKS = "+:"
#: Kinds of parts that most submissions have. A part of any other kind distinguishes a submission.
_COMMON_KINDS = ("optimizer", "schedule")


def group_workloads(workloads: Sequence[WorkloadEntry]) -> dict[str, list[str]]:
    """Return the names of workloads by tier. The suffixes of a workload's variants follow its name in parentheses."""
    groups: dict[str, list[str]] = {}
    for entry in workloads:
        groups.setdefault(entry.facts.tier, []).append(entry.name)
    return {tier: _fold_variants(groups[tier]) for tier in ("cpu", "gpu", "cluster") if tier in groups}


def _fold_variants(names: Sequence[str]) -> list[str]:
    """Return names in which each workload is followed by the suffixes of its variants. Other names are unchanged.

    >>> _fold_variants(["lm", "lm+postnorm", "lm+wide", "digits:task"])
    ['lm (+postnorm, +wide)', 'digits:task']
    """
    variants: dict[str, list[str]] = {name: [] for name in names}
    for name in names:
        at = next((i for i, character in enumerate(name) if character in _SUFFIX_MARKS), None)
        if at is not None and name[:at] in variants:
            variants[name[:at]].append(name[at:])
            del variants[name]
    return [name + (f" ({', '.join(suffixes)})" if suffixes else "") for name, suffixes in variants.items()]


def group_submissions(submissions: Sequence[SubmissionEntry], registry: Registry) -> dict[str, list[str]]:
    """Return the names of submissions, grouped by the part that distinguishes a submission.

    - Parts other than the optimizer and the schedule distinguish a submission.
    - If a submission has several such parts, their kind that comes last in `PART_KINDS` is its group.
    - A submission without such a part belongs to the group of its optimizer (see `MIN_GROUP`).
    - A submission without parts belongs to the group `own step`.
    """
    parts_of = {entry.name: _part_names(entry, registry) for entry in submissions}
    optimizers = Counter(parts.get("optimizer", "") for parts in parts_of.values() if set(parts) <= set(_COMMON_KINDS))
    groups: dict[str, list[str]] = {}
    for name, parts in parts_of.items():
        distinguishing = [kind for kind in PART_KINDS if kind in parts and kind not in _COMMON_KINDS]
        optimizer = parts.get("optimizer", "")
        if distinguishing:
            label = distinguishing[-1]
        elif not parts:
            label = "own step"
        else:
            label = optimizer if optimizers[optimizer] >= MIN_GROUP else "other optimizers"
        groups.setdefault(label, []).append(name)
    order = [*sorted(groups.keys() - PART_KINDS.keys() - {"own step", "other optimizers"}), "other optimizers"]
    return _in_order(groups, [*order, *PART_KINDS, "own step"])


def _part_names(entry: SubmissionEntry, registry: Registry) -> dict[str, str]:
    """Return the names of a submission's parts by kind; empty if one of the parts does not exist."""
    try:
        return {part.kind: part.name for part in compose(entry, registry).parts}
    except BenchError:
        return {}


def group_parts(parts: Sequence[PartEntry]) -> dict[str, list[str]]:
    """Return the names of parts by kind."""
    groups: dict[str, list[str]] = {}
    for part in parts:
        groups.setdefault(part.kind, []).append(part.name)
    return _in_order(groups, PART_KINDS)


def _in_order(groups: dict[str, list[str]], labels: Iterable[str]) -> dict[str, list[str]]:
    return {label: groups[label] for label in labels if label in groups}
