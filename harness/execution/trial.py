"""Run one trial on this machine: keep a finished record, resume an interrupted run, or start a new run."""

from __future__ import annotations

from pathlib import Path

import msgspec

from harness.contract.events import Done
from harness.contract.record import Record, Status, TrialSummary, is_retryable
from harness.contract.run import ExecutionOptions, RunSpec
from harness.contract.watcher import Watcher
from harness.errors import DamagedError, StoreError, TrialLockedError
from harness.execution.attempts import note_damaged_record
from harness.execution.launching import Launcher
from harness.execution.state import ResourceSlot, StopSignal, Trial
from harness.execution.supervisor import Transport, supervise
from harness.storage import records
from harness.storage.layout import RECORD, run_id
from harness.storage.run_folder import RunFolder
from harness.system.files import unused_path

#: Seconds to wait for the lock of a trial. If a supervisor was killed, its worker releases the lock soon afterwards.
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
    launcher: Launcher | None = None,
    lock_timeout: float | None = None,
) -> tuple[Record, bool]:
    """Run a trial unless it is finished, and return its record and whether an earlier call wrote that record.

    Args:
        spec: the trial.
        runs: folder with one subfolder per trial.
        watcher: object that is notified of every event.
        options: see `ExecutionOptions`.
        transport, slot, stop, persist, launcher: see `supervise`.
        lock_timeout: seconds to wait for the lock if another process holds it; `LOCK_TIMEOUT_S` when None.

    Raises:
        StoreError: another process is running this trial, or its folder cannot be written.
        Interrupted: the trial was stopped.
    """
    options = options or ExecutionOptions()
    folder = RunFolder(runs, run_id(spec))
    with folder.lock(LOCK_TIMEOUT_S if lock_timeout is None else lock_timeout):
        if options.force:
            folder.supersede()
        earlier = _read_undamaged_record(folder, spec, watcher)
        if earlier is not None and is_retried(earlier.status, options):
            folder.supersede(keep_checkpoints=True)
            if not folder.has_checkpoint:
                earlier = None
        elif earlier is not None and earlier.status != "interrupted":
            watcher.kept(trial_summary(spec, runs, earlier, kept=True))
            return earlier, True
        if earlier is not None and spec.workload.has_other_source(earlier.spec.workload):
            watcher.warned(spec, describe_other_source(spec, "the trial began"))
        record = supervise(
            folder,
            spec,
            watcher,
            earlier=earlier,
            transport=transport,
            slot=slot,
            stop=stop,
            persist=persist,
            shadow_evaluation=options.shadow_evaluation,
            grad_norm=options.grad_norm,
            invocation=options.invocation,
            launcher=launcher,
        )
        return record, False


def trial_summary(spec: RunSpec, runs: Path, record: Record, kept: bool) -> TrialSummary:
    """Return the summary of a trial with this record.

    Args:
        spec: the trial.
        runs: folder with one subfolder per trial.
        record: the trial's record.
        kept: whether the record was written by an earlier call.
    """
    return TrialSummary(
        run_id=record.run_id,
        spec=spec,
        status=record.status,
        reason=record.reason,
        kept=kept,
        path=str(runs / record.run_id),
    )


def finished_summary(spec: RunSpec, identity: str, runs: Path, options: ExecutionOptions) -> TrialSummary | None:
    """Return the summary of a finished trial, or None if the trial has to run.

    A plan may have 10,000 finished trials. Therefore no folder is locked or created.

    Args:
        spec: the trial.
        identity: the trial's run_id.
        runs: folder with one subfolder per trial.
        options: see `ExecutionOptions`.
    """
    folder = runs / identity
    record = None if options.force else records.find_valid_record(folder / RECORD)
    if (
        record is None
        or record.run_id != identity
        or record.status == "interrupted"
        or is_retried(record.status, options)
    ):
        return None
    outdated = spec.workload.has_other_source(record.spec.workload)
    return msgspec.structs.replace(trial_summary(spec, runs, record, kept=True), outdated=outdated)


def describe_other_source(spec: RunSpec, event: str) -> str:
    """Return a warning that an installed workload was edited without a new version.

    Args:
        spec: the trial.
        event: clause with the event since which the source has changed, such as `the trial began`.
    """
    facts = spec.workload.facts
    problem = f"the source of {facts.id} has changed since {event}, but its version has not"
    return f"{problem}: raise the version if results change, or run the trials again with --force"


def is_retried(status: Status, options: ExecutionOptions) -> bool:
    """Return whether a finished trial with this status is run again.

    The trial resumes from its checkpoint if it has one. A checkpoint is kept if the worker failed before it was ready,
    for example because memory or a file was missing.
    """
    return options.retry_failed and is_retryable(status)


def write_final_record(spec: RunSpec, runs: Path, watcher: Watcher, status: Status, reason: str) -> Record:
    """Write the final record of a trial whose supervisor died. The record continues the trial's earlier record.

    Args:
        spec: the trial.
        runs: folder with one subfolder per trial.
        watcher: object that is notified of the end.
        status: status of the trial.
        reason: reason for the status, in one clause.

    Raises:
        StoreError: the supervisor is still running, or the folder cannot be written.
    """
    folder = RunFolder(runs, run_id(spec))
    try:
        with folder.lock():
            earlier = _read_undamaged_record(folder, spec, watcher)
            if earlier is not None and earlier.status != "interrupted":
                return earlier
            trial = Trial.continue_from(earlier, spec, folder.identity, watcher)
            trial.end = Done(status=status, reason=reason)
            record = folder.write(trial.record())
    except TrialLockedError as error:
        # The trial is this command's own, so it must not be started again as if another command were running it.
        raise StoreError(error.what, fix=error.fix) from None
    watcher.finished(record)
    return record


def _read_undamaged_record(folder: RunFolder, spec: RunSpec, watcher: Watcher) -> Record | None:
    """Return the record in the folder, or None if it is missing or damaged.

    A damaged record is renamed. The trial then resumes from its checkpoint, or starts again if it has none.
    """
    try:
        return folder.record()
    except StoreError as error:
        if not isinstance(error, DamagedError):
            raise
        renamed_path = unused_path(folder.path / f"{RECORD}.corrupt")
        folder.record_path.replace(renamed_path)
        try:
            note_damaged_record(spec, folder.root)
        except StoreError as failure:
            watcher.warned(spec, f"the ledger does not say that the record was damaged: {failure}")
        watcher.warned(
            spec, f"{error.what}; it was renamed to {renamed_path.name}, and the trial resumes or starts again"
        )
        return None
