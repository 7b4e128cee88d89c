"""Start the worker process of a trial, read its events, measure its clock, and end it with its children."""

from __future__ import annotations

import contextlib
import os
import queue
import shutil
import signal
import site
import subprocess
from collections.abc import Callable
from pathlib import Path

import msgspec

from harness.contract.events import AnyEvent, Done, Ready
from harness.contract.run import Job, RunSpec
from harness.datasets.paths import data_folder
from harness.execution.event_reader import WAKE_S, EventReader
from harness.execution.second_clock import SecondClock
from harness.execution.state import ResourceSlot, StopSignal, Trial
from harness.hardware.telemetry import make_watch
from harness.storage.run_folder import RunFolder
from harness.system import python_process
from harness.system.files import write_error

#: Maximum seconds without an event before the event `Ready`. In this time the worker imports, generates data and
#: compiles.
STARTUP_S = 900.0
#: Maximum seconds without an event after the event `Ready`, in addition to four times the budget of scored seconds.
SILENCE_S = 120.0
#: The command that starts a worker.
WORKER = python_process.command("harness.worker")


class WorkerProcess:
    """The transport that runs a job in a separate process.

    Args:
        folder: the trial's folder, whose lock the worker inherits.
        trial: state of the trial, in which the worker's death is recorded.
        slot: cores and GPUs of the worker.
        stop: signal that ends the worker.
    """

    def __init__(self, folder: RunFolder, trial: Trial, slot: ResourceSlot, stop: StopSignal) -> None:
        self._folder = folder
        self._trial = trial
        self._slot = slot
        self._stop = stop

    def run_job(self, job: Job, receive: Callable[[AnyEvent], None]) -> None:
        """Start the worker, pass on its events, and return when it has ended or has sent no event for too long.

        Raises:
            KeyboardInterrupt: the trial was stopped before the worker's last event.
        """
        scratch, log = self._folder.path / "scratch", self._folder.path / "worker.log"
        read_end, write_end = os.pipe()
        worker: subprocess.Popen[bytes] | None = None
        reader: EventReader | None = None
        try:
            worker, log_offset = self._start(job.spec, scratch, log, write_end)
            os.close(write_end)
            write_end = -1
            clock = self._trial.second_clock = SecondClock(worker.pid)
            reader = EventReader(read_end, clock)
            reader.watch = make_watch(job.spec, reader.events.put, self._slot.gpus)
            if reader.watch is not None:
                reader.watch.start()
            reader.start()
            assert worker.stdin is not None
            with contextlib.suppress(BrokenPipeError):
                worker.stdin.write(msgspec.json.encode(job) + b"\n")
                worker.stdin.flush()
            exceeded_limit = forward_events(reader.events, receive, job.spec, self._stop)
            if exceeded_limit:
                _kill(worker)
                self._trial.end = Done(status="timeout", reason=f"no event from the worker for {exceeded_limit:.0f} s")
            returncode = _wait_for_exit(worker)
        finally:
            if worker is not None:
                _kill(worker)
                if worker.stdin is not None:
                    with contextlib.suppress(BrokenPipeError):
                        worker.stdin.close()
            if reader is not None:
                if reader.watch is not None:
                    reader.watch.end()
                reader.join()
            for descriptor in (read_end, write_end):
                if descriptor >= 0:
                    os.close(descriptor)
            shutil.rmtree(scratch, ignore_errors=True)
        if self._trial.end is None:
            self._trial.set_death(returncode, _last_log_line(log, log_offset))

    def _start(self, spec: RunSpec, scratch: Path, log: Path, write_end: int) -> tuple[subprocess.Popen[bytes], int]:
        """Start the worker. Return it, and the byte offset in the log at which its output begins.

        Raises:
            StoreError: the worker's folder or log cannot be written.
        """
        try:
            shutil.rmtree(scratch, ignore_errors=True)
            (scratch / "tmp").mkdir(parents=True)
            with open(log, "ab") as output:
                log_offset = output.tell()
                lock = self._folder.lock_descriptor
                worker = subprocess.Popen(
                    [*WORKER, str(write_end), str(lock), ",".join(map(str, self._slot.cores))],
                    stdin=subprocess.PIPE,
                    stdout=output,
                    stderr=output,
                    pass_fds=(write_end, lock),
                    env=_environment(spec, scratch, self._slot),
                    start_new_session=True,  # Ctrl-C goes to the supervisor, which decides when the worker stops
                )
        except OSError as error:
            raise write_error(self._folder.path, error) from error
        return worker, log_offset


def forward_events(
    events: queue.SimpleQueue[AnyEvent | None], receive: Callable[[AnyEvent], None], spec: RunSpec, stop: StopSignal
) -> float:
    """Pass on the worker's events until the last one or until a time limit without events is exceeded.

    Args:
        events: queue of the worker's events.
        receive: function that is called with each event.
        spec: the trial.
        stop: signal that ends the trial.

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


def _wait_for_exit(worker: subprocess.Popen[bytes]) -> int:
    """Return the worker's exit code. The worker is killed if it does not exit within 10 s."""
    try:
        return worker.wait(timeout=10)
    except subprocess.TimeoutExpired:
        _kill(worker)
        return worker.wait()


def _kill(worker: subprocess.Popen[bytes]) -> None:
    """Kill the worker and all processes of its session."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(worker.pid, signal.SIGKILL)
    worker.wait()


def _environment(spec: RunSpec, scratch: Path, slot: ResourceSlot) -> dict[str, str]:
    """Return the worker's environment variables.

    The variables fix the number of threads and the hash seed, and give the worker a separate home and temporary folder.
    """
    threads = str(spec.threads)
    home = {"HOME": str(scratch), "TMPDIR": str(scratch / "tmp"), "XDG_CACHE_HOME": str(scratch / "cache")}
    fixed = {"PYTHONHASHSEED": "0", "PYTHONUNBUFFERED": "1", "CUBLAS_WORKSPACE_CONFIG": ":4096:8"}
    # CUDA must number the GPUs as the driver does, so that telemetry reads the GPU of the run.
    fixed["CUDA_DEVICE_ORDER"] = "PCI_BUS_ID"
    counts = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), threads)
    # HOME is replaced, so the folders of packages installed with --user and of datasets must be given explicitly.
    shared = {"PYTHONUSERBASE": site.getuserbase(), "BENCH_DATA": str(data_folder().absolute())}
    gpus = {"CUDA_VISIBLE_DEVICES": ",".join(slot.gpus)} if slot.gpus else {}
    return {**python_process.environment(), **shared, **home, **fixed, **counts, **gpus}


def _last_log_line(log: Path, log_offset: int) -> str:
    """Return the last line that this worker wrote to its log.

    Args:
        log: path of the log.
        log_offset: byte offset at which the worker's output begins.
    """
    try:
        with open(log, "rb") as file:
            file.seek(max(log_offset, log.stat().st_size - 4096))
            lines = file.read().decode(errors="replace").strip().splitlines()
    except OSError:
        return ""
    return lines[-1].strip() if lines else ""
