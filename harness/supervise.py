"""One trial from its spec to its record: starts the worker, watches it, and survives its death."""

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
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

import msgspec

from harness.errors import BenchError
from harness.holdings import data_folder
from harness.store import RunFolder, cannot_write
from harness.types import (
    AnyEvent,
    ClockEdge,
    Counters,
    Done,
    Evaluated,
    Job,
    Outcome,
    Point,
    Ready,
    Record,
    RunSpec,
    Warned,
)

#: A worker killed this many times in a row without getting any further has crashed.
DEATHS_ALLOWED = 3
#: Seconds without any sign of life before the first event: imports, generating data, compiling.
STARTUP_S = 900.0
#: Seconds without any sign of life later on, beside four times the time budget.
PATIENCE_S = 120.0
#: The two clocks may differ by this share and this many seconds before a run is rejected.
CLOCK_TOLERANCE = (0.05, 1.0)
#: What the worker process is started with.
WORKER = (sys.executable, "-m", "harness.worker")
#: Whoever waits for events looks up this often; the reader knows by it that it was held up for so many seconds.
WAKE_S = 0.2
LATE_S = 0.5


class Watcher(Protocol):
    """Who follows a run while it goes: the progress display, observers."""

    def started(self, spec: RunSpec, resumed: tuple[Point, ...]) -> None: ...

    def evaluated(self, spec: RunSpec, point: Point) -> None: ...

    def warned(self, spec: RunSpec, message: str) -> None: ...

    def finished(self, record: Record) -> None: ...

    def kept(self, outcome: Outcome) -> None:
        """The trial had ended before; nothing was run."""
        ...


class Interrupted(BenchError):
    """The user stopped it; what was running continues from its checkpoint when the command is given again."""

    exit_code = 130


class Stop:
    """Asks trials to end, each with a record; pulled once, from any thread."""

    def __init__(self) -> None:
        self._pulled = threading.Event()

    def pull(self) -> None:
        """Ask."""
        self._pulled.set()

    @property
    def pulled(self) -> bool:
        """Whether it was asked."""
        return self._pulled.is_set()


@dataclass(frozen=True)
class Place:
    """What a trial has for itself.

    Args:
        cores: processor cores that the worker is pinned to; wherever the system puts it when empty.
        gpus: what `CUDA_VISIBLE_DEVICES` names; left as it is when empty.
    """

    cores: tuple[int, ...] = ()
    gpus: tuple[str, ...] = ()


Transport = Callable[[Job, Callable[[AnyEvent], None]], None]


