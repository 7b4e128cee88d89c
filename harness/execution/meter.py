"""Measures a worker from outside: its clock, the time of every phase, and the processor time of all its processes."""

from __future__ import annotations

import math
import time
from collections import deque
from dataclasses import dataclass

from harness.contract.events import AnyEvent, ClockChanged, Done, Evaluated, PhaseBegan, Ready
from harness.contract.record import Phase, Spent
from harness.contract.run import RunSpec
from harness.execution.off_clock import OffClockLimits
from harness.execution.second_clock import SecondClock
from harness.system.process_tree import ProcessTree, TreeTimes, is_ignoring_children, read_thread_name

#: Seconds by which a thread of a pool may be busy longer than the main thread, since it waits actively for more work.
_POOL_SPIN_S = 0.05
#: The kernel's times of a process and of its threads may differ by a few ticks, since the latter are updated at ticks.
_STALE_S = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class Charge:
    """The time on the clock at an evaluation, measured since the worker's start.

    Args:
        at: when the clock stopped for the evaluation.
        after: when the event of the evaluation arrived. Averaging and the submission's state lie in between.
    """

    at: Spent
    after: Spent


@dataclass(frozen=True, slots=True, kw_only=True)
class _Reading:
    wall: float
    tree: TreeTimes

    @property
    def main(self) -> float:
        """Processor seconds of the main thread."""
        main = self.tree.main
        return 0.0 if main is None else self.tree.threads.get(main.pid, main.seconds)

    @property
    def worker(self) -> float:
        """Processor seconds of all threads of the worker."""
        return 0.0 if self.tree.main is None else self.tree.main.seconds

    @property
    def total(self) -> float:
        return self.worker + self.tree.helper_seconds


