"""A worker on a timeline, with neither processes nor wall time: its events, and what a supervisor reads of it."""

from __future__ import annotations

from dataclasses import dataclass, field

from harness.contract.events import REPORT_S, AnyEvent, ClockChanged, Done, Evaluated, PhaseBegan
from harness.contract.run import Point
from harness.execution.event_pipe import Arrival, Moment
from harness.execution.meter import Meter, Reading
from harness.system.process_tree import ProcessTimes, TreeTimes
from tests.helpers import spec_of, submission

PID = 4242
THREAD = 4243
#: Seconds that a reading of the processor clock, and of the whole table of processes, take.
CLOCK_READ_S, TABLE_READ_S = 2e-5, 1e-3


@dataclass
class FakeWorker:
    """A worker that has used processor time at given rates.

    Args:
        honesty: the factor on the seconds that the worker reports.
    """

    honesty: float = 1.0
    now: float = 100.0
    #: The written events with their times.
    events: list[tuple[float, AnyEvent]] = field(default_factory=list)
    #: The seconds that the worker's clock has, and those that it reports.
    wall: float = 0.0
    process: float = 0.0
    _pieces: list[tuple[float, float, float, float]] = field(default_factory=list)
    _running_since: float | None = None

    def use(self, seconds: float, rate: float, helper_rate: float = 0.0) -> None:
        """Let time pass, in which the main thread and another thread use a processor at these rates."""
        self._pieces.append((self.now, self.now + seconds, rate, helper_rate))
        self.now += seconds
        if self._running_since is not None:
            self.wall += seconds
            self.process += seconds * (rate + helper_rate)

    def emit(self, event: AnyEvent) -> None:
        self.events.append((self.now, event))

    def _report(self, running: bool, phase: str) -> None:
        self.emit(
            ClockChanged(
                running=running,
                seconds=self.wall * self.honesty,
                process_seconds=self.process * self.honesty,
                phase=phase,  # type: ignore[arg-type]
            )
        )

    def start(self, phase: str, delay: float = 1e-5, rate: float = 0.0) -> None:
        """Start the clock; the report is written after a delay, in which the worker waits."""
        self._running_since = self.now
        wall, process = self.wall, self.process
        self.use(delay, rate)
        self.wall, late_wall, self.process, late_process = wall, self.wall, process, self.process
        self._report(True, phase)
        self.wall, self.process = late_wall, late_process

    def stop(self, phase: str, delay: float = 1e-5, rate: float = 0.0) -> None:
        """Stop the clock; the report is written after a delay, and corrected if the delay is long."""
        wall, process = self.wall, self.process
        self.use(delay, rate)
        late_wall, late_process, self.wall, self.process = self.wall, self.process, wall, process
        self._report(False, phase)
        self._running_since = None
        if delay > REPORT_S:
            self.wall, self.process = late_wall, late_process
            self.use(1e-5, rate)
            self._report(False, phase)

    def evaluated(self, examples: int) -> None:
        """Report an evaluation at the present seconds."""
        self.emit(Evaluated(point=point(examples, self.wall * self.honesty, self.process * self.honesty)))

    def used(self, at: float) -> tuple[float, float]:
        """Return the processor seconds of the main thread and of the other thread at a time."""
        main = other = 0.0
        for began, ended, rate, other_rate in self._pieces:
            seconds = max(0.0, min(ended, at) - began)
            main, other = main + seconds * rate, other + seconds * other_rate
        return main, other

    def read(self, at: float) -> Reading:
        """Return what a supervisor reads at a time."""
        clock_read, ended = at + CLOCK_READ_S, at + TABLE_READ_S
        main, other = self.used(ended - CLOCK_READ_S)
        process = ProcessTimes(
            pid=PID, parent=1, started=1, name="worker", seconds=sum(self.used(ended - CLOCK_READ_S / 2)), reaped=0.0
        )
        return Reading(
            began=at,
            clock_read=clock_read,
            ended=ended,
            clock_seconds=sum(self.used(at + CLOCK_READ_S / 2)),
            tree=TreeTimes(main=process, threads={PID: main, THREAD: other}),
        )


def point(examples: int, seconds: float, process_seconds: float) -> Point:
    return Point(
        examples=examples, gradient_examples=0, steps=examples, seconds=seconds, process_seconds=process_seconds,
        metrics={},
    )  # fmt: skip


def train(
    worker: FakeWorker,
    intervals: list[tuple[float, float]],
    pauses: list[tuple[float, float]],
    delays: list[float],
    helper_rate: float = 0.0,
) -> None:
    """Let a worker train and be evaluated as the real loop does.

    Args:
        worker: the worker.
        intervals: wall seconds and rate of the training before each evaluation.
        pauses: wall seconds and processor seconds of each evaluation.
        delays: delays of the reports, in turn.
        helper_rate: the rate of another thread in evaluations.
    """
    delay = [delays[i % len(delays)] for i in range(4 * len(intervals) + 2)]
    worker.use(0.3, 0.9)
    worker.start("construction", delay.pop())
    worker.use(0.05, 1.0)
    worker.stop("start", delay.pop())
    worker.emit(PhaseBegan(phase="evaluation"))
    worker.use(0.05, 0.1)
    worker.evaluated(0)
    for index, ((seconds, rate), (pause, used)) in enumerate(zip(intervals, pauses, strict=True)):
        worker.start("training", delay.pop())
        worker.use(seconds, rate)
        worker.emit(PhaseBegan(phase="averaging"))
        worker.use(0.001, rate)
        worker.stop("evaluation", delay.pop())
        worker.use(pause, min(1.0, used / pause), helper_rate)
        worker.start("averaging", delay.pop())
        worker.emit(PhaseBegan(phase="state"))
        worker.use(0.001, rate)
        worker.stop("checkpoint", delay.pop())
        worker.use(0.002, 0.5)
        worker.evaluated(64 * (index + 1))
    worker.emit(Done(status="exhausted"))


def supervise(worker: FakeWorker, readings: list[float], blur: float = 0.0) -> Meter:
    """Return a meter that has measured a worker at these times, which are at least as late as the last event.

    Args:
        worker: the worker.
        readings: the times of the readings, ascending.
        blur: the largest number of seconds by which the time of an event is not known, within what the reader knows.
    """
    meter = Meter(PID, SPEC, evaluates_outside=True)
    first = worker.read(100.0)
    meter._last = meter._alive = first
    meter._marked = first.ended
    events, empty_at = list(worker.events), first.ended
    for at in readings:
        reading = worker.read(at)
        arrivals = []
        while events and events[0][0] <= reading.ended:
            written, event = events.pop(0)
            moment = Moment(
                earliest=max(written - blur, min(empty_at, written)), latest=min(written + blur, reading.ended)
            )
            arrivals.append(Arrival(event=event, written=moment))
        meter.measure(reading, arrivals)
        empty_at = reading.ended
    assert not events
    return meter


def prompt_readings(worker: FakeWorker) -> list[float]:
    """Return the times of readings 0.2 ms after each event, and of those every 0.2 s."""
    after = [at + 2e-4 for at, _ in worker.events]
    regular = [100.0 + 0.2 * i for i in range(1, int((worker.now - 100.0) / 0.2) + 1)]
    times: list[float] = []
    for at in sorted([*after, *regular]):
        # A reading begins when the one before has ended.
        times.append(max(at, times[-1] + TABLE_READ_S if times else at))
    return times


SPEC = spec_of(submission("tests.submissions_for_tests:Base"))
