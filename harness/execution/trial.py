"""One trial, wherever it runs: kept if it has ended, taken up if it was interrupted, begun otherwise."""

from __future__ import annotations

from pathlib import Path

from harness.contract.events import Done
from harness.contract.record import Outcome, Record, Status
from harness.contract.run import Execution, RunSpec
from harness.contract.watcher import Watcher
from harness.errors import DamagedError, StoreError
from harness.execution.state import Place, Stop, Trial
from harness.execution.supervisor import Transport, supervise
from harness.storage import records
from harness.storage.layout import RECORD, run_id
from harness.storage.run_folder import RunFolder
from harness.system.files import free_name

#: Statuses that `--retry-failed` starts anew.
FAILED = frozenset({"crashed", "rejected", "out-of-memory", "timeout"})
#: Seconds in which a worker whose supervisor was killed has let go of its trial.
LOCK_PATIENCE_S = 10.0


def carry_out(
    spec: RunSpec,
    runs: Path,
    watcher: Watcher,
    how: Execution | None = None,
    transport: Transport | None = None,
    *,
    place: Place | None = None,
    stop: Stop | None = None,
    persist: bool = False,
    patience: float | None = None,
) -> tuple[Record, bool]:
    """The trial's record, written; and whether it was there before.

    Args:
        runs: the folder with one folder per trial.
        how: see `Execution`.
        transport, place, stop, persist: see `supervise`.
        patience: seconds to wait for a supervisor of this trial that is about to end; a few when None.

    Raises:
        StoreError: somebody else is running this trial, or its folder cannot be written.
        Interrupted: it was stopped.
    """
    how = how or Execution()
    folder = RunFolder(runs, run_id(spec))
    with folder.locked(LOCK_PATIENCE_S if patience is None else patience):
        if how.force:
            folder.set_aside()
        record = _sound_record(folder, spec, watcher)
        if record is not None and begins_anew(record.status, how):
            folder.set_aside(keep_checkpoints=True)
            record = None
        if record is not None and record.status != "interrupted":
            found = outcome(spec, runs, record, kept=True)
            watcher.kept(found)
            return record, True
        record = supervise(folder, spec, watcher, transport=transport, place=place, stop=stop, persist=persist)
        return record, False


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


def finished(spec: RunSpec, identity: str, runs: Path, how: Execution) -> Outcome | None:
    """The outcome of a trial that has ended and is to be kept, from as little of its record as decides it.

    Neither locks nor makes a folder: a plan may have ten thousand trials that have ended.

    Args:
        identity: its run_id.
    """
    folder = runs / identity
    ending = None if how.force else records.ending(folder / RECORD)
    if ending is None or ending.run_id != identity or ending.status == "interrupted" or begins_anew(ending.status, how):
        return None
    return Outcome(run_id=identity, spec=spec, status=ending.status, reason=ending.reason, kept=True, path=str(folder))


def begins_anew(status: Status, how: Execution) -> bool:
    """Whether a trial that ended so is set aside and run again.

    It goes on from its checkpoint where one is left: its worker failed before it stood, for want of memory or a file.
    """
    return how.retry_failed and status in FAILED


def give_up(spec: RunSpec, runs: Path, watcher: Watcher, status: Status, reason: str) -> Record:
    """Write the record of a trial whose supervisor is gone, with what was known before.

    Raises:
        StoreError: the supervisor is not gone, or the folder cannot be written.
    """
    folder = RunFolder(runs, run_id(spec))
    with folder.locked():
        earlier = _sound_record(folder, spec, watcher)
        if earlier is not None and earlier.status != "interrupted":
            return earlier
        trial = Trial.after(earlier, spec, folder.identity, watcher)
        trial.end = Done(status=status, reason=reason)
        record = folder.write(trial.record())
    watcher.finished(record)
    return record


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
