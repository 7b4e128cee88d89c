"""The records of a table that somebody doubted or withdrew."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from harness.contract.marks import Mark, Marks, mark_of
from harness.contract.record import Record
from harness.contract.workload import WorkloadFacts
from harness.scoring.summary import RunSummary


@dataclass(frozen=True, slots=True, kw_only=True)
class MarkedRecord:
    """A record with a mark.

    Args:
        mark: the mark.
        submission: `name@version`.
        facts: the workload.
        ruleset: `name@version`.
        hardware: hardware class.
    """

    mark: Mark
    submission: str
    facts: WorkloadFacts
    ruleset: str
    hardware: str


@dataclass(slots=True)
class MarkFilter:
    """Leaves withdrawn records out, and keeps a list of the records with a mark.

    Args:
        marks: the mark of each marked record.
        marked: the marked records that were seen so far, in their order.
    """

    marks: Marks
    marked: list[MarkedRecord] = field(default_factory=list)

    def without_withdrawn(self, records: Iterable[Record]) -> Iterator[Record]:
        """Yield the records that were not withdrawn."""
        for record in records:
            if self.admits(record):
                yield record

    def admits(self, record: Record | RunSummary) -> bool:
        """Return whether a record was not withdrawn. If it has a mark, it is added to the list."""
        mark = mark_of(record, self.marks)
        if mark is None:
            return True
        spec = record.spec
        self.marked.append(
            MarkedRecord(
                mark=mark,
                submission=spec.submission.id,
                facts=spec.workload.facts,
                ruleset=spec.ruleset.id,
                hardware=spec.hardware,
            )
        )
        return mark.event != "withdrawn"
