"""Check a worker's clock by an independent measurement in the supervisor."""

from __future__ import annotations

import contextlib
import sys
import time
from pathlib import Path

from harness.contract.events import ClockChanged

#: Largest accepted amount by which the worker's clock falls behind this one: a fraction of the measured time, plus a
#: number of seconds. Within it, the larger of the two times is scored.
CLOCK_TOLERANCE = (0.01, 0.1)
#: A worker that waits for a processor reports an edge late. At most this delay, in seconds per edge, is accepted for
#: this reason.
STALL_S = 0.5


class SecondClock:
    """The supervisor's measurement of the intervals in which the worker's clock runs.

    An edge is a start or a stop of the worker's clock. The worker reports every edge with the seconds on its clock.

    Wall seconds are measured here. Processor seconds are read from the kernel if it provides them for another process,
    as Linux does. On a busy machine the report of an edge arrives late. The time for which this thread and the worker's
    main thread waited for a processor is an upper bound on this delay.

    Args:
        pid: process id of the worker.
    """

    def __init__(self, pid: int) -> None:
        # The kernel's per-process clock id, as clock_getcpuclockid(3) computes it.
        self._cpu_clock = (~pid << 3) | 2 if sys.platform == "linux" else None
        self._schedstat_files = ("/proc/thread-self/schedstat", f"/proc/{pid}/task/{pid}/schedstat")
        #: Seconds for which this thread and the worker's main thread have waited for a processor.
        self._wait_seconds = [0.0, 0.0]
        #: Upper bounds on the delays of the reports, for wall seconds and for processor seconds.
        self._delays = [0.0, 0.0]
        #: The last start of the worker's clock, until it stops; and its arrival, unless that is unknown.
        self._started: ClockChanged | None = None
        self._arrival: tuple[float, float | None] | None = None
        #: Wall seconds and processor seconds in the completed intervals, by this clock and by the worker's clock.
        self._measured = [0.0, 0.0]
        self._reported = [0.0, 0.0]
        #: Wall seconds and processor seconds by the worker's clock in the intervals that could not be measured.
        self._unmeasured = [0.0, 0.0]
        self._charged = [0.0, 0.0]

    def record_edge(self, event: ClockChanged, since: float | None = None) -> None:
        """Record an edge of the worker's clock at the moment it arrives.

        Args:
            event: the edge.
            since: earliest time at which the report can have arrived, by `time.perf_counter`. This process may have
                been busy with earlier reports, or suspended. None if the report has arrived now.
        """
        wall, process = time.perf_counter(), self._process_seconds()
        reader_wait, worker_wait = (self._take_wait(index) for index in range(2))
        self._delays[0] += reader_wait + min(worker_wait, STALL_S)
        # A waiting worker uses no processor time, so only the delay of this thread affects processor seconds.
        self._delays[1] += reader_wait
        busy = 0.0 if since is None else max(0.0, wall - since)
        self._delays[0] += busy
        self._delays[1] += busy
        if event.running:
            self._started, self._arrival = event, (wall, process)
            return
        if self._started is None:
            return
        reported = (event.seconds - self._started.seconds, event.process_seconds - self._started.process_seconds)
        for i, (now, claim) in enumerate(zip((wall, process), reported, strict=True)):
            if self._arrival is None:
                self._unmeasured[i] += claim
                continue
            began = self._arrival[i]
            if now is None or began is None:
                self._unmeasured[i] += claim
            else:
                self._measured[i] += now - began
                self._reported[i] += claim
        self._started = self._arrival = None

    def discard_interval(self) -> None:
        """Measure nothing in the current interval, because this process does not know when its edges occurred."""
        self._arrival = None

    def charged_seconds(self) -> tuple[float, float]:
        """Return the wall seconds and the processor seconds to score: the larger time of the two clocks.

        The part of a measured time that may be due to late reports does not count.
        """
        for i, measured in enumerate(self._measured):
            seconds = max(self._reported[i], measured - self._delays[i]) + self._unmeasured[i]
            self._charged[i] = max(self._charged[i], seconds)
        return self._charged[0], self._charged[1]

    def find_disagreement(self) -> str:
        """Return a description of a difference between the clocks above the tolerance, or an empty string.

        A worker gains nothing from a clock that runs ahead of this one, since the larger time is scored.
        """
        fraction, seconds = CLOCK_TOLERANCE
        for i, kind in enumerate(("wall", "processor") if self._cpu_clock is not None else ("wall",)):
            measured, reported = self._measured[i], self._reported[i]
            if measured - self._delays[i] - reported > fraction * measured + seconds:
                return (
                    f"the worker's clock has {reported:.2f} {kind} seconds, the supervisor's clock {measured:.2f}; "
                    "leave the time functions and the clock of the harness as they are"
                )
        return ""

    def _process_seconds(self) -> float | None:
        """Return the worker's processor seconds; None if it has ended, or if the kernel does not give them."""
        if self._cpu_clock is None:
            return None
        with contextlib.suppress(OSError):
            return time.clock_gettime(self._cpu_clock)
        return None

    def _take_wait(self, index: int) -> float:
        """Return the seconds that a thread has waited for a processor since the previous call."""
        seconds = _thread_wait_seconds(self._schedstat_files[index])
        # The file of a worker that has ended is gone.
        waited = max(0.0, seconds - self._wait_seconds[index])
        self._wait_seconds[index] += waited
        return waited


def _thread_wait_seconds(schedstat_file: str) -> float:
    """Return the seconds that a thread waited for a processor, or 0 if the kernel does not report them.

    Args:
        schedstat_file: path of the thread's `schedstat` file.
    """
    try:
        return int(Path(schedstat_file).read_text().split()[1]) / 1e9
    except (OSError, ValueError, IndexError):
        return 0.0
