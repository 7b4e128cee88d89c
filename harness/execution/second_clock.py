"""The supervisor's own measurement of a worker's clock."""

from __future__ import annotations

import contextlib
import sys
import time
from pathlib import Path

from harness.contract.events import ClockEdge

#: The two clocks may differ by this share and this many seconds before a run is rejected.
CLOCK_TOLERANCE = (0.05, 1.0)
#: Between an edge of its clock and telling of it, a worker that waits for a processor may stand still for so long.
STALL_S = 0.5


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
        waits = [_thread_wait_seconds(schedule) for schedule in self._schedules]
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


def _thread_wait_seconds(schedule: str) -> float:
    """Seconds that a thread was ready to run and had no processor; 0 where the kernel does not say."""
    try:
        return int(Path(schedule).read_text().split()[1]) / 1e9
    except (OSError, ValueError, IndexError):
        return 0.0
