"""Runs one trial from its specification to its record; survives the death of its worker."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable, Iterator

from harness.contract.events import AnyEvent, Done
from harness.contract.record import Record
from harness.contract.run import Job, RunSpec
from harness.contract.watcher import Watcher
from harness.execution.state import Interrupted, ResourceSlot, StopSignal, Trial
from harness.execution.worker_process import WorkerProcess
from harness.storage.run_folder import RunFolder

Transport = Callable[[Job, Callable[[AnyEvent], None]], None]


def supervise(
    folder: RunFolder,
    spec: RunSpec,
    watcher: Watcher,
    *,
    transport: Transport | None = None,
    slot: ResourceSlot | None = None,
    stop: StopSignal | None = None,
    persist: bool = False,
) -> Record:
    """Run a trial, or resume it, to its record. The folder must be locked.

    Args:
        folder: the folder of the run.
        spec: the trial.
        watcher: notified of every event.
        transport: runs a job and passes its events on; a worker process by default.
        slot: the cores and GPUs of that process.
        stop: ends the trial when set; in the main thread Ctrl-C does so, too.
        persist: whether a worker that was killed is replaced by another one that resumes from its checkpoint.

    Returns:
        the record, already written.

    Raises:
        StoreError: the record cannot be written; the one written at the start still says `interrupted`.
        Interrupted: the trial was stopped; the record says `interrupted`.
    """
    trial = Trial.after(folder.record(), spec, folder.identity, watcher)
    run_job = transport or WorkerProcess(folder, trial, slot or ResourceSlot(), stop or StopSignal()).run_job
    job = Job(spec=spec, folder=str(folder.path.absolute()))
    interrupted = False
    while True:
        # From here on the trial has a record, whatever happens to this process.
        folder.write(trial.record())
        try:
            run_job(job, trial.receive)
        except KeyboardInterrupt:
            interrupted = trial.end is None
            trial.end = trial.end or Done(status="interrupted", reason="stopped by the user")
        if not (persist and trial.killer and trial.end is not None and trial.end.status == "interrupted"):
            break
        watcher.warned(spec, f"the worker was killed by {trial.killer}; resuming from its last checkpoint")
        trial.end, trial.killer, trial.ready = None, "", None
    record = folder.write(trial.record())
    # A worker that failed before it was ready may have lacked memory or a file: its checkpoint stays.
    if record.status != "interrupted" and trial.ready is not None:
        folder.remove_checkpoints()
    watcher.finished(record)
    if interrupted:
        raise Interrupted("stopped by the user", fix="give the same command again to go on")
    return record


@contextlib.contextmanager
def interrupt_on_termination() -> Iterator[None]:
    """Turn SIGTERM into KeyboardInterrupt inside; outside the main thread nothing changes."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    try:
        earlier = signal.signal(signal.SIGTERM, interrupt)
    except ValueError:  # not the main thread, which alone may set handlers
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, earlier)
