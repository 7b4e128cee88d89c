"""Clocks, power and temperature of a run's GPUs, read while its clock stands still.

The worker evaluates then, so a card is at work, and nothing of a reading falls into a timed step. The readings are the
supervisor's, in a thread of its own: the worker neither waits for them nor has a hand in them.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence

import msgspec

from harness.contract.events import ClockEdge, Watched
from harness.contract.record import DeviceLog, GpuSample
from harness.contract.run import RunSpec
from harness.hardware import detect
from harness.hardware.drivers import Driver, Gpu

#: A way to ask that takes no longer than this is used at every pause.
QUICK_S = 0.02
#: Any other, where the pauses before were this many times as long as a reading takes.
ROOM = 3.0
_PAUSES = 4
#: Readings closer together say nothing new.
APART_S = 1.0


class DeviceWatch(threading.Thread):
    """Reads the GPUs at pauses of a worker's clock.

    Args:
        driver: who is asked.
        gpus: those of the run.
        tell: receives the GPUs at once, and readings as they come; from another thread.
        now: a monotonic clock in seconds.
    """

    def __init__(
        self,
        driver: Driver,
        gpus: Sequence[Gpu],
        tell: Callable[[Watched], None],
        now: Callable[[], float] = time.perf_counter,
    ) -> None:
        super().__init__(name="device-watch", daemon=True)
        self._driver = driver
        self._gpus = tuple(gpus)
        self._tell = tell
        self._now = now
        self._changed = threading.Condition()
        self._edge: ClockEdge | None = None
        self._edges = 0
        self._ended = False
        self._pauses: deque[float] = deque(maxlen=_PAUSES)
        self._paused_at: float | None = None
        self._cost: float | None = None
        self._last = float("-inf")

    # --- told by the reader of events, which must not wait ---------------------------------------

    def record_edge(self, event: ClockEdge) -> None:
        """The worker's clock has started or stopped."""
        with self._changed:
            if event.running and self._paused_at is not None:
                self._pauses.append(self._now() - self._paused_at)
            self._paused_at = None if event.running else self._now()
            self._edge = event
            self._edges += 1
            self._changed.notify()

    def end(self) -> None:
        """No edge will come any more; returns when the thread has ended, or hangs in a driver."""
        with self._changed:
            self._ended = True
            self._changed.notify()
        if self.is_alive():
            self.join(1.0)

    # --- the thread ------------------------------------------------------------------------------

    def run(self) -> None:
        self._measure()
        self._tell(Watched(log=self._log(())))
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._ended or self._edge is not None)
                if self._ended:
                    return
                record_edge, self._edge = self._edge, None
                number = self._edges
                due = record_edge is not None and not record_edge.running and self._fits()
            if due and record_edge is not None:
                self._read(record_edge, number)

    def _measure(self) -> None:
        """What a reading costs, before there is a clock to disturb; the first one is slower than all others."""
        for _ in range(2):
            began = self._now()
            self._driver.read(self._gpus)
            self._cost = self._now() - began

    def _fits(self) -> bool:
        """Whether a reading is over before the clock goes on, as far as the pauses before can tell."""
        if self._now() - self._last < APART_S or self._cost is None:
            return False
        return self._cost <= QUICK_S or (len(self._pauses) == _PAUSES and ROOM * self._cost <= min(self._pauses))

    def _read(self, record_edge: ClockEdge, number: int) -> None:
        began = self._now()
        readings = self._driver.read(self._gpus)
        self._cost = self._now() - began
        with self._changed:
            overtaken = self._edges != number
        # What the clock has overtaken is of a moment that nobody chose.
        if readings and not overtaken:
            self._last = began
            self._tell(
                Watched(log=self._log([msgspec.structs.replace(r, seconds=record_edge.seconds) for r in readings]))
            )

    def _log(self, readings: Sequence[GpuSample]) -> DeviceLog:
        return DeviceLog(
            by=self._driver.name,
            devices=tuple(gpu.device for gpu in self._gpus),
            readings=tuple(readings),
        )


def start_watch(spec: RunSpec, tell: Callable[[Watched], None], own: Sequence[str] = ()) -> DeviceWatch | None:
    """A watch over the GPUs of a trial, not yet started; None where it has none that anybody can ask for.

    Args:
        spec: the trial.
        tell: receives readings.
        own: the GPUs that it has for itself, as `CUDA_VISIBLE_DEVICES` names them; all that can be seen when empty.
    """
    if not spec.device.startswith("cuda"):
        return None
    gpus = detect.run_gpus(spec.device, spec.ranks, own)
    return DeviceWatch(detect.driver(), gpus, tell) if gpus else None


def merge_logs(before: DeviceLog | None, more: DeviceLog) -> DeviceLog:
    """A log with what came after it."""
    return more if before is None else msgspec.structs.replace(more, readings=(*before.readings, *more.readings))
