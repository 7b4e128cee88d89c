"""Measures a worker from outside: its clock, the time of every phase, and the processor time of all its processes."""

from __future__ import annotations

import math
import os
import time
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from harness.contract.events import AnyEvent, ClockChanged, Done, Evaluated, PhaseBegan, Ready
from harness.contract.record import Phase, Spent
from harness.contract.run import RunSpec
from harness.execution.event_pipe import Arrival, Moment
from harness.execution.off_clock import OffClockLimits
from harness.execution.second_clock import WORKER, SecondClock
from harness.execution.windows import Span, Window
from harness.system.process_tree import ProcessTree, TreeTimes, is_ignoring_children, read_clock, read_thread_name

#: A thread of a thread pool spins while it waits. It may be busy longer than the main thread by this number of seconds.
_POOL_SPIN_S = 0.05
#: The kernel updates the times of threads only at clock ticks. The time of a process may therefore differ from the sum
#: over its threads by this number of seconds.
_TICK_ERROR_S = 0.02
#: Number of processors. All threads together can use at most this number of processor seconds per second.
_PROCESSORS = os.cpu_count() or 1
#: Names of the measured processor times. `MAIN_THREAD`: the time of the worker's main thread. `TREE`: of all processes.
#: `DESCENDANTS`: of the processes that descend from the worker. `ENDED`: of the worker's threads that have ended.
MAIN_THREAD, TREE, DESCENDANTS, ENDED = "main thread", "tree", "descendants", "ended"
#: Beginnings of the names of the processor times of single threads and processes.
THREAD, PROCESS = "thread ", "process "


@dataclass(frozen=True, slots=True, kw_only=True)
class Charge:
    """The time on the clock at an evaluation, measured since the worker's start.

    Args:
        at: the time on the clock when it stopped for the evaluation.
        after: the time on the clock when the event of the evaluation arrived. It is larger than `at` if the clock ran
            in between, while the submission averaged weights or returned its state.
    """

    at: Spent
    after: Spent


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """The processor times of a worker's processes, as they were read from the kernel.

    Args:
        began, ended: times at which the reading began and ended, by `time.perf_counter`.
        clock_read: time at which `clock_seconds` had been read.
        clock_seconds: processor seconds of the worker since its start, scored or not; None if the worker is not known
            yet, or has ended.
        tree: the processor times of all processes of the worker. They are read after `clock_seconds`, because reading
            them takes longer.
    """

    began: float
    ended: float
    clock_read: float
    clock_seconds: float | None = None
    tree: TreeTimes = field(default_factory=TreeTimes)

    @property
    def main_thread(self) -> float:
        """Processor seconds of the worker's main thread."""
        worker = self.tree.main
        return 0.0 if worker is None else self.tree.threads.get(worker.pid, worker.seconds)

    @property
    def worker(self) -> float:
        """Processor seconds of all threads of the worker."""
        return 0.0 if self.tree.main is None else self.tree.main.seconds

    @property
    def total(self) -> float:
        return self.worker + self.tree.helper_seconds