class Meter:
    """The measurements of one worker. The thread that reads the events calls `observe` with each of them.

    Args:
        pid: process id of the process that was started: the worker's reaper, or the worker itself.
        spec: the trial.
        evaluates_outside: whether another process evaluates the weights.

    Attributes:
        phases: the time of each phase so far.
        helpers: processor seconds of helpers while the clock was stopped, by name.
        helper_seconds: the sum of these seconds.
        charges: the charges of the evaluations whose events were read and that no caller has taken yet.
        limits: the limits on work while the clock is stopped.
    """

    def __init__(self, pid: int, spec: RunSpec, *, evaluates_outside: bool = False) -> None:
        self._pid = pid
        self._tree = ProcessTree(pid)
        self._clock: SecondClock | None = None
        # The processes of other ranks are helpers of the harness. Their time is in the worker's report.
        self._charges_helpers = spec.ranks == 1
        self._charges_threads = spec.device == "cpu"
        self._has_pool = spec.threads > 1
        self._phase: Phase = "start"
        self._running = False
        self._last = _Reading(wall=time.perf_counter(), tree=TreeTimes())
        #: The readings at the last start or stop of the clock, and the last one at which the worker was alive.
        self._edge = self._alive = self._last
        self._main_in_phase = self._total_in_phase = 0.0
        self._unfinished = Spent()
        self._imported: TreeTimes | None = None
        self._helpers_on_clock = 0.0
        #: The charges at the last stops of the clock, by the wall seconds that the worker reported.
        self._stops: deque[tuple[float, Spent]] = deque(maxlen=8)
        self._stop_count = self._evaluations = 0
        self.phases: dict[Phase, Spent] = {}
        self.helpers: dict[str, float] = {}
        self.helper_seconds = 0.0
        self.charges: deque[Charge] = deque()
        self.limits = OffClockLimits(
            stages=max(1, len(spec.workload.facts.stages)),
            # The worker itself evaluates the split `feedback` for a submission that needs it.
            evaluates_outside=evaluates_outside and "feedback" not in spec.submission.needs,
        )

    def observe(self, event: AnyEvent, *, since: float, late: bool = False) -> None:
        """Measure at the arrival of an event.

        Args:
            event: the event.
            since: earliest time at which the event can have arrived, by `time.perf_counter`.
            late: whether the event arrived at an unknown earlier time.
        """
        match event:
            case ClockChanged():
                self._record_edge(event, since, late)
            case PhaseBegan():
                self._begin_phase(event.phase)
            case Evaluated():
                self._evaluations += 1
                at = next((spent for seconds, spent in self._stops if seconds == event.point.seconds), self.charged())
                self.charges.append(Charge(at=at, after=self.charged()))
            case Ready():
                if event.resumed_from is not None and self.limits.evaluation_cost is None:
                    self.limits.evaluation_cost = math.inf  # the next evaluation may be one of a part of the split
            case Done():
                self._begin_phase(self._phase)

    def discard_interval(self) -> None:
        """See `SecondClock.discard_interval`."""
        if self._clock is not None:
            self._clock.discard_interval()

    def poll(self) -> None:
        """Measure while no event arrives, so that little is unknown if the worker dies."""
        self._advance()

    def end(self) -> None:
        """Charge the time until now if the worker has died while its clock was running."""
        if not self._running:
            return
        self._running, last, wall = False, self._alive, time.perf_counter()
        # The processor time after the last reading is unknown. It is at most the wall time of the main thread.
        process_seconds = max(0.0, last.worker - self._edge.worker) + wall - last.wall
        self._helpers_on_clock += self._helper_time(self._edge, last)
        self._unfinished = Spent(seconds=wall - self._edge.wall, process_seconds=process_seconds)

    def charged(self) -> Spent:
        """Return the time to score, up to the last stop of the clock, since the worker's start."""
        seconds, process_seconds = (0.0, 0.0) if self._clock is None else self._clock.charged_seconds()
        seconds += self._unfinished.seconds
        process_seconds += self._unfinished.process_seconds
        return Spent(seconds=seconds, process_seconds=process_seconds + self._helpers_on_clock + self.helper_seconds)

    def find_violation(self) -> str:
        """Return why the run is rejected; empty if it is not."""
        return (self._clock.find_disagreement() if self._clock is not None else "") or self.limits.violation

    def _record_edge(self, event: ClockChanged, since: float, late: bool) -> None:
        if self._clock is None:
            main = self._tree.read().main
            self._clock = SecondClock(self._pid if main is None else main.pid)
        self._clock.record_edge(event, since)
        if late:
            self._clock.discard_interval()
        was_running, self._running = self._running, event.running
        reading = self._begin_phase(event.phase, was_running)
        if was_running:
            self._helpers_on_clock += self._helper_time(self._edge, reading)
        elif self._imported is not None:
            self._check_left_behind(self._imported, reading.tree)
            self._imported = None
        elif self._stops:
            self._charge_helpers(self._edge, reading)
        self._edge = reading
        if not event.running:
            self._stop_count += 1
            self.limits.check_stops(self._stop_count, self._evaluations)
            self._stops.append((event.seconds, self.charged()))
            if reading.tree.main is not None and is_ignoring_children(reading.tree.main.pid):
                self.limits.reject_ignored_children()

    def _begin_phase(self, phase: Phase, was_running: bool | None = None) -> _Reading:
        """End the present phase, check its limit, and return a reading."""
        reading = self._advance()
        if not (self._running if was_running is None else was_running):
            scored = self.charged().process_seconds
            self.limits.add(self._phase, self._main_in_phase, self._total_in_phase, scored)
            if self._stop_count and self._charges_threads:
                excess = self.limits.find_excess(self._phase, self._main_in_phase, scored)
                self._charge({f"main thread, phase {self._phase}": excess})
        if self._phase == "import":
            self._imported = reading.tree
        self._phase, self._main_in_phase, self._total_in_phase = phase, 0.0, 0.0
        return reading

    def _advance(self) -> _Reading:
        """Add the time since the previous reading to the present phase, and return a new reading."""
        reading, last = _Reading(wall=time.perf_counter(), tree=self._tree.read()), self._last
        total = max(0.0, reading.total - last.total)
        spent = self.phases.get(self._phase, Spent())
        self.phases[self._phase] = Spent(
            seconds=spent.seconds + reading.wall - last.wall, process_seconds=spent.process_seconds + total
        )
        self._total_in_phase += total
        self._main_in_phase += max(0.0, reading.main - last.main)
        self._last = reading
        if reading.tree.main is not None:
            self._alive = reading
        return reading

    def _helper_time(self, before: _Reading, after: _Reading) -> float:
        return after.tree.helper_seconds - before.tree.helper_seconds if self._charges_helpers else 0.0

    def _charge_helpers(self, before: _Reading, after: _Reading) -> None:
        """Charge what helpers burned between two readings while the clock was stopped."""
        threads = self._thread_times(before, after) if self._charges_threads else {}
        processes = self._helper_time(before, after)
        if processes + sum(threads.values()) > 0:
            named = self._process_times(before, after) if self._charges_helpers else {}
            self._charge({**named, **threads}, processes + sum(threads.values()))

    def _charge(self, spent: dict[str, float], total: float | None = None) -> None:
        """Charge processor seconds that were used while the clock was stopped, and check the limit on them.

        Args:
            spent: the seconds by name.
            total: the seconds to charge, with those that have no name; None for the sum.
        """
        charge = sum(spent.values()) if total is None else total
        if charge <= 0:
            return
        for name, seconds in spent.items():
            if seconds > 0:
                self.helpers[name] = self.helpers.get(name, 0.0) + seconds
        self.helper_seconds += charge
        busiest = max(self.helpers, key=self.helpers.__getitem__, default="a process that has ended")
        self.limits.add_helpers(self.helper_seconds, busiest, self.charged().process_seconds)

    def _process_times(self, before: _Reading, after: _Reading) -> dict[str, float]:
        """Return the processor seconds of the processes below the worker by name."""
        spent = {}
        for pid, times in after.tree.helpers.items():
            earlier = before.tree.helpers.get(pid)
            seconds = times.seconds + times.reaped - (0.0 if earlier is None else earlier.seconds + earlier.reaped)
            spent[f"process {times.name} ({pid})"] = seconds
        return spent

    def _thread_times(self, before: _Reading, after: _Reading) -> dict[str, float]:
        """Return the processor seconds of the worker's threads by name, without the main thread.

        With several intra-op threads, the evaluation itself uses a pool of threads. Each of them is then charged for
        what it used more than the main thread.
        """
        worker, main = after.tree.main, after.main - before.main
        if worker is None or worker.pid not in after.tree.threads:
            return {}
        allowed = main + _POOL_SPIN_S if self._has_pool else 0.0
        spent = {}
        live = 0.0
        for thread, total in after.tree.threads.items():
            seconds = total - before.tree.threads.get(thread, 0.0)
            if thread != worker.pid and seconds > 0:
                live += seconds
                if seconds > allowed:
                    spent[f"thread {read_thread_name(worker.pid, thread)} ({thread})"] = seconds - allowed
        ended = after.worker - before.worker - main - live
        if not self._has_pool and ended > _STALE_S:
            spent["threads that have ended"] = ended
        return spent

    def _check_left_behind(self, imported: TreeTimes, now: TreeTimes) -> None:
        """Check the processes that the import has left behind, when the clock starts for the first time."""
        if not self._charges_helpers:
            return
        for pid, times in imported.helpers.items():
            later = now.helpers.get(pid)
            if later is not None and later.started == times.started:
                self.limits.reject_left_behind(
                    f"process {times.name} ({pid})", later.seconds + later.reaped - times.seconds - times.reaped
                )
