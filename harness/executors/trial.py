"""One trial, wherever it runs: kept if it has ended, taken up if it was interrupted, begun otherwise."""

from __future__ import annotations

from pathlib import Path

from harness.errors import DamagedError, StoreError
from harness.store import RECORD, RunFolder, free_name, run_id
from harness.supervise import Transport, Watcher, supervise
from harness.types import Execution, Outcome, Record, RunSpec

#: Statuses that `--retry-failed` starts anew.
FAILED = frozenset({"crashed", "rejected", "out-of-memory", "timeout"})


def carry_out(
    spec: RunSpec, runs: Path, watcher: Watcher, how: Execution | None = None, transport: Transport | None = None
) -> tuple[Record, bool]:
    """The trial's record, written; and whether it was there before.

    Args:
        runs: the folder with one folder per trial.
        how: see `Execution`.
        transport: see `supervise`.
    """
    how = how or Execution()
    folder = RunFolder(runs, run_id(spec))
    with folder.locked():
        if how.force:
            folder.set_aside()
        record = _sound_record(folder, spec, watcher)
        if record is not None and how.retry_failed and record.status in FAILED:
            folder.set_aside()
            record = None
        if record is not None and record.status != "interrupted":
            watcher.kept(record)
            return record, True
        return supervise(folder, spec, watcher, transport=transport), False


def outcome(spec: RunSpec, runs: Path, record: Record, kept: bool) -> Outcome:
    """What a summary needs of a trial."""
    return Outcome(
        run_id=record.run_id,
        spec=spec,
        status=record.status,
        reason=record.reason,
        kept=kept,
        path=str(runs / record.run_id),
    )


def _sound_record(folder: RunFolder, spec: RunSpec, watcher: Watcher) -> Record | None:
    """The record that is there; a damaged one is put aside and the trial goes on from its checkpoint, if any."""
    try:
        return folder.record()
    except StoreError as error:
        if not isinstance(error, DamagedError):
            raise
        aside = free_name(folder.path / f"{RECORD}.corrupt")
        folder.record_path.replace(aside)
        watcher.warned(spec, f"{error.what}; kept as {aside.name}, running the trial again")
        return None
