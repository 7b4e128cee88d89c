"""The worker as a process of its own: started, listened to, timed a second time, and ended with all it started."""

from __future__ import annotations

import contextlib
import os
import queue
import select
import shutil
import signal
import site
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from harness import interpreter
from harness.holdings import data_folder
from harness.store import RunFolder, cannot_write
from harness.trial import Place, Stop, Trial
from harness.types import AnyEvent, ClockEdge, Done, Job, Ready, RunSpec, WorkerEvent
from harness.watch import DeviceWatch, watch

#: Seconds without any sign of life before the first event: imports, generating data, compiling.
STARTUP_S = 900.0
#: Seconds without any sign of life later on, beside four times the time budget.
PATIENCE_S = 120.0
#: The two clocks may differ by this share and this many seconds before a run is rejected.
CLOCK_TOLERANCE = (0.05, 1.0)
#: Between an edge of its clock and telling of it, a worker that waits for a processor may stand still for so long.
STALL_S = 0.5
#: What the worker process is started with.
WORKER = interpreter.command("harness.worker")
#: Whoever waits for events looks up this often; the reader knows by it that it was held up for so many seconds.
WAKE_S = 0.2
LATE_S = 0.5


class WorkerProcess:
    """The transport that runs a job in a process of its own.

    Args:
        folder: the run's folder; its lock is shared with the worker.
        trial: told of the worker's death.
        place: what the worker has for itself.
        stop: ends the worker when pulled.
    """

    def __init__(self, folder: RunFolder, trial: Trial, place: Place, stop: Stop) -> None:
        self._folder = folder
        self._trial = trial
        self._place = place
        self._stop = stop

    def carry_out(self, job: Job, receive: Callable[[AnyEvent], None]) -> None:
        """Start the worker, pass its events on, and end when it ends or says nothing for too long.

        Raises:
            KeyboardInterrupt: it was stopped before it had said its last word.
        """
        scratch, log = self._folder.path / "scratch", self._folder.path / "worker.log"
        reading, writing = os.pipe()
        worker: subprocess.Popen[bytes] | None = None
        reader: EventReader | None = None
        try:
            worker, log_began = self._start(job.spec, scratch, log, writing)
            os.close(writing)
            writing = -1
            clock = self._trial.second_clock = SecondClock(worker.pid)
            reader = EventReader(reading, clock)
            reader.watch = watch(job.spec, reader.events.put, self._place.gpus)
            if reader.watch is not None:
                reader.watch.start()
            reader.start()
            assert worker.stdin is not None
            with contextlib.suppress(BrokenPipeError):
                worker.stdin.write(msgspec.json.encode(job) + b"\n")
                worker.stdin.flush()
            silent = _pass_on(reader.events, receive, job.spec, self._stop)
            if silent:
                _kill(worker)
                self._trial.end = Done(status="timeout", reason=f"no sign of life for {silent:.0f} s")
            returncode = _end_of(worker)
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
            for descriptor in (reading, writing):
                if descriptor >= 0:
                    os.close(descriptor)
            shutil.rmtree(scratch, ignore_errors=True)
        if self._trial.end is None:
            self._trial.died(returncode, _last_words(log, log_began))

    def _start(self, spec: RunSpec, scratch: Path, log: Path, writing: int) -> tuple[subprocess.Popen[bytes], int]:
        """The worker, and where in the log its output begins.

        Raises:
            StoreError: its folder or log cannot be written.
        """
        try:
            shutil.rmtree(scratch, ignore_errors=True)
            (scratch / "tmp").mkdir(parents=True)
            with open(log, "ab") as output:
                began = output.tell()
                lock = self._folder.lock_descriptor
                worker = subprocess.Popen(
                    [*WORKER, str(writing), str(lock), ",".join(map(str, self._place.cores))],
                    stdin=subprocess.PIPE,
                    stdout=output,
                    stderr=output,
                    pass_fds=(writing, lock),
                    env=_environment(spec, scratch, self._place),
                    start_new_session=True,  # Ctrl-C is for the supervisor; it decides when the worker stops
                )
        except OSError as error:
            raise cannot_write(self._folder.path, error) from error
        return worker, began


