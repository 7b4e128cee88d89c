"""Find the submission whose runs determine the envelope of a workload.

An envelope is the metric of a reference as a function of its budget.
"""

from __future__ import annotations

from typing import Protocol

from harness.contract.entries import PartEntry, SubmissionEntry
from harness.contract.ruleset import Ruleset
from harness.contract.workload import WorkloadFacts
from harness.planning.compose import compose, find_ineligibility
from harness.planning.roles import FAMILY_TAG, REFERENCE_TAG


class EntryLookup(Protocol):
    """A source of parts and submissions, such as the registry of the plugins."""

    def part(self, kind: str | None, name: str, *, prefer: str = "") -> PartEntry: ...

    def submissions(self) -> tuple[SubmissionEntry, ...]: ...


def find_reference(facts: WorkloadFacts, registry: EntryLookup, ruleset: Ruleset) -> SubmissionEntry | None:
    """Return the submission whose runs determine the envelope of a workload; None if no such submission can run.

    On a pool, the result is the reference. On a stream, it is a submission with the tag `family` that replays old
    examples: the one with the fewest tags or, if several have equally few, the first of these in alphabetical order.

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
    families = [entry for entry in usable if FAMILY_TAG in entry.tags and "replay" in compose(entry, registry).needs]
    return min(families, key=lambda entry: (len(entry.tags), entry.name), default=None)