class Meter:
    """The measurements of one worker.

    The thread that reads the events calls `read`, and then passes the reading and the events to `measure`.

    Readings do not happen exactly when a phase begins or ends. The meter therefore computes a lower bound on the time
    of a phase (`harness.execution.windows`). Charges and limits use this lower bound, so a late reading never counts
    against the worker.

    Args:
        pid: process id of the process that was started: the worker's reaper, or the worker itself.
        spec: the trial.
        evaluates_outside: whether another process evaluates the weights.

    Attributes:
        phases: the time of each phase so far.
        helpers: processor seconds of helpers while the clock was stopped, by name. Under names that begin with `main
            thread`, it also contains the seconds that are charged for the main thread.
        helper_seconds: the sum of these seconds, including those of helpers without a name.
        charges: queue of the evaluations' charges. The caller takes each charge from the queue.
        limits: the limits on work while the clock is stopped.
    """

    def __init__(self, pid: int, spec: RunSpec, *, evaluates_outside: bool = False) -> None:
        now = time.perf_counter()
        self._tree = ProcessTree(pid)
        self._clock = SecondClock()
        # With several ranks, the harness starts the processes of the other ranks. These are not helpers, and the worker
        # reports their time.
        self._charges_helpers = spec.ranks == 1
        self._charges_threads = spec.device == "cpu"
        self._has_pool = spec.threads > 1
        #: The last reading, and the last reading at which the worker was alive.
        self._last = self._alive = Reading(began=now, ended=now, clock_read=now)
        self._window = Window(start=now, end=now)
        self._phase: Phase = "start"
        self._phase_span = Span(Moment(earliest=now, latest=now))
        #: The time (`time.perf_counter`) up to which `phases` is complete.
        self._marked = now
        self._running = False
        self._started_at = now
        #: The time since the last stop of the clock.
        self._stopped = Span(Moment(earliest=now, latest=now))
        #: The time since the first start of the clock. In this time, the descendants of the worker are charged.
        self._charged_span: Span | None = None
        #: Processor seconds of the main thread and other threads that are charged although the clock was stopped.
        self._off_clock = 0.0
        #: The time since the last start of the clock, if the worker died while the clock was running.
        self._unfinished = Spent()
        #: The processor times at the end of the import. They are removed once they have been checked.
        self._imported: TreeTimes | None = None
        #: The last stops of the clock: the wall seconds that the worker reported, and the time charged up to the stop.
        self._stops: deque[tuple[float, Spent]] = deque(maxlen=8)
        self._stop_count = self._phase_count = self._evaluations = 0
        self.phases: dict[Phase, Spent] = {}
        self.helpers: dict[str, float] = {}
        self.helper_seconds = 0.0
        self.charges: deque[Charge] = deque()
        self.limits = OffClockLimits(
            stages=max(1, len(spec.workload.facts.stages)),
            # If the submission needs the split `feedback`, the worker itself evaluates this split.
            evaluates_outside=evaluates_outside and "feedback" not in spec.submission.needs,
        )

    def read(self) -> Reading:
        """Read the times of the worker's processes."""
        worker, began = self._alive.tree.main, time.perf_counter()
        clock_seconds = None if worker is None else read_clock(worker.pid)
        clock_read, tree = time.perf_counter(), self._tree.read()
        return Reading(
            began=began, ended=time.perf_counter(), clock_read=clock_read, clock_seconds=clock_seconds, tree=tree
        )

    def measure(self, reading: Reading, arrivals: Iterable[Arrival] = ()) -> None:
        """Measure the time since the previous reading.

        Args:
            reading: the reading at the end of this time.
            arrivals: all events that were written before the reading ended, in order. Events of earlier calls are not
                among them.
        """
        last, self._last = self._last, reading
        if reading.tree.main is not None:
            self._alive = reading
        self._window = Window(start=last.began, end=reading.ended, growth=compute_growth(last, reading))
        self._clock.begin_window(_clock_window(last, reading))
        used, began = max(0.0, reading.total - last.total), self._marked
        rate = used / max(reading.ended - began, 1e-9)
        for arrival in arrivals:
            self._observe(arrival.event, arrival.written, rate)
        self._spend(reading.ended, rate)
        self._clock.end_window()
        for span in (self._phase_span, self._stopped, self._charged_span):
            if span is not None:
                span.ended = None
                span.add(self._window)
        self._window = Window(start=reading.ended, end=reading.ended)

    def end(self) -> None:
        """Charge the time until now if the worker has died while its clock was running."""
        if not self._running:
            return
        self._running, wall = False, time.perf_counter()
        # The processor time after the last reading is unknown. The wall time is an upper bound for the main thread.
        process_seconds = self._clock.most_since_start() + wall - self._alive.ended
        self._unfinished = Spent(seconds=wall - self._started_at, process_seconds=process_seconds)

    def close(self) -> None:
        """Close the files that `read` keeps open."""
        self._tree.close()

    def charged(self) -> Spent:
        """Return the scored time from the worker's start to the last stop of the clock."""
        seconds, process_seconds = self._clock.charged_seconds()
        seconds += self._unfinished.seconds
        process_seconds += self._unfinished.process_seconds
        if self._charged_span is not None and self._charges_helpers:
            process_seconds += self._charged_span.least(DESCENDANTS, self._window)
        return Spent(seconds=seconds, process_seconds=process_seconds + self._off_clock)

    def find_violation(self) -> str:
        """Return why the run is rejected; empty if it is not rejected."""
        return self._clock.find_disagreement() or self.limits.violation

    def _observe(self, event: AnyEvent, written: Moment, rate: float) -> None:
        match event:
            case ClockChanged():
                self._spend(written.latest, rate)
                self._record_edge(event, written)
            case PhaseBegan():
                self._spend(written.latest, rate)
                self._end_phase(written)
                self._begin_phase(event.phase, written)
                if self._stop_count and not self._running:
                    self._phase_count += 1
                    self.limits.check_phases(self._phase_count, self._evaluations)
            case Evaluated():
                self._evaluations += 1
                at = next((spent for seconds, spent in self._stops if seconds == event.point.seconds), self.charged())
                self.charges.append(Charge(at=at, after=self.charged()))
            case Ready():
                if event.resumed_from is not None and self.limits.evaluation_cost is None:
                    # The limit would be derived from the next evaluation. This evaluation may be screened, and then
                    # costs too little. Therefore no limit applies.
                    self.limits.evaluation_cost = math.inf
            case Done():
                self._end_phase(written)
                self._begin_phase(self._phase, written)

    def _spend(self, end: float, rate: float) -> None:
        """Add the time of the current window up to `end` to the current phase.

        Args:
            end: a moment of the window.
            rate: mean processor seconds per second in the window. How the rate changes within the window is unknown.
        """
        seconds = max(0.0, min(end, self._last.ended) - self._marked)
        spent = self.phases.get(self._phase, Spent())
        self.phases[self._phase] = Spent(
            seconds=spent.seconds + seconds, process_seconds=spent.process_seconds + rate * seconds
        )
        self._marked += seconds

    def _record_edge(self, event: ClockChanged, written: Moment) -> None:
        """Record a report of the worker's clock: a start, a stop, or a correction of the last stop."""
        if not event.running and self._charged_span is not None:
            self._charged_span.ended = written
        is_edge = self._clock.record_edge(event, written)
        if not is_edge:
            if not event.running and self._stops:
                self._stops[-1] = (event.seconds, self.charged())
            return
        if event.running:
            self._end_phase(written)
            self._end_stopped_interval(written)
            self._started_at = written.earliest
        self._running = event.running
        self._begin_phase(event.phase, written)
        if not event.running:
            self._stopped = Span(written)
            self._stop_count += 1
            self.limits.check_stops(self._stop_count, self._evaluations)
            self._stops.append((event.seconds, self.charged()))
            worker = self._last.tree.main
            if worker is not None and is_ignoring_children(worker.pid):
                self.limits.reject_ignored_children()

    def _begin_phase(self, phase: Phase, written: Moment) -> None:
        self._phase, self._phase_span = phase, Span(written)

    def _end_phase(self, written: Moment) -> None:
        """End the current phase and check its limit."""
        if self._phase == "import":
            self._imported = self._last.tree
        if self._running:
            return
        self._phase_span.ended = written
        main, tree = (self._phase_span.least(name, self._window) for name in (MAIN_THREAD, TREE))
        scored = self.charged().process_seconds
        self.limits.add(self._phase, main, tree, scored, main_at_most=self._phase_span.most(MAIN_THREAD, self._window))
        if self._phase == "import" and self._charges_threads and (excess := self.limits.find_import_excess(tree)):
            # The import has its own limit, so it does not count for that of the helpers.
            self._off_clock += excess
            self.helpers["import of the submission"] = excess
        if self._stop_count and self._charges_threads:
            excess = self.limits.find_excess(self._phase, main, scored)
            self._off_clock += excess
            self._add_helpers({f"main thread, phase {self._phase}": excess}, excess)

    def _end_stopped_interval(self, written: Moment) -> None:
        """End an interval in which the clock was stopped, and charge the processor time of helpers in it."""
        self._stopped.ended = written
        if self._charged_span is None:
            self._charged_span = Span(written)
        if self._imported is not None:
            if self._charges_helpers:
                reading_delay = self._window.end - written.earliest
                self.limits.check_left_behind(self._imported, self._last.tree, reading_delay * _PROCESSORS)
            self._imported = None
        if not self._stop_count:
            return
        threads = self._thread_times() if self._charges_threads else {}
        spent, process_seconds = dict(threads), 0.0
        if self._charges_helpers:
            process_seconds = self._stopped.least(DESCENDANTS, self._window)
            for name in self._stopped.names(self._window):
                if name.startswith(PROCESS):
                    spent[name] = self._stopped.least(name, self._window)
        # The time of processes is not added here. `charged` adds all their time since the first start of the clock.
        self._off_clock += sum(threads.values())
        self._add_helpers(spent, process_seconds + sum(threads.values()))

    def _add_helpers(self, spent: dict[str, float], total: float) -> None:
        """Record processor seconds of helpers or the main thread while the clock was stopped, and check their limit.

        Args:
            spent: the seconds by name of the helper.
            total: all seconds, including those of helpers without a name.
        """
        if total <= 0:
            return
        for name, seconds in spent.items():
            if seconds > 0:
                self.helpers[name] = self.helpers.get(name, 0.0) + seconds
        self.helper_seconds += total
        busiest = max(self.helpers, key=self.helpers.__getitem__, default="a process that has ended")
        self.limits.add_helpers(self.helper_seconds, busiest, self.charged().process_seconds)

    def _thread_times(self) -> dict[str, float]:
        """Return the processor seconds of the worker's threads, except the main thread, while the clock was stopped.

        With several intra-op threads, the evaluation itself uses a thread pool. A thread is then charged only for the
        time by which it was busy longer than the main thread.
        """
        worker = self._last.tree.main
        if worker is None or worker.pid not in self._last.tree.threads:
            return {}
        allowed = self._stopped.most(MAIN_THREAD, self._window) + _POOL_SPIN_S if self._has_pool else 0.0
        spent = {}
        for thread in self._last.tree.threads:
            seconds = self._stopped.least(f"{THREAD}{thread}", self._window) - allowed
            if thread != worker.pid and seconds > 0:
                spent[f"thread {read_thread_name(worker.pid, thread)} ({thread})"] = seconds
        ended = self._stopped.least(ENDED, self._window)
        if not self._has_pool and ended > _TICK_ERROR_S:
            spent["threads that have ended"] = ended
        return spent


