"""One trial, wherever it runs: kept if it has ended, taken up if it was interrupted, begun otherwise."""

from __future__ import annotations

from pathlib import Path

from harness.contract.events import Done
from harness.contract.record import Record, Status, TrialSummary
from harness.contract.run import ExecutionOptions, RunSpec
from harness.contract.watcher import Watcher
from harness.errors import DamagedError, StoreError
from harness.execution.state import ResourceSlot, StopSignal, Trial
from harness.execution.supervisor import Transport, supervise
from harness.storage import records
from harness.storage.layout import RECORD, run_id
from harness.storage.run_folder import RunFolder
from harness.system.files import unused_path

#: Statuses that `--retry-failed` starts anew.
FAILED = frozenset({"crashed", "rejected", "out-of-memory", "timeout"})
#: Seconds in which a worker whose supervisor was killed has let go of its trial.
LOCK_TIMEOUT_S = 10.0


def run_trial(
    spec: RunSpec,
    runs: Path,
    watcher: Watcher,
    how: ExecutionOptions | None = None,
    transport: Transport | None = None,
    *,
    slot: ResourceSlot | None = None,
    stop: StopSignal | None = None,
    persist: bool = False,
    patience: float | None = None,
) -> tuple[Record, bool]:
    """The trial's record, written; and whether it was there before.

    Args:
        runs: the folder with one folder per trial.
        how: see `ExecutionOptions`.
        transport, place, stop, persist: see `supervise`.
        patience: seconds to wait for a supervisor of this trial that is about to end; a few when None.

    Raises:
        StoreError: somebody else is running this trial, or its folder cannot be written.
        Interrupted: it was stopped.
    """
    how = how or ExecutionOptions()
    folder = RunFolder(runs, run_id(spec))
    with folder.locked(LOCK_TIMEOUT_S if patience is None else patience):
        if how.force:
            folder.set_aside()
        record = _read_sound_record(folder, spec, watcher)
        if record is not None and is_retried(record.status, how):
            folder.set_aside(keep_checkpoints=True)
            record = None
        if record is not None and record.status != "interrupted":
            found = trial_summary(spec, runs, record, kept=True)
            watcher.kept(found)
            return record, True
        record = supervise(folder, spec, watcher, transport=transport, slot=slot, stop=stop, persist=persist)
        return record, False


def trial_summary(spec: RunSpec, runs: Path, record: Record, kept: bool) -> TrialSummary:
    """What a summary needs of a trial."""
    return TrialSummary(
        run_id=record.run_id,
        spec=spec,
        status=record.status,
        reason=record.reason,
        kept=kept,
        path=str(runs / record.run_id),
    )


def finished_summary(spec: RunSpec, identity: str, runs: Path, how: ExecutionOptions) -> TrialSummary | None:
    """The outcome of a trial that has ended and is to be kept, from as little of its record as decides it.

    Neither locks nor makes a folder: a plan may have ten thousand trials that have ended.

    Args:
        identity: its run_id.
    """
    folder = runs / identity
    ending = None if how.force else records.read_ending(folder / RECORD)
    if ending is None or ending.run_id != identity or ending.status == "interrupted" or is_retried(ending.status, how):
        return None
    return TrialSummary(
        run_id=identity, spec=spec, status=ending.status, reason=ending.reason, kept=True, path=str(folder)
    )


def is_retried(status: Status, how: ExecutionOptions) -> bool:
    """Whether a trial that ended so is set aside and run again.

    It goes on from its checkpoint where one is left: its worker failed before it stood, for want of memory or a file.
    """
    return how.retry_failed and status in FAILED


def write_final_record(spec: RunSpec, runs: Path, watcher: Watcher, status: Status, reason: str) -> Record:
    """Write the record of a trial whose supervisor is gone, with what was known before.

    Raises:
        StoreError: the supervisor is not gone, or the folder cannot be written.
    """
    folder = RunFolder(runs, run_id(spec))
    with folder.locked():
        earlier = _read_sound_record(folder, spec, watcher)
        if earlier is not None and earlier.status != "interrupted":
            return earlier
        trial = Trial.after(earlier, spec, folder.identity, watcher)
        trial.end = Done(status=status, reason=reason)
        record = folder.write(trial.record())
    watcher.finished(record)
    return record


def _read_sound_record(folder: RunFolder, spec: RunSpec, watcher: Watcher) -> Record | None:
    """The record that is there; a damaged one is put aside and the trial goes on from its checkpoint, if any."""
    try:
        return folder.record()
    except StoreError as error:
        if not isinstance(error, DamagedError):
            raise
        aside = unused_path(folder.path / f"{RECORD}.corrupt")
        folder.record_path.replace(aside)
        watcher.warned(spec, f"{error.what}; kept as {aside.name}, running the trial again")
        return None
