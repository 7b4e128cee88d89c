"""Check a worker's clock by an independent measurement in the supervisor.

The measurement is a lower bound: time in which the clock may have been stopped is not counted. The clock of an honest
worker therefore never shows less than this measurement, even on a busy or paused machine.

- Wall seconds: The worker reports each start and stop of its clock. The time of a report is known within bounds
  (`harness.execution.event_pipe`). An interval is measured from the latest possible time of the start report to the
  earliest possible time of the stop report. `REPORT_S` seconds are subtracted, because an honest worker may report a
  stop late by this time. If its report is later than that, it adds the delay to its clock.
- Processor seconds: The supervisor reads them from the kernel some time after a start or stop. The worker may have used
  a part of them while its clock was stopped. The largest possible part is subtracted (`harness.execution.windows`). For
  late reports of stops, `REPORT_S` seconds are subtracted here too.
"""

from __future__ import annotations

from harness.contract.events import REPORT_S, ClockChanged
from harness.execution.event_pipe import Moment
from harness.execution.windows import Span, Window

#: The numbers (a, b): the worker's clock may be behind the supervisor's clock by a * (measured time) + b seconds. Up to
#: this limit, the larger time on these clocks is scored. Beyond the limit, the run is rejected. The clock of an honest
#: worker should never be behind, so this limit is only a safety margin.
CLOCK_TOLERANCE = (0.01, 0.1)
#: Name of the worker's processor time in a window.
WORKER = "worker"


class SecondClock:
    """The supervisor's measurement of the intervals in which the worker's clock runs.

    An edge is a start or a stop of the worker's clock. The worker reports every edge with the seconds on its clock. The
    edges of a window are recorded between `begin_window` and `end_window`.
    """

    def __init__(self) -> None:
        self._window = Window(start=0.0, end=0.0)
        #: The current interval in which the clock runs, the event at its start, and the event at the last stop.
        self._interval: Span | None = None
        self._started: ClockChanged | None = None
        self._stopped: ClockChanged | None = None
        #: Seconds of the current window that lie in intervals that have ended.
        self._inside = 0.0
        #: Wall seconds and processor seconds of all intervals, measured by this clock and reported by the worker.
        self._measured = [0.0, 0.0]
        self._reported = [0.0, 0.0]
        #: The excess is the time on this clock minus the time on the worker's clock. This is the smallest excess at any
        #: stop of the worker's clock. It is negative if the worker reported more time than could be measured. Later
        #: excesses are compared with it. If they were compared with 0, a worker that once reported 5 s too much could
        #: later report 5 s too little.
        self._least_excess = [0.0, 0.0]
        #: The time that is missing on the worker's clock: the largest growth of the excess since it was smallest.
        self._lack = [0.0, 0.0]

    def begin_window(self, window: Window) -> None:
        """Begin a window: the time between the previous reading and the reading that was just made."""
        self._window, self._inside = window, 0.0

    def record_edge(self, event: ClockChanged, written: Moment) -> bool:
        """Record a report, and return whether the clock started or stopped.

        Args:
            event: the report. A report of a stop while the clock is stopped corrects the time of the last stop.
            written: bounds on the time at which the worker wrote the report.
        """
        if event.running:
            is_edge = self._interval is None
            if is_edge:
                self._lack = list(self._measure_lack())
                self._started, self._interval = event, Span(written)
            return is_edge
        if self._interval is None or self._started is None:
            if self._stopped is not None:
                self._add_reported(self._stopped, event)
                self._stopped = event
            return False
        self._interval.ended = written
        self._inside += self._interval.least_seconds(self._window)
        self._measured[0] += max(0.0, written.earliest - self._interval.began.latest - REPORT_S)
        self._measured[1] -= REPORT_S
        self._interval = None
        self._add_reported(self._started, event)
        self._stopped = event
        return True

    def end_window(self) -> None:
        """End the current window. All of its edges must have been recorded."""
        if self._interval is None:
            excess = self._excess()
            self._least_excess = [min(pair) for pair in zip(self._least_excess, excess, strict=True)]
        else:
            self._interval.add(self._window)
        self._measured[1] += self._least_in_window()
        self._window, self._inside = Window(start=self._window.end, end=self._window.end), 0.0

    def charged_seconds(self) -> tuple[float, float]:
        """Return the wall and processor seconds to score up to the last stop.

        Each is the larger of the supervisor's time and the worker's time.
        """
        lack = self._lack if self._interval is not None else self._measure_lack()
        return self._reported[0] + lack[0], self._reported[1] + lack[1]

    def most_since_start(self) -> float:
        """Return an upper bound on the worker's processor seconds since the clock started; 0 if it is stopped."""
        return 0.0 if self._interval is None else self._interval.most(WORKER, self._window)

    def find_disagreement(self) -> str:
        """Return how far the worker's clock is behind, if this is more than the tolerance; otherwise an empty string.

        If the worker's clock is ahead, its larger time is scored, and nothing is wrong.
        """
        fraction, seconds = CLOCK_TOLERANCE
        for i, (kind, lack) in enumerate(zip(("wall", "processor"), self._measure_lack(), strict=True)):
            measured = self._reported[i] + lack
            if lack > fraction * measured + seconds:
                return (
                    f"the worker's clock has {self._reported[i]:.2f} {kind} seconds, the supervisor's clock at least "
                    f"{measured:.2f}; leave the time functions and the clock of the harness as they are"
                )
        return ""

    def _measure_lack(self) -> tuple[float, float]:
        """Return the time that is missing on the worker's clock. A correction of the last stop may reduce it."""
        (wall, process), least, lack = self._excess(), self._least_excess, self._lack
        return max(lack[0], wall - least[0]), max(lack[1], process - least[1])

    def _add_reported(self, earlier: ClockChanged, later: ClockChanged) -> None:
        self._reported[0] += later.seconds - earlier.seconds
        self._reported[1] += later.process_seconds - earlier.process_seconds

    def _excess(self) -> tuple[float, float]:
        """Return the seconds by which this clock is ahead of the worker's clock; negative if it is behind."""
        process_seconds = self._measured[1] + self._least_in_window()
        return self._measured[0] - self._reported[0], process_seconds - self._reported[1]

    def _least_in_window(self) -> float:
        """Return a lower bound on the worker's processor seconds in the current window while its clock ran."""
        inside = self._inside + (0.0 if self._interval is None else self._interval.least_seconds(self._window))
        return self._window.least(WORKER, inside)
