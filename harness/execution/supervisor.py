"""One trial from its spec to its record: starts the worker, watches it, and survives its death."""

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
    """Run a trial, or go on with it, to its record. The folder must be locked.

    Args:
        folder: where the run lives.
        spec: the trial.
        watcher: told of what happens.
        transport: carries a job out and passes its events on; a worker process by default.
        place: the cores and GPUs of that process.
        stop: ends the trial when pulled; Ctrl-C does so, too, in the main thread.
        persist: whether a worker that was killed is followed by another one that goes on from its checkpoint.

    Returns:
        the record, already written.

    Raises:
        StoreError: the record cannot be written; the one written at the start still says `interrupted`.
        Interrupted: the trial was stopped; the record says `interrupted`.
    """
    trial = Trial.after(folder.record(), spec, folder.identity, watcher)
    carry_out = transport or WorkerProcess(folder, trial, slot or ResourceSlot(), stop or StopSignal()).carry_out
    job = Job(spec=spec, folder=str(folder.path.absolute()))
    interrupted = False
    while True:
        # From here on the trial has a record, whatever happens to this process.
        folder.write(trial.record())
        try:
            carry_out(job, trial.receive)
        except KeyboardInterrupt:
            interrupted = trial.end is None
            trial.end = trial.end or Done(status="interrupted", reason="stopped by the user")
        if not (persist and trial.killer and trial.end is not None and trial.end.status == "interrupted"):
            break
        watcher.warned(spec, f"the worker was killed by {trial.killer}; going on from its last checkpoint")
        trial.end, trial.killer, trial.ready = None, "", None
    record = folder.write(trial.record())
    # A worker that failed before it stood may fail for want of memory or a file; what it would go on from stays.
    if record.status != "interrupted" and trial.ready is not None:
        folder.drop_checkpoints()
    watcher.finished(record)
    if interrupted:
        raise Interrupted("stopped", fix="give the same command again to go on")
    return record


@contextlib.contextmanager
def termination_as_interrupt() -> Iterator[None]:
    """SIGTERM ends what is inside as Ctrl-C does; restored afterwards. Outside the main thread it changes nothing."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    try:
        earlier = signal.signal(signal.SIGTERM, interrupt)
    except ValueError:  # not the main thread: whoever owns the signals decides
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, earlier)
