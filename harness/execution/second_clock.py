"""The supervisor's own measurement of a worker's clock."""

from __future__ import annotations

import contextlib
import sys
import time
from pathlib import Path

from harness.contract.events import ClockChanged

#: The two clocks may differ by this share and this many seconds before a run is rejected.
CLOCK_TOLERANCE = (0.05, 1.0)
#: Longest time that a worker may wait for a processor between an edge of its clock and reporting it.
STALL_S = 0.5


class SecondClock:
    """The supervisor's own measurement of the intervals in which the worker's clock ran.

    Processor seconds are read from the kernel where it offers them for another process (Linux), so that neither
    kind of second has to be taken on trust. On a busy machine the report of an edge arrives late. The kernel gives an
    upper bound for the delay: the time that this thread and the worker's main thread waited for a processor.

    Args:
        pid: the worker.
    """

    def __init__(self, pid: int) -> None:
        # The kernel's per-process clock id, as clock_getcpuclockid(3) computes it.
        self._cpu_clock = (~pid << 3) | 2 if sys.platform == "linux" else None
        self._schedules = ("/proc/thread-self/schedstat", f"/proc/{pid}/task/{pid}/schedstat")
        self._waits = [0.0, 0.0]
        self._late = [0.0, 0.0]
        self._began: tuple[float, float, ClockChanged] | None = None
        self._measured = [0.0, 0.0]
        self._claimed = [0.0, 0.0]

    def record_edge(self, event: ClockChanged) -> None:
        """Record an edge of the worker's clock at the moment it arrives."""
        wall, process = time.perf_counter(), self._process_seconds()
        waits = [_thread_wait_seconds(schedule) for schedule in self._schedules]
        reader, worker = (after - before for after, before in zip(waits, self._waits, strict=True))
        self._waits = waits
        self._late[0] += reader + min(worker, STALL_S)
        # A waiting worker uses no processor time: for processor seconds only this thread's delay counts.
        self._late[1] += reader
        if event.running:
            self._began = (wall, process, event)
        elif self._began is not None:
            wall_0, process_0, event_0 = self._began
            self._measured[0] += wall - wall_0
            self._measured[1] += process - process_0
            self._claimed[0] += event.seconds - event_0.seconds
            self._claimed[1] += event.process_seconds - event_0.process_seconds
            self._began = None

    def discard_interval(self) -> None:
        """Leave the current interval out: this process could not time its edges."""
        self._began = None

    def find_disagreement(self) -> str:
        """How the worker's clock differs from this one beyond tolerance; empty while it does not."""
        share, seconds = CLOCK_TOLERANCE
        for i, kind in enumerate(("wall", "processor") if self._cpu_clock is not None else ("wall",)):
            measured, claimed = self._measured[i], self._claimed[i]
            if abs(measured - claimed) > share * measured + seconds + self._late[i]:
                return f"the worker's clock says {claimed:.2f} {kind} seconds, the supervisor's {measured:.2f}"
        return ""

    def _process_seconds(self) -> float:
        if self._cpu_clock is None:
            return 0.0
        with contextlib.suppress(OSError):
            return time.clock_gettime(self._cpu_clock)
        return 0.0


def _thread_wait_seconds(schedule: str) -> float:
    """Seconds that a thread was ready to run and had no processor; 0 where the kernel does not say."""
    try:
        return int(Path(schedule).read_text().split()[1]) / 1e9
    except (OSError, ValueError, IndexError):
        return 0.0
