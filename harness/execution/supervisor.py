"""Supervise the worker of one trial, and write the trial's record even if the worker dies."""

from __future__ import annotations

import contextlib
import math
import os
import signal
import sys
from collections.abc import Callable, Iterator

from harness.contract.events import AnyEvent, Done
from harness.contract.record import Record, is_complete
from harness.contract.run import Job, RunSpec
from harness.contract.watcher import Watcher
from harness.errors import UsageError
from harness.execution.account import Account
from harness.execution.launching import Launcher, can_start_evaluator, evaluates_outside
from harness.execution.sessions import current_session, git_state
from harness.execution.state import Interrupted, ResourceSlot, StopSignal, Trial
from harness.execution.worker_process import WorkerProcess
from harness.storage.run_folder import RunFolder

#: A function that runs a job and passes the events of the run to a callback.
Transport = Callable[[Job, Callable[[AnyEvent], None]], None]
#: Environment variable with the largest fraction of wall time that checkpoints may take. `inf` writes a checkpoint at
#: every evaluation.
CHECKPOINT_SHARE_VARIABLE = "BENCH_CHECKPOINT_SHARE"


def _read_checkpoint_share() -> float | None:
    """Return the value of `CHECKPOINT_SHARE_VARIABLE`; None if it is not set.

    Raises:
        UsageError: the value is not a positive number.
    """
    text = os.environ.get(CHECKPOINT_SHARE_VARIABLE)
    if not text:
        return None
    try:
        share = float(text)
    except ValueError:
        share = math.nan
    if not share > 0:
        raise UsageError(
            f"{CHECKPOINT_SHARE_VARIABLE}={text!r} is not a positive number",
            fix="set it to a fraction such as 0.03, or to inf for a checkpoint at every evaluation",
        )
    return min(share, sys.float_info.max)  # the worker receives the number as JSON, which has no infinity


def supervise(
    folder: RunFolder,
    spec: RunSpec,
    watcher: Watcher,
    *,
    earlier: Record | None = None,
    transport: Transport | None = None,
    slot: ResourceSlot | None = None,
    stop: StopSignal | None = None,
    persist: bool = False,
    shadow_evaluation: bool = False,
    launcher: Launcher | None = None,
    grad_norm: bool = False,
    invocation: str = "",
) -> Record:
    """Run or resume a trial until it ends, and write its record. The folder must be locked.

    Args:
        folder: the trial's folder. If it contains a checkpoint, the run is resumed.
        spec: the trial.
        watcher: object that is notified of every event.
        earlier: record of the interrupted or failed run that is continued; None if the run begins.
        transport: function that runs a job and passes its events to a callback; if None, a worker process runs the job.
        slot: the cores and GPUs of the worker process.
        stop: signal that ends the trial. In the main thread, Ctrl-C also ends the trial.
        persist: whether a killed worker is replaced by a new worker, which resumes from the last checkpoint.
        shadow_evaluation: see `Job`.
        launcher: starts the worker process; if None, a fresh process is started.
        grad_norm: see `ExecutionOptions`.
        invocation: identifier of the command's invocation, for the record's sessions; if empty, this process gets an
            identifier of its own.

    Returns:
        The record, which has been written.

    Raises:
        StoreError: the record cannot be written. The file then still contains the record that was written at the start,
            with the status `interrupted`.
        Interrupted: the trial was stopped; its record has the status `interrupted`.
    """
    trial = Trial.continue_from(earlier, spec, folder.identity, watcher, current_session(invocation))
    trial.account = Account.open(folder)
    worker_process = WorkerProcess(folder, trial, slot or ResourceSlot(), stop or StopSignal(), launcher)
    run_job = transport or worker_process.run_job
    evaluates_in_worker = transport is None and not evaluates_outside(spec)
    job = Job(
        spec=spec,
        folder=str(folder.worker_path.absolute()),
        evaluation_folder=str((folder.worker_path if evaluates_in_worker else folder.path).absolute()),
        shadow_evaluation=shadow_evaluation,
        grad_norm=grad_norm,
        git=git_state(invocation),
        keep_weights=evaluates_in_worker and can_start_evaluator(),
        checkpoint_share=_read_checkpoint_share(),
    )
    interrupted = False
    while True:
        trial.account.begin_worker()
        # The record is written before the job runs, so that the trial has a record even if this process is killed.
        folder.write(trial.record())
        folder.prepare_worker(has_results=evaluates_in_worker, has_compiler_cache=spec.workload.facts.precision.compile)
        trial.enter_start_phase()
        try:
            run_job(job, trial.receive)
        except KeyboardInterrupt:
            interrupted = trial.end is None or _awaits_judgement(trial, job)
            if interrupted:
                trial.end = Done(status="interrupted", reason="stopped by the user")
        trial.end_worker(stopped=interrupted)
        folder.collect_worker_files()
        if not (persist and trial.killer and trial.end is not None and trial.end.status == "interrupted"):
            break
        watcher.warned(spec, f"the {trial.killed_role} was killed by {trial.killer}; resuming from the last checkpoint")
        trial.restart()
    record = folder.write(trial.record())
    # If the worker failed before it was ready, for example because a file was missing, the checkpoint is kept for a
    # retry.
    if record.status != "interrupted" and trial.ready is not None:
        folder.remove_checkpoints()
    watcher.finished(record)
    if interrupted:
        raise Interrupted("stopped by the user", fix="run the same command again to resume")
    return record


def _awaits_judgement(trial: Trial, job: Job) -> bool:
    """Return whether a run is complete, but its stored weights have not been judged.

    If the trial is stopped in this state, its record must not be final: the weights would never be judged.
    """
    return job.keep_weights and trial.end is not None and is_complete(trial.end.status) and not trial.judgements


@contextlib.contextmanager
def interrupt_on_termination() -> Iterator[None]:
    """Raise KeyboardInterrupt on SIGTERM inside the block. Outside the main thread this has no effect."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    try:
        previous_handler = signal.signal(signal.SIGTERM, interrupt)
    except ValueError:  # only the main thread may set handlers
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous_handler)
