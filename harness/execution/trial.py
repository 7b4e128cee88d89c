"""One trial on the machine where it runs: kept if it is finished, resumed if it was interrupted, started otherwise."""

from __future__ import annotations

from pathlib import Path

from harness.contract.events import Done
from harness.contract.record import Record, Status, TrialSummary, is_retryable
from harness.contract.run import ExecutionOptions, RunSpec
from harness.contract.watcher import Watcher
from harness.errors import DamagedError, StoreError
from harness.execution.state import ResourceSlot, StopSignal, Trial
from harness.execution.supervisor import Transport, supervise
from harness.storage import records
from harness.storage.layout import RECORD, run_id
from harness.storage.run_folder import RunFolder
from harness.system.files import unused_path

#: Seconds within which a worker whose supervisor was killed releases the lock of its trial.
LOCK_TIMEOUT_S = 10.0


def run_trial(
    spec: RunSpec,
    runs: Path,
    watcher: Watcher,
    options: ExecutionOptions | None = None,
    transport: Transport | None = None,
    *,
    slot: ResourceSlot | None = None,
    stop: StopSignal | None = None,
    persist: bool = False,
    lock_timeout: float | None = None,
) -> tuple[Record, bool]:
    """Run a trial unless it is finished; return its record, and whether it was kept from before.

    Args:
        runs: the folder with one folder per trial.
        options: see `ExecutionOptions`.
        transport, slot, stop, persist: see `supervise`.
        lock_timeout: seconds to wait for another supervisor of this trial to end; a few when None.

    Raises:
        StoreError: another process is running this trial, or its folder cannot be written.
        Interrupted: it was stopped.
    """
    options = options or ExecutionOptions()
    folder = RunFolder(runs, run_id(spec))
    with folder.lock(LOCK_TIMEOUT_S if lock_timeout is None else lock_timeout):
        if options.force:
            folder.supersede()
        record = _read_sound_record(folder, spec, watcher)
        if record is not None and is_retried(record.status, options):
            folder.supersede(keep_checkpoints=True)
            record = None
        if record is not None and record.status != "interrupted":
            watcher.kept(trial_summary(spec, runs, record, kept=True))
            return record, True
        record = supervise(folder, spec, watcher, transport=transport, slot=slot, stop=stop, persist=persist)
        return record, False


def trial_summary(spec: RunSpec, runs: Path, record: Record, kept: bool) -> TrialSummary:
    """The summary of a trial with this record."""
    return TrialSummary(
        run_id=record.run_id,
        spec=spec,
        status=record.status,
        reason=record.reason,
        kept=kept,
        path=str(runs / record.run_id),
    )


def finished_summary(spec: RunSpec, identity: str, runs: Path, options: ExecutionOptions) -> TrialSummary | None:
    """The summary of a finished trial that will be kept; None for one that has to run.

    Reads only the fields that decide it and neither locks nor creates a folder: a plan may have ten thousand finished
    trials.

    Args:
        identity: its run_id.
    """
    folder = runs / identity
    ending = None if options.force else records.read_ending(folder / RECORD)
    if (
        ending is None
        or ending.run_id != identity
        or ending.status == "interrupted"
        or is_retried(ending.status, options)
    ):
        return None
    return TrialSummary(
        run_id=identity, spec=spec, status=ending.status, reason=ending.reason, kept=True, path=str(folder)
    )


def is_retried(status: Status, options: ExecutionOptions) -> bool:
    """Whether a trial with this status is set aside and run again.

    It resumes from its checkpoint where there is one: its worker failed before it was ready, for lack of memory or a
    file.
    """
    return options.retry_failed and is_retryable(status)


def write_final_record(spec: RunSpec, runs: Path, watcher: Watcher, status: Status, reason: str) -> Record:
    """Write the last record of a trial whose supervisor died, from its earlier record.

    Raises:
        StoreError: the supervisor is still running, or the folder cannot be written.
    """
    folder = RunFolder(runs, run_id(spec))
    with folder.lock():
        earlier = _read_sound_record(folder, spec, watcher)
        if earlier is not None and earlier.status != "interrupted":
            return earlier
        trial = Trial.after(earlier, spec, folder.identity, watcher)
        trial.end = Done(status=status, reason=reason)
        record = folder.write(trial.record())
    watcher.finished(record)
    return record


def _read_sound_record(folder: RunFolder, spec: RunSpec, watcher: Watcher) -> Record | None:
    """The record in the folder, or None; a damaged one is renamed and the trial resumes from its checkpoint."""
    try:
        return folder.record()
    except StoreError as error:
        if not isinstance(error, DamagedError):
            raise
        aside = unused_path(folder.path / f"{RECORD}.corrupt")
        folder.record_path.replace(aside)
        watcher.warned(spec, f"{error.what}; kept as {aside.name}, running the trial again")
        return None
