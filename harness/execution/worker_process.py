"""Start the worker process of a trial, read its events, measure its clock, and end it with its children."""

from __future__ import annotations

import contextlib
import os
import queue
import shutil
import site
from collections.abc import Callable
from functools import partial
from pathlib import Path

import msgspec

from harness.contract.events import AnyEvent, Done, Ready
from harness.contract.run import Job, RunSpec
from harness.datasets.paths import data_folder
from harness.execution.confinement import confine
from harness.execution.event_reader import WAKE_S, EventReader
from harness.execution.launching import FreshLauncher, LaunchedWorker, Launcher, WorkerStart
from harness.execution.meter import Meter
from harness.execution.state import ResourceSlot, StopSignal, Trial
from harness.hardware.telemetry import make_watch
from harness.storage.run_folder import RunFolder
from harness.system import python_process
from harness.system.files import write_error
from harness.system.private_folders import is_shared, make_folders, private_variables

#: Maximum seconds without an event until the event `Ready`. In this time the worker imports, generates data and
#: compiles.
STARTUP_S = 900.0
#: Maximum seconds without an event after the event `Ready`, in addition to four times the budget of scored seconds.
SILENCE_S = 120.0
#: Maximum seconds between a worker's last event and its exit.
EXIT_S = 10.0
#: Largest size of a worker's log in bytes, and the size of its end that is kept if it becomes larger.
MAX_LOG_BYTES = 64 << 20
KEPT_LOG_BYTES = 1 << 20


class WorkerProcess:
    """The transport that runs a job in a separate process.

    Args:
        folder: the trial's folder, whose lock the worker inherits.
        trial: state of the trial, in which the worker's death is recorded.
        slot: cores and GPUs of the worker.
        stop: signal that ends the worker.
        launcher: starts the worker; if None, a fresh process is started.
    """

    def __init__(
        self,
        folder: RunFolder,
        trial: Trial,
        slot: ResourceSlot,
        stop: StopSignal,
        launcher: Launcher | None = None,
    ) -> None:
        self._folder = folder
        self._trial = trial
        self._slot = slot
        self._stop = stop
        self._launcher = launcher or FreshLauncher()

    def run_job(self, job: Job, receive: Callable[[AnyEvent], None]) -> None:
        """Start the worker, pass on its events, and return when it has ended or has sent no event for too long.

        Raises:
            KeyboardInterrupt: the trial was stopped before the worker's last event.
        """
        scratch, log = self._folder.path / "scratch", self._folder.path / "worker.log"
        read_end, write_end = os.pipe()
        worker: LaunchedWorker | None = None
        reader: EventReader | None = None
        try:
            worker, log_offset = self._start(job.spec, scratch, log, write_end)
            os.close(write_end)
            write_end = -1
            self._trial.forked = worker.forked
            meter = self._trial.account.meter = Meter(worker.pid, job.spec)
            reader = EventReader(read_end, meter)
            reader.watch = make_watch(job.spec, reader.events.put, self._slot.gpus)
            if reader.watch is not None:
                reader.watch.start()
            reader.start()
            worker.send(msgspec.json.encode(confine(job)) + b"\n")
            exceeded_limit = forward_events(
                reader.events, receive, job.spec, self._stop, on_wake=partial(limit_log, log)
            )
            if exceeded_limit:
                worker.kill()
                self._trial.end = Done(status="timeout", reason=f"no event from the worker for {exceeded_limit:.0f} s")
            returncode = worker.wait(EXIT_S)
        finally:
            if worker is not None:
                killed_returncode = worker.kill()
                worker.close()
            if reader is not None:
                if reader.watch is not None:
                    reader.watch.end()
                reader.join()
            for descriptor in (read_end, write_end):
                if descriptor >= 0:
                    os.close(descriptor)
            shutil.rmtree(scratch, ignore_errors=True)
        if self._trial.end is None:
            exit_code = killed_returncode if returncode is None else returncode
            self._trial.set_death(exit_code, _last_log_line(log, log_offset))

    def _start(self, spec: RunSpec, scratch: Path, log: Path, write_end: int) -> tuple[LaunchedWorker, int]:
        """Start the worker. Return it, and the byte offset in the log at which the worker's output begins.

        Raises:
            StoreError: the worker's folder or log cannot be written.
            KeyboardInterrupt: the trial was stopped.
        """
        try:
            shutil.rmtree(scratch, ignore_errors=True)
            make_folders(scratch)
            with open(log, "ab") as output:
                log_offset = output.tell()
                start = WorkerStart(
                    events=write_end,
                    lock=self._folder.lock_descriptor,
                    log=output.fileno(),
                    cores=self._slot.cores,
                    environment=_environment(spec, scratch, self._slot),
                    stop=self._stop,
                    warn=partial(self._trial.watcher.warned, spec),
                )
                worker = self._launcher.launch(start)
        except OSError as error:
            raise write_error(self._folder.path, error) from error
        return worker, log_offset


