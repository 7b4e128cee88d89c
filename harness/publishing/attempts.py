"""List all attempts to run the trials of published records. They show whether the records were hand-picked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.contract.record import Record
from harness.errors import StoreError
from harness.publishing.selection import TrialGroup
from harness.storage.layout import RECORD, SUPERSEDED
from harness.storage.ledger import LEDGER, LedgerEntry, line_hash, read_ledger
from harness.storage.records import read_record
from harness.system.files import read_file


@dataclass(frozen=True, kw_only=True)
class RepeatedTrial:
    """A trial that was run more than once, or whose worker was started again.

    Args:
        run_id: the trial.
        attempts: number of runs of the trial in its runs folder.
        restarts: number of starts of the worker after its first start.
        outcome: the result of the published record, such as `reached at 32,000 examples`.
        earlier: the results of the replaced runs, if their records can be read.
    """

    run_id: str
    attempts: int
    restarts: int
    outcome: str
    earlier: tuple[str, ...]

    def __str__(self) -> str:
        replaced = f", replacing {'; '.join(self.earlier)}" if self.earlier else ""
        restarts = f", {self.restarts} restart(s)" if self.restarts else ""
        return f"{self.run_id}: attempt {self.attempts}{restarts}: {self.outcome}{replaced}"


@dataclass(frozen=True, kw_only=True)
class AttemptReport:
    """How often the trials of a group (`TrialGroup`) were attempted, and which related runs are not published.

    Args:
        repeated: the trials that were run more than once, or whose worker was started again.
        unpublished: run IDs of runs that are not in the group, but have the group's source, workload and purpose.
        other_sources: number of other versions of the submission's source that were run on this workload.
        ledger_entries: number of lines of the ledger; 0 without a ledger.
        ledger_hash: SHA-256 of the last line of the ledger, in hex; empty without a ledger.
    """

    repeated: tuple[RepeatedTrial, ...] = ()
    unpublished: tuple[str, ...] = ()
    other_sources: int = 0
    ledger_entries: int = 0
    ledger_hash: str = ""


class RunsLedger:
    """The ledger of a runs folder, read once.

    Args:
        runs: the runs folder.

    Raises:
        StoreError: the ledger cannot be read, or was changed.
    """

    def __init__(self, runs: Path) -> None:
        self.runs = runs
        self.entries: list[LedgerEntry] = []
        self.hash = ""
        path = runs / LEDGER
        if path.is_file():
            self.entries = read_ledger(path)
            lines = [line for line in read_file(path, limit=None).splitlines(keepends=True) if line.endswith(b"\n")]
            self.hash = line_hash(lines[len(self.entries) - 1]) if self.entries else ""

    def report(self, group: TrialGroup) -> AttemptReport:
        """Return the attempts to run the trials of a group."""
        ids = {run.record.run_id for run in group.runs}
        spec = group.spec
        purposes = {run.record.spec.purpose for run in group.runs}
        starts = [
            entry
            for entry in self.entries
            if entry.event == "started"
            and entry.workload == spec.workload.facts.id
            and entry.submission.partition("@")[0] == spec.submission.name
            and entry.purpose in purposes
        ]
        runs_of_source = [entry.run_id for entry in starts if entry.source_hash == spec.submission.source_hash]
        other_sources = {entry.source_hash for entry in starts} - {spec.submission.source_hash}
        started = Counter(entry.run_id for entry in starts)
        return AttemptReport(
            repeated=tuple(
                repeated
                for run in group.runs
                if (repeated := self._describe_repeated(run.record, started[run.record.run_id])) is not None
            ),
            unpublished=tuple(sorted(set(runs_of_source) - ids)),
            other_sources=len(other_sources),
            ledger_entries=len(self.entries),
            ledger_hash=self.hash,
        )

    def _describe_repeated(self, record: Record, started: int) -> RepeatedTrial | None:
        ledger = record.ledger
        attempts = max(started, ledger.attempts if ledger else 1)
        restarts = len(ledger.restarts) if ledger else 0
        if attempts <= 1 and not restarts:
            return None
        earlier = tuple(describe_outcome(replaced) for replaced in _replaced_records(self.runs, record.run_id))
        return RepeatedTrial(
            run_id=record.run_id,
            attempts=attempts,
            restarts=restarts,
            outcome=describe_outcome(record),
            earlier=earlier,
        )


def describe_outcome(record: Record) -> str:
    """Return the status of a run, and a number of examples at the hit or at the end.

    The number is the larger of the examples drawn and the gradient-examples, as in scores (`Point.cost`).
    """
    point = record.points[record.hit if record.hit is not None else -1] if record.points else None
    return record.status if point is None else f"{record.status} at {point.cost:,} examples"


def _replaced_records(runs: Path, run_id: str) -> Sequence[Record]:
    """Return the records of the replaced runs of a trial, as far as they can be read."""
    records = []
    for folder in sorted((runs / SUPERSEDED).glob(f"{run_id}-*")):
        try:
            records.append(read_record(folder / RECORD))
        except StoreError:
            continue
    return records
