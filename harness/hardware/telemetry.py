"""Sample the clock rates, power and temperature of a run's GPUs in the pauses of the run's clock.

In these pauses the worker evaluates the model. The GPUs are therefore under load, but sampling cannot slow down a timed
step. The supervisor samples in a separate thread, so the worker does not wait for the samples and cannot change them.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence

import msgspec

from harness.contract.events import ClockChanged, DevicesSampled
from harness.contract.record import DeviceLog, GpuSample
from harness.contract.run import RunSpec
from harness.hardware import detect
from harness.hardware.drivers import Driver, Gpu

#: A read of the GPUs' state is fast if it takes at most this number of seconds. The durations of
#: recent pauses do not limit fast reads.
FAST_READ_S = 0.02
#: A slow read is made only if each of the last `_PAUSES` pauses was at least this many times as long as a read.
PAUSE_FACTOR = 3.0
#: Number of recent pauses whose durations decide whether a slow read is made.
_PAUSES = 4
#: Minimum time between samples in seconds, since the state of a GPU changes slowly.
MIN_INTERVAL_S = 1.0


class DeviceWatch(threading.Thread):
    """A thread that samples the GPUs during pauses of a worker's clock.

    Args:
        driver: the driver interface.
        gpus: the GPUs of the run.
        tell: function that receives the list of GPUs at the start and then each sample. This thread calls the function.
        now: function that returns the time of a monotonic clock in seconds.
    """

    def __init__(
        self,
        driver: Driver,
        gpus: Sequence[Gpu],
        tell: Callable[[DevicesSampled], None],
        now: Callable[[], float] = time.perf_counter,
    ) -> None:
        super().__init__(name="device-watch", daemon=True)
        self._driver = driver
        self._gpus = tuple(gpus)
        self._tell = tell
        self._now = now
        self._changed = threading.Condition()
        #: The latest start or stop of the worker's clock, until the thread has handled it.
        self._edge: ClockChanged | None = None
        #: Number of starts and stops so far.
        self._edges = 0
        self._ended = False
        self._pauses: deque[float] = deque(maxlen=_PAUSES)
        self._paused_at: float | None = None
        #: Duration of the latest read in seconds; None before the first read.
        self._read_seconds: float | None = None
        #: Time of the latest sample.
        self._last_sample_time = float("-inf")

    # --- called by the event reader, which must not wait ----------------------------------------

    def record_edge(self, event: ClockChanged) -> None:
        """Record that the worker's clock has started or stopped."""
        with self._changed:
            if event.running and self._paused_at is not None:
                self._pauses.append(self._now() - self._paused_at)
            self._paused_at = None if event.running else self._now()
            self._edge = event
            self._edges += 1
            self._changed.notify()

    def end(self) -> None:
        """End the thread. This waits for at most a second, since a driver may hang."""
        with self._changed:
            self._ended = True
            self._changed.notify()
        if self.is_alive():
            self.join(1.0)

    # --- the thread ------------------------------------------------------------------------------

    def run(self) -> None:
        self._measure_read_seconds()
        self._tell(DevicesSampled(log=self._log(())))
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._ended or self._edge is not None)
                if self._ended:
                    return
                edge, self._edge = self._edge, None
                edge_count = self._edges
                due = edge is not None and not edge.running and self._fits_pause()
            if due and edge is not None:
                self._sample(edge, edge_count)

    def _measure_read_seconds(self) -> None:
        """Measure the duration of a read before the clock runs. The first read is slow and does not count."""
        for _ in range(2):
            began = self._now()
            self._driver.read(self._gpus)
            self._read_seconds = self._now() - began

    def _fits_pause(self) -> bool:
        """Return whether a sample is due and, judged by the last pauses, will end before the clock starts again."""
        if self._now() - self._last_sample_time < MIN_INTERVAL_S or self._read_seconds is None:
            return False
        return self._read_seconds <= FAST_READ_S or (
            len(self._pauses) == _PAUSES and PAUSE_FACTOR * self._read_seconds <= min(self._pauses)
        )

    def _sample(self, edge: ClockChanged, edge_count: int) -> None:
        began = self._now()
        samples = self._driver.read(self._gpus)
        self._read_seconds = self._now() - began
        with self._changed:
            clock_moved = self._edges != edge_count
        # A sample is discarded if the clock started or stopped while it was taken.
        if samples and not clock_moved:
            self._last_sample_time = began
            self._tell(
                DevicesSampled(
                    log=self._log([msgspec.structs.replace(sample, seconds=edge.seconds) for sample in samples])
                )
            )

    def _log(self, samples: Sequence[GpuSample]) -> DeviceLog:
        return DeviceLog(
            by=self._driver.name,
            devices=tuple(gpu.device for gpu in self._gpus),
            readings=tuple(samples),
        )


def make_watch(
    spec: RunSpec, tell: Callable[[DevicesSampled], None], visible: Sequence[str] = ()
) -> DeviceWatch | None:
    """Return a thread that samples the GPUs of a trial; None if no GPU is found. The caller starts the thread.

    Args:
        spec: the trial.
        tell: function that receives samples; see `DeviceWatch`.
        visible: names of the GPUs that the run may use; see `gpus_of_run`.
    """
    if not spec.device.startswith("cuda"):
        return None
    gpus = detect.gpus_of_run(spec.device, spec.ranks, visible)
    return DeviceWatch(detect.find_driver(), gpus, tell) if gpus else None


def merge_logs(earlier: DeviceLog | None, later: DeviceLog) -> DeviceLog:
    """Return a log with the samples of both logs, in order."""
    return later if earlier is None else msgspec.structs.replace(later, readings=(*earlier.readings, *later.readings))