def forward_events(
    events: queue.SimpleQueue[AnyEvent | None],
    receive: Callable[[AnyEvent], None],
    spec: RunSpec,
    stop: StopSignal,
    on_wake: Callable[[], None] = lambda: None,
) -> float:
    """Pass on the worker's events until the last one or until a time limit without events is exceeded.

    Args:
        events: queue of the worker's events.
        receive: function that is called with each event.
        spec: the trial.
        stop: signal that ends the trial.
        on_wake: function that is called after each event and about every `WAKE_S` seconds.

    Returns:
        0.0 after the last event, or the exceeded limit in seconds.

    Raises:
        KeyboardInterrupt: the trial was stopped.
    """
    # The time between two events is a small part of the budget. The factor 4 allows for a busy machine.
    limit, limit_after_ready = STARTUP_S, 4 * spec.seconds_allowed + SILENCE_S
    silence = 0.0
    while True:
        if stop.is_set:
            raise KeyboardInterrupt
        on_wake()
        try:
            event = events.get(timeout=WAKE_S)
        except queue.Empty:
            # Silence is counted in poll intervals and not read from a clock, so that time in which the machine was
            # suspended does not count.
            silence += WAKE_S
            if silence >= limit:
                return limit
            continue
        silence = 0.0
        if event is None:
            return 0.0
        receive(event)
        if isinstance(event, Done):
            return 0.0
        if isinstance(event, Ready):
            limit = limit_after_ready


def limit_log(log: Path) -> None:
    """Keep only the end of a worker's log that has more than `MAX_LOG_BYTES`.

    The worker appends to the file meanwhile. What it writes during this call may be lost or appear twice.
    """
    with contextlib.suppress(OSError):
        size = log.stat().st_size
        if size <= MAX_LOG_BYTES:
            return
        with open(log, "r+b") as file:
            file.seek(size - KEPT_LOG_BYTES)
            end = file.read(KEPT_LOG_BYTES)
            file.seek(0)
            file.truncate()
            file.write(b"[the beginning was removed, because the log had %d bytes]\n" % size + end)


def _environment(spec: RunSpec, scratch: Path, slot: ResourceSlot) -> dict[str, str]:
    """Return the worker's environment variables.

    The variables fix the number of threads and the hash seed, and give the worker its own home, temporary folder and
    caches.
    """
    threads = str(spec.threads)
    fixed = {"PYTHONHASHSEED": "0", "PYTHONUNBUFFERED": "1", "CUBLAS_WORKSPACE_CONFIG": ":4096:8"}
    # CUDA must number the GPUs as the driver does, so that telemetry reads the GPU of the run.
    fixed["CUDA_DEVICE_ORDER"] = "PCI_BUS_ID"
    counts = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), threads)
    # HOME is replaced, so the folders of packages installed with --user and of datasets must be given explicitly.
    shared = {"PYTHONUSERBASE": site.getuserbase(), "BENCH_DATA": str(data_folder().absolute())}
    gpus = {"CUDA_VISIBLE_DEVICES": ",".join(slot.gpus)} if slot.gpus else {}
    inherited = {name: value for name, value in python_process.environment().items() if not is_shared(name)}
    return {**inherited, **shared, **private_variables(scratch), **fixed, **counts, **gpus}


def _last_log_line(log: Path, log_offset: int) -> str:
    """Return the last line that this worker wrote to its log.

    Args:
        log: path of the log.
        log_offset: byte offset at which the worker's output begins.
    """
    try:
        with open(log, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            # `limit_log` may have removed the beginning of the log.
            file.seek(max(log_offset if log_offset <= size else 0, size - 4096))
            lines = file.read().decode(errors="replace").strip().splitlines()
    except OSError:
        return ""
    return lines[-1].strip() if lines else ""
