"""Find the submissions and workloads that a name denotes.

A name may denote an installed entry, a file, a class, a composition of parts, or a tier.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping

from harness.contract.entries import SubmissionEntry, WorkloadEntry
from harness.contract.part_kinds import PART_KINDS
from harness.errors import BenchError, UsageError
from harness.planning import compose
from harness.planning.completion import check_arguments, check_workload, complete_submission
from harness.planning.roles import REFERENCE_TAG
from harness.plugins.code_reading import entry_from_class, submission_from_path, workload_from_path
from harness.plugins.locating import is_existing_file, split_file_name
from harness.plugins.registry import Registry


def split_names(values: Iterable[str]) -> list[str]:
    """Split comma-separated values into one list that contains each name once.

    The path of an existing file is not split at its commas.

    >>> split_names(["a,b", "c", "a"])
    ['a', 'b', 'c']
    """
    names = [name.strip() for value in values for name in _split_at_commas(value) if name.strip()]
    return list(dict.fromkeys(names))


def _split_at_commas(value: str) -> Iterator[str]:
    """Yield the names in a value. If several existing paths begin at the same place, the longest path is the name."""
    pieces = value.split(",")
    start = 0
    while start < len(pieces):
        # A path can only end with a piece that looks like the end of a file name.
        ends = (end for end in range(len(pieces), start + 1, -1) if split_file_name(pieces[end - 1].strip()))
        joined = ((end, ",".join(pieces[start:end])) for end in ends)
        end = next((end for end, text in joined if is_existing_file(text.strip())), start + 1)
        yield ",".join(pieces[start:end])
        start = end


def resolve_submission(name: str, registry: Registry) -> SubmissionEntry:
    """Return the submission that a name denotes.

    The name may denote an installed submission, a file, a class, several parts joined by `+`, or an optimizer. The
    entry of an installed submission is completed with the declarations of its code.

    Raises:
        UsageError: there is no submission with this name.
        PluginError: the code of the submission cannot be loaded, has wrong arguments, or disagrees with the entry.
    """
    if split_file_name(name) is not None:
        submission = submission_from_path(name)
        check_arguments(submission, registry)
        return submission.entry
    if any(name in (entry.name, f"{entry.distribution}:{entry.name}") for entry in registry.submissions()):
        return complete_submission(registry.submission(name), registry)
    # The optimizer is the only kind of part that every submission needs. The name of an optimizer denotes a submission
    # that consists of this optimizer, with a constant learning rate.
    required_parts = [part for part in registry.parts() if PART_KINDS[part.kind].required]
    if "+" in name or any(name in (part.name, part.id, *part.aliases) for part in required_parts):
        return compose.parse_parts(name)
    if _is_class(name) and name.partition(":")[0] not in {plugin.distribution for plugin in registry.plugins}:
        return entry_from_class(name)
    return registry.submission(name)


def check_distinct_names(entries: Mapping[str, SubmissionEntry]) -> None:
    """Raise an error if two different submissions have equal names, such as `a/mine.py` and `b/mine.py`.

    Records are grouped by the name of the submission, so the results of both would be merged.

    Args:
        entries: name as given by the user -> entry of the submission.

    Raises:
        UsageError: two submissions have equal names.
    """
    known: dict[str, tuple[str, SubmissionEntry]] = {}
    for asked, entry in entries.items():
        other, known_entry = known.setdefault(entry.name, (asked, entry))
        if known_entry != entry:
            raise UsageError(f"{other} and {asked} are both called {entry.name}", fix="rename one of them")


def resolve_workloads(name: str, registry: Registry) -> list[WorkloadEntry]:
    """Return the workload with a name, the workload in a file, or all workloads of a tier (`tier:cpu`).

    A tier does not include variants, such as `lm-tiny+postnorm`.

    Raises:
        UsageError: no workload or tier has this name.
        PluginError: the code of a workload that the user names cannot be loaded, or its facts differ from the entry's.
    """
    if split_file_name(name) is not None:
        return [workload_from_path(name)]
    if is_tier(name):
        tier = name.removeprefix("tier:")
        entries = [entry for entry in registry.workloads() if entry.facts.tier == tier and "+" not in entry.name]
        if not entries:
            raise UsageError(f"no workload of tier {tier!r}", fix="choose one of the tiers cpu, gpu, cluster")
        # The entries' facts are not compared with the code here, because importing the code of all workloads of a tier
        # would take long. Each worker compares the facts of its own workload.
        return entries
    entry = registry.workload(name)
    check_workload(entry)
    return [entry]


def resolve_workload(name: str, registry: Registry) -> WorkloadEntry:
    """Return the workload with a name, or the workload in a file.

    Raises:
        UsageError: no workload has this name, or the name stands for several workloads.
    """
    entries = resolve_workloads(name, registry)
    if len(entries) > 1:
        problem = f"{name} stands for {len(entries)} workloads, but one is needed"
        raise UsageError(problem, fix="give the name of one workload; `bench list` prints the names")
    return entries[0]


def reference_submissions(registry: Registry) -> list[SubmissionEntry]:
    """Return the submissions with the tag `reference`. Anchored scores are relative to the times of a reference."""
    return tagged_submissions(registry, REFERENCE_TAG)


def tagged_submissions(registry: Registry, tag: str) -> list[SubmissionEntry]:
    """Return the submissions whose entries have a tag, completed with the declarations of their code.

    A submission whose code raises an error is left out, so that the other submissions can still be planned. If a user
    names this submission, `resolve_submission` raises the error.
    """
    entries = []
    for entry in registry.submissions():
        if tag in entry.tags:
            with contextlib.suppress(BenchError):
                entries.append(complete_submission(entry, registry))
    return entries


def is_tier(name: str) -> bool:
    """Return whether a name has the form `tier:NAME`, which selects all workloads of a tier."""
    return name.startswith("tier:")


def _is_class(name: str) -> bool:
    """Return whether a name has the form package.module:Class."""
    module, colon, attribute = name.partition(":")
    return bool(colon) and attribute.isidentifier() and all(piece.isidentifier() for piece in module.split("."))
