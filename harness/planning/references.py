"""Find the submission whose runs determine the envelope of a workload.

An envelope is the metric of a reference as a function of its budget.
"""

from __future__ import annotations

from typing import Protocol

from harness.contract.entries import PartEntry, SubmissionEntry
from harness.contract.ruleset import Ruleset
from harness.contract.workload import WorkloadFacts
from harness.planning.compose import compose, find_ineligibility
from harness.planning.roles import REFERENCE_TAG, STREAM_REFERENCE


class EntryLookup(Protocol):
    """A source of parts and submissions, such as the registry of the plugins."""

    def part(self, kind: str | None, name: str, *, prefer: str = "") -> PartEntry: ...

    def submissions(self) -> tuple[SubmissionEntry, ...]: ...


def find_reference(facts: WorkloadFacts, registry: EntryLookup, ruleset: Ruleset) -> SubmissionEntry | None:
    """Return the submission whose runs determine the envelope of a workload; None if no such submission can run.

    On a pool, the result is the submission with the tag `reference`. On a stream, it is `replay`.

    Args:
        facts: facts of the workload.
        registry: the registry of the plugins.
        ruleset: ruleset of the runs.
    """
    usable = [
        entry for entry in registry.submissions() if not find_ineligibility(compose(entry, registry), facts, ruleset)
    ]
    if facts.access == "pool":
        return next((entry for entry in usable if REFERENCE_TAG in entry.tags), None)
    return next((entry for entry in usable if entry.name == STREAM_REFERENCE), None)
