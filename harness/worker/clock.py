"""The clock of a run. It counts wall and CPU seconds, and reads them only when it starts and stops.

This module is imported before any plugin and binds the time functions, so that a plugin that replaces functions in
`time` does not change this clock. The supervisor measures the same intervals with a second clock.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import perf_counter, process_time


class Clock:
    """Accumulates time between `resume` and `pause`.

    Args:
        synchronize: waits for the device; called when the clock starts and stops, never per step.
        on_change: called when the clock starts and stops, with (running, seconds, process_seconds).
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
        """Start counting. Garbage collection is off until the next pause, so that it never runs during a step."""
        if self.running:
            raise RuntimeError("the clock is already running")
        if not self._frozen:
            # Objects that exist before the first step (modules, data, model) live until the end of the run. The
            # collector may skip them.
            gc.collect()
            gc.freeze()
            self._frozen = True
        gc.disable()
        self._synchronize()
        self._on_change(True, self.seconds, self.process_seconds)
        self.running = True
        self._wall_start, self._process_start = perf_counter(), process_time()

    def pause(self) -> None:
        """Stop counting, after waiting for the device, so that the clock includes all queued work."""
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
        """Run the clock within this context. An exception stops the clock, too."""
        self.resume()
        try:
            yield
        finally:
            if self.running:
                self.pause()