class SecondClock:
    """The supervisor's own measurement of the intervals in which the worker's clock ran.

    Processor seconds are read from the kernel where it offers them for another process (Linux), so that neither
    kind of second has to be taken on trust. On a crowded machine news of an edge comes late; by how much at most the
    kernel says, too: the time that this thread and the worker's spent waiting for a processor.

    Args:
        pid: the worker.
    """

    def __init__(self, pid: int) -> None:
        # The kernel's per-process clock id, as clock_getcpuclockid(3) computes it.
        self._cpu_clock = (~pid << 3) | 2 if sys.platform == "linux" else None
        self._schedules = ("/proc/thread-self/schedstat", f"/proc/{pid}/task/{pid}/schedstat")
        self._waits = [0.0, 0.0]
        self._late = [0.0, 0.0]
        self._began: tuple[float, float, ClockEdge] | None = None
        self._own = [0.0, 0.0]
        self._claimed = [0.0, 0.0]

    def edge(self, event: ClockEdge) -> None:
        """Note an edge of the worker's clock at the moment it arrives."""
        wall, process = time.perf_counter(), self._process_seconds()
        waits = [_waited(schedule) for schedule in self._schedules]
        reader, worker = (after - before for after, before in zip(waits, self._waits, strict=True))
        self._waits = waits
        self._late[0] += reader + min(worker, STALL_S)
        # A worker that stands still uses no processor: only we can be late for that.
        self._late[1] += reader
        if event.running:
            self._began = (wall, process, event)
        elif self._began is not None:
            wall_0, process_0, event_0 = self._began
            self._own[0] += wall - wall_0
            self._own[1] += process - process_0
            self._claimed[0] += event.seconds - event_0.seconds
            self._claimed[1] += event.process_seconds - event_0.process_seconds
            self._began = None

    def lost(self) -> None:
        """Leave the present interval out: this process was not there to see its edges in time."""
        self._began = None

    def disagreement(self) -> str:
        """Why the worker's clock is not to be believed, or an empty string."""
        share, seconds = CLOCK_TOLERANCE
        for i, kind in enumerate(("wall", "processor") if self._cpu_clock is not None else ("wall",)):
            own, claimed = self._own[i], self._claimed[i]
            if abs(own - claimed) > share * own + seconds + self._late[i]:
                return f"the worker's clock says {claimed:.2f} {kind} seconds, the supervisor's {own:.2f}"
        return ""

    def _process_seconds(self) -> float:
        if self._cpu_clock is None:
            return 0.0
        with contextlib.suppress(OSError):
            return time.clock_gettime(self._cpu_clock)
        return 0.0


def _waited(schedule: str) -> float:
    """Seconds that a thread was ready to run and had no processor; 0 where the kernel does not say."""
    try:
        return int(Path(schedule).read_text().split()[1]) / 1e9
    except (OSError, ValueError, IndexError):
        return 0.0


class EventReader(threading.Thread):
    """Takes events off the pipe as they come, so that the second clock is stamped on time.

    Whoever follows a run (a display, an observer that uploads) may take as long as it likes.

    Args:
        descriptor: the reading end of the pipe.
        clock: told of the edges of the worker's clock.
    """

    def __init__(self, descriptor: int, clock: SecondClock) -> None:
        super().__init__(name="events", daemon=True)
        self._descriptor = descriptor
        self._clock = clock
        #: Told of the edges, too.
        self.watch: DeviceWatch | None = None
        #: Events in order; None when the pipe has ended or the last event has been read.
        self.events: queue.SimpleQueue[AnyEvent | None] = queue.SimpleQueue()

    def run(self) -> None:
        decoder = msgspec.json.Decoder(WorkerEvent)
        pending, awake = b"", time.monotonic()
        while True:
            ready = select.select([self._descriptor], [], [], WAKE_S)[0]
            # Stopped or starved: what is read now came earlier, and says nothing about the worker's clock.
            late, awake = time.monotonic() - awake > WAKE_S + LATE_S, time.monotonic()
            if late:
                self._clock.lost()
            if not ready:
                continue
            chunk = os.read(self._descriptor, 65536)
            if not chunk:
                break
            *lines, pending = (pending + chunk).split(b"\n")
            for line in lines:
                event = _decoded(decoder, line)
                if isinstance(event, ClockEdge):
                    self._clock.edge(event)
                    if late:
                        self._clock.lost()
                    elif self.watch is not None:
                        self.watch.edge(event)
                self.events.put(event)
                if isinstance(event, Done):
                    # Not the end of the pipe: something the worker left behind may hold it open.
                    return
        self.events.put(None)