def supervise(
    folder: RunFolder,
    spec: RunSpec,
    watcher: Watcher,
    *,
    transport: Transport | None = None,
    place: Place | None = None,
    stop: Stop | None = None,
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
    carry_out = transport or WorkerProcess(folder, trial, place or Place(), stop or Stop()).carry_out
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
        trial.end, trial.killer = None, ""
    record = folder.write(trial.record())
    # A worker that failed before it stood may fail for want of memory or a file; what it would go on from stays.
    if record.status != "interrupted" and trial.ready is not None:
        folder.drop_checkpoints()
    watcher.finished(record)
    if interrupted:
        raise Interrupted("stopped", fix="give the same command again to go on")
    return record


@dataclass
class Trial:
    """What is known of a run so far, from its events; always good for a record."""

    spec: RunSpec
    run_id: str
    watcher: Watcher
    deaths: int = 0
    points: list[Point] = field(default_factory=list)
    ready: Ready | None = None
    end: Done | None = None
    killer: str = ""
    second_clock: SecondClock | None = None
    started: str = field(default_factory=lambda: _utc_now())

    @classmethod
    def after(cls, earlier: Record | None, spec: RunSpec, run_id: str, watcher: Watcher) -> Trial:
        """A trial of which, until its worker says where it goes on from, is known what was known before."""
        trial = cls(spec, run_id, watcher)
        if earlier is not None:
            trial.deaths, trial.points = earlier.deaths, list(earlier.points)
        return trial

    def receive(self, event: AnyEvent) -> None:
        """Take in an event."""
        match event:
            case Ready():
                self.ready = event
                self.points = list(event.points)
                self.watcher.started(self.spec, event.points)
            case Evaluated():
                self.points.append(event.point)
                if len(self.points) > 1:
                    self.deaths = 0
                self.watcher.evaluated(self.spec, event.point)
            case ClockEdge():
                pass  # stamped where it arrives, by the reader
            case Warned():
                self.watcher.warned(self.spec, event.message)
            case Done():
                self.end = event
        if isinstance(event, Done) and self.second_clock is not None and event.status in ("reached", "exhausted"):
            reason = self.second_clock.disagreement()
            if reason:
                self.end = msgspec.structs.replace(event, status="rejected", reason=reason, hit=None)

    def died(self, returncode: int, last_words: str) -> None:
        """The worker ended without a last event."""
        if returncode >= 0:
            self.end = Done(status="crashed", reason=last_words or f"the worker exited with code {returncode}")
            return
        self.deaths += 1
        self.killer = name = signal.Signals(-returncode).name
        if self.deaths >= DEATHS_ALLOWED:
            self.end = Done(
                status="crashed", reason=f"killed by {name} {self.deaths} times in a row without getting further"
            )
        else:
            self.end = Done(status="interrupted", reason=f"the worker was killed by {name}; run it again to go on")

    def record(self) -> Record:
        """The record as of now; `interrupted` while there is no end."""
        end = self.end or Done(status="interrupted", reason="started, not finished; run it again to go on")
        last = self.points[-1] if self.points else None
        counters = end.counters
        if not counters.steps and last is not None:
            counters = Counters(
                examples=last.examples,
                gradient_examples=last.gradient_examples,
                steps=last.steps,
                seconds=last.seconds,
                process_seconds=last.process_seconds,
            )
        usage = end.usage if end.usage.parameters or self.ready is None else self.ready.usage
        return Record(
            run_id=self.run_id,
            spec=self.spec,
            status=end.status,
            reason=end.reason,
            points=tuple(self.points),
            hit=end.hit,
            stage_hits=end.stage_hits,
            counters=counters,
            usage=usage,
            environment=self.ready.environment if self.ready else None,
            final_weights=end.final_weights,
            crossing_weights=end.crossing_weights,
            profile=end.profile,
            deaths=self.deaths,
            started=self.started,
            finished=_utc_now() if self.end else "",
        )


class SecondClock:
    """The supervisor's own measurement of the intervals in which the worker's clock ran.

    Processor seconds are read from the kernel where it offers them for another process (Linux), so that neither
    kind of second has to be taken on trust.

    Args:
        pid: the worker.
    """

    def __init__(self, pid: int) -> None:
        # The kernel's per-process clock id, as clock_getcpuclockid(3) computes it.
        self._cpu_clock = (~pid << 3) | 2 if sys.platform == "linux" else None
        self._began: tuple[float, float, ClockEdge] | None = None
        self._own = [0.0, 0.0]
        self._claimed = [0.0, 0.0]

    def edge(self, event: ClockEdge) -> None:
        """Note an edge of the worker's clock at the moment it arrives."""
        wall, process = time.perf_counter(), self._process_seconds()
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
            if abs(own - claimed) > share * own + seconds:
                return f"the worker's clock says {claimed:.2f} {kind} seconds, the supervisor's {own:.2f}"
        return ""

    def _process_seconds(self) -> float:
        if self._cpu_clock is None:
            return 0.0
        with contextlib.suppress(OSError):
            return time.clock_gettime(self._cpu_clock)
        return 0.0


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
        #: Events in order; None when the pipe has ended or the last event has been read.
        self.events: queue.SimpleQueue[AnyEvent | None] = queue.SimpleQueue()

    def run(self) -> None:
        decoder = msgspec.json.Decoder(AnyEvent)
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
                self.events.put(event)
                if isinstance(event, Done):
                    # Not the end of the pipe: something the worker left behind may hold it open.
                    return
        self.events.put(None)


def _decoded(decoder: msgspec.json.Decoder[AnyEvent], line: bytes) -> AnyEvent:
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
    counts = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), threads)
    # Packages that a user installed for themselves are found through HOME, which is another one in there.
    # So are its datasets, and what a workload keeps beside them.
    kept = {"PYTHONUSERBASE": site.getuserbase(), "BENCH_DATA": str(data_folder().absolute())}
    gpus = {"CUDA_VISIBLE_DEVICES": ",".join(place.gpus)} if place.gpus else {}
    return {**os.environ, **kept, **home, **fixed, **counts, **gpus}


def _last_words(log: Path, began: int) -> str:
    """The last line that this worker wrote to its log."""
    try:
        with open(log, "rb") as file:
            file.seek(max(began, log.stat().st_size - 4096))
            lines = file.read().decode(errors="replace").strip().splitlines()
    except OSError:
        return ""
    return lines[-1].strip() if lines else ""


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


def _utc_now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
