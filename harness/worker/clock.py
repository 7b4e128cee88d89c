"""The clock of a run, which measures the scored wall and CPU seconds.

The clock reads the time only when it starts and stops. docs/architecture.md lists what is on the clock (the clock runs)
and what is off the clock (the clock is stopped). The supervisor measures the same intervals with a second clock.

This module is imported before any plugin and binds the time functions. A plugin that later replaces functions in `time`
does not change this clock.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import perf_counter, process_time


class Clock:
    """Accumulates time between `resume` and `pause`.

    Args:
        synchronize: function that waits for the device; called when the clock starts and stops, never per step.
        on_change: function called when the clock starts and stops, with (running, seconds, process_seconds).
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
        on_change: Callable[[bool, float, float], None],
        seconds: float = 0.0,
        process_seconds: float = 0.0,
    ) -> None:
        self._synchronize = synchronize
        self._on_change = on_change
        self.seconds = seconds
        self.process_seconds = process_seconds
        self.running = False
        self._wall_start = 0.0
        self._process_start = 0.0
        self._frozen = False

    def resume(self) -> None:
        """Start the clock. Garbage collection is disabled until the next pause, so that it never runs during a step."""
        if self.running:
            raise RuntimeError("the clock is already running")
        if not self._frozen:
            # Objects that exist before the first step (modules, data, model) live until the end of the run. So the
            # garbage collector may skip them.
            gc.collect()
            gc.freeze()
            self._frozen = True
        gc.disable()
        self._synchronize()
        self._on_change(True, self.seconds, self.process_seconds)
        self.running = True
        self._wall_start, self._process_start = perf_counter(), process_time()

    def pause(self) -> None:
        """Wait for the device, so that the measured time includes all queued work, and stop the clock."""
        if not self.running:
            raise RuntimeError("the clock is not running")
        self._synchronize()
        wall, process = perf_counter(), process_time()
        self.running = False
        self.seconds += wall - self._wall_start
        self.process_seconds += process - self._process_start
        self._on_change(False, self.seconds, self.process_seconds)
        gc.collect()
        gc.enable()

    def now(self) -> float:
        """Return the wall seconds so far, without waiting for the device."""
        return self.seconds + (perf_counter() - self._wall_start if self.running else 0.0)

    @contextmanager
    def timed(self) -> Iterator[None]:
        """Within this context, the clock runs. An exception stops the clock, too."""
        self.resume()
        try:
            yield
        finally:
            if self.running:
                self.pause()