def _decoded(decoder: msgspec.json.Decoder[WorkerEvent], line: bytes) -> AnyEvent:
    try:
        return decoder.decode(line)
    except msgspec.DecodeError as error:
        return Done(status="crashed", reason=f"the worker sent what is no event: {error}")


def _pass_on(
    events: queue.SimpleQueue[AnyEvent | None], receive: Callable[[AnyEvent], None], spec: RunSpec, stop: Stop
) -> float:
    """Pass events on until the last one (0.0), or until nothing came for too long (that many seconds).

    Raises:
        KeyboardInterrupt: it was stopped first.
    """
    # Between two events lies a small part of the budget, on a machine that may be several times slower.
    patience, running = STARTUP_S, 4 * spec.seconds_allowed + PATIENCE_S
    waited = 0.0
    while True:
        if stop.pulled:
            raise KeyboardInterrupt
        try:
            event = events.get(timeout=WAKE_S)
        except queue.Empty:
            # Counted, and not read off a clock: a machine that slept has not waited.
            waited += WAKE_S
            if waited >= patience:
                return patience
            continue
        waited = 0.0
        if event is None:
            return 0.0
        receive(event)
        if isinstance(event, Done):
            return 0.0
        if isinstance(event, Ready):
            patience = running


def _end_of(worker: subprocess.Popen[bytes]) -> int:
    """The worker's exit code; it has said its last word, so it is not waited for much longer."""
    try:
        return worker.wait(timeout=10)
    except subprocess.TimeoutExpired:
        _kill(worker)
        return worker.wait()


def _kill(worker: subprocess.Popen[bytes]) -> None:
    """End the worker and whatever it started."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(worker.pid, signal.SIGKILL)
    worker.wait()


def _environment(spec: RunSpec, scratch: Path, place: Place) -> dict[str, str]:
    """The worker's environment: fixed threads and hashing, and a home and temporary folder of its own."""
    threads = str(spec.threads)
    home = {"HOME": str(scratch), "TMPDIR": str(scratch / "tmp"), "XDG_CACHE_HOME": str(scratch / "cache")}
    fixed = {"PYTHONHASHSEED": "0", "PYTHONUNBUFFERED": "1", "CUBLAS_WORKSPACE_CONFIG": ":4096:8"}
    # GPUs are numbered as the driver numbers them, or a reading would be of another card than the run's.
    fixed["CUDA_DEVICE_ORDER"] = "PCI_BUS_ID"
    counts = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), threads)
    # Packages that a user installed for themselves are found through HOME, which is another one in there.
    # So are its datasets, and what a workload keeps beside them.
    kept = {"PYTHONUSERBASE": site.getuserbase(), "BENCH_DATA": str(data_folder().absolute())}
    gpus = {"CUDA_VISIBLE_DEVICES": ",".join(place.gpus)} if place.gpus else {}
    return {**interpreter.environment(), **kept, **home, **fixed, **counts, **gpus}


def _last_words(log: Path, began: int) -> str:
    """The last line that this worker wrote to its log."""
    try:
        with open(log, "rb") as file:
            file.seek(max(began, log.stat().st_size - 4096))
            lines = file.read().decode(errors="replace").strip().splitlines()
    except OSError:
        return ""
    return lines[-1].strip() if lines else ""
