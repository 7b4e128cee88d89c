"""The clock of a run, which measures the scored wall and CPU seconds.

The scored time is measured only when the clock starts and stops, not in every step. The supervisor measures the same
intervals with a second clock (`harness.execution.second_clock`). docs/architecture.md lists when the clock runs and
when it is stopped.

The supervisor's clock starts when the worker reports a start, and stops when the worker reports a stop. If a report
takes long, the worker's clock must not fall behind the supervisor's. The worker's clock therefore starts before it
reports the start. If the report of a stop takes longer than `REPORT_S`, its duration is added to the worker's clock.

This module is imported before any plugin and binds the time functions. A plugin that later replaces functions in `time`
does not change this clock.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import perf_counter, process_time

from harness.contract.events import REPORT_S
from harness.contract.record import Phase


class Clock:
    """Accumulates time between `resume` and `pause`.

    Args:
        synchronize: function that waits for the device. It is called when the clock starts or stops, not in every step.
        on_change: function that is called with (running, seconds, process_seconds, phase) when the clock starts or
            stops. If this call takes long at a stop, a second call follows. `phase` is the phase that begins.
        on_phase: function that is called with each phase that begins while the clock keeps running.
        seconds: initial wall seconds.
        process_seconds: initial CPU seconds.

    Attributes:
        seconds: wall seconds up to the last pause.
        process_seconds: CPU seconds up to the last pause, summed over threads.
        running: whether the clock is running.
    """

    def __init__(
        self,
        synchronize: Callable[[], None],
        on_change: Callable[[bool, float, float, Phase], None],
        on_phase: Callable[[Phase], None] = lambda phase: None,
        seconds: float = 0.0,
        process_seconds: float = 0.0,
    ) -> None:
        self._synchronize = synchronize
        self._on_change = on_change
        self._on_phase = on_phase
        self.seconds = seconds
        self.process_seconds = process_seconds
        self.running = False
        self._wall_start = 0.0
        self._process_start = 0.0
        self._frozen = False

    def resume(self, phase: Phase = "training") -> None:
        """Start the clock. Garbage collection is disabled until the next pause, so that it never runs during a step."""
        if self.running:
            raise RuntimeError("the clock is already running")
        if not self._frozen:
            # The garbage collector may skip objects from before the first step (modules, data, model), since they live
            # until the end of the run.
            gc.collect()
            gc.freeze()
            self._frozen = True
        gc.disable()
        self._synchronize()
        self._wall_start, self._process_start = perf_counter(), process_time()
        self._on_change(True, self.seconds, self.process_seconds, phase)
        self.running = True

    def pause(self, phase: Phase = "evaluation") -> None:
        """Wait for the device, so that the measured time includes all queued work, and stop the clock."""
        if not self.running:
            raise RuntimeError("the clock is not running")
        self._synchronize()
        wall, process = perf_counter(), process_time()
        self.running = False
        self.seconds += wall - self._wall_start
        self.process_seconds += process - self._process_start
        self._on_change(False, self.seconds, self.process_seconds, phase)
        delay, process_delay = perf_counter() - wall, process_time() - process
        if max(delay, process_delay) > REPORT_S:
            self.seconds += delay
            self.process_seconds += process_delay
            self._on_change(False, self.seconds, self.process_seconds, phase)
        gc.collect()
        gc.enable()

    def begin_phase(self, phase: Phase) -> None:
        """Report that a phase begins. The clock keeps running."""
        self._on_phase(phase)

    def add(self, seconds: float, process_seconds: float) -> None:
        """Add the time of an earlier worker of the run. The clock must be stopped."""
        self.seconds += seconds
        self.process_seconds += process_seconds

    def now(self) -> float:
        """Return the wall seconds so far, without waiting for the device."""
        return self.seconds + (perf_counter() - self._wall_start if self.running else 0.0)

    @contextmanager
    def timed(self, phase: Phase, then: Phase) -> Iterator[None]:
        """Within this context, the clock runs. The clock is also stopped if an exception leaves the context.

        Args:
            phase: the phase in the context.
            then: the phase after it.
        """
        self.resume(phase)
        try:
            yield
        finally:
            if self.running:
                self.pause(then)
