"""A watcher that writes every attempt to run a trial to the ledger of the runs folder."""

from __future__ import annotations

from pathlib import Path

from harness.contract.record import Record, TrialSummary
from harness.contract.run import Point, RunSpec
from harness.contract.watcher import Watcher
from harness.errors import BenchError
from harness.storage.layout import run_id
from harness.storage.ledger import LEDGER, ORIGIN, AttemptLedger, LedgerEntry, LedgerEvent


class AttemptWatcher:
    """Appends a line to the ledger when an attempt starts, resumes or ends, then forwards the call.

    If the ledger cannot be written, the run goes on, and the user gets one warning. `bench verify` then reports the
    attempts as missing.

    Args:
        runs: the runs folder.
        watcher: watcher to which all calls are forwarded.
    """

    def __init__(self, runs: Path, watcher: Watcher) -> None:
        self._ledger = AttemptLedger(runs)
        self._watcher = watcher
        self._failed = False

    def started(self, spec: RunSpec, resumed: tuple[Point, ...]) -> None:
        self._append(spec, "resumed" if resumed else "started")
        self._watcher.started(spec, resumed)

    def evaluated(self, spec: RunSpec, point: Point) -> None:
        self._watcher.evaluated(spec, point)

    def warned(self, spec: RunSpec, message: str) -> None:
        self._watcher.warned(spec, message)

    def finished(self, record: Record) -> None:
        self._append(record.spec, "finished", record)
        self._watcher.finished(record)

    def kept(self, summary: TrialSummary) -> None:
        self._watcher.kept(summary)

    def _append(self, spec: RunSpec, event: LedgerEvent, record: Record | None = None) -> None:
        if self._failed:
            return
        try:
            self._ledger.append(_entry(spec, event, record))
        except BenchError as error:
            self._failed = True
            self._watcher.warned(spec, f"attempts are not written to the ledger any more: {error}")


def note_damaged_record(spec: RunSpec, runs: Path) -> None:
    """Append to the ledger that the record of a trial is damaged and will be replaced; without a ledger, do nothing.

    The ledger contains the hash of the damaged record. Without this entry, `bench verify` would report the record as
    missing for ever.

    Raises:
        StoreError: the ledger is damaged or cannot be written.
    """
    if (runs / LEDGER).exists():
        AttemptLedger(runs).append(_entry(spec, "damaged"))


def _entry(spec: RunSpec, event: LedgerEvent, record: Record | None = None) -> LedgerEntry:
    return LedgerEntry(
        previous=ORIGIN,
        time="",
        event=event,
        run_id=run_id(spec),
        submission=spec.submission.id,
        source_hash=spec.submission.source_hash,
        workload=spec.workload.facts.id,
        purpose=spec.purpose,
        seeds_from="" if spec.nonce is None else spec.nonce.value,
        status=None if record is None else record.status,
        record="" if record is None else record.content_hash,
    )