def compute_growth(last: Reading, now: Reading) -> dict[str, tuple[float, float]]:
    """Return by name how much each quantity grew between two readings, and the largest rate at which it can grow."""
    growth = {
        DESCENDANTS: (now.tree.helper_seconds - last.tree.helper_seconds, float(_PROCESSORS)),
        TREE: (max(0.0, now.total - last.total), float(_PROCESSORS)),
    }
    for pid, times in now.tree.helpers.items():
        earlier = last.tree.helpers.get(pid)
        seconds = times.seconds + times.reaped - (0.0 if earlier is None else earlier.seconds + earlier.reaped)
        growth[f"{PROCESS}{times.name} ({pid})"] = seconds, float(_PROCESSORS)
    worker = now.tree.main
    if worker is None:
        return growth
    main_seconds = max(0.0, now.main_thread - last.main_thread)
    growth[MAIN_THREAD] = main_seconds, 1.0
    live_seconds = 0.0
    for thread, seconds in now.tree.threads.items():
        if thread != worker.pid:
            used = seconds - last.tree.threads.get(thread, 0.0)
            # If the time of a thread has decreased, the thread has ended, and a new thread has the same id.
            growth[f"{THREAD}{thread}"] = (used if used >= 0 else seconds), 1.0
            live_seconds += growth[f"{THREAD}{thread}"][0]
    growth[ENDED] = now.worker - last.worker - main_seconds - live_seconds, float(_PROCESSORS)
    return growth


def _clock_window(last: Reading, now: Reading) -> Window:
    """Return the window for `SecondClock`. It ends when `clock_seconds` was read, before the other times were read."""
    growth = {}
    if last.clock_seconds is not None and now.clock_seconds is not None:
        threads = max(len(last.tree.threads), len(now.tree.threads)) or _PROCESSORS
        growth[WORKER] = now.clock_seconds - last.clock_seconds, float(min(threads, _PROCESSORS))
    return Window(start=last.began, end=now.clock_read, growth=growth)
