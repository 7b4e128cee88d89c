"""The clock of a run: wall seconds and CPU seconds, read only when it starts and stops.

This module is imported before any plugin and keeps its own references to the time functions, so that patching `time`
later changes nothing here. The supervisor times the same intervals with a second clock, from outside.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import perf_counter, process_time


class Clock:
    """Accumulates time between `resume` and `pause`.

    Args:
        synchronize: waits for the device; called at the edges only, never per step.
        on_edge: called at every start and stop with (running, seconds, process_seconds).
        seconds, process_seconds: wall and CPU seconds to go on from.
    """

    def __init__(
        self,
        synchronize: Callable[[], None],
        on_edge: Callable[[bool, float, float], None],
        seconds: float = 0.0,
        process_seconds: float = 0.0,
    ) -> None:
        self._synchronize = synchronize
        self._on_edge = on_edge
        self.seconds = seconds
        self.process_seconds = process_seconds
        self.running = False
        self._wall = 0.0
        self._process = 0.0
        self._frozen = False

    def resume(self) -> None:
        """Start counting. Garbage collection is off until the next pause, so that it never falls into a step."""
        if self.running:
            raise RuntimeError("the clock is already running")
        if not self._frozen:
            # What exists before the first step (modules, data, model) never becomes garbage: the collector may skip it.
            gc.collect()
            gc.freeze()
            self._frozen = True
        gc.disable()
        self._synchronize()
        self._on_edge(True, self.seconds, self.process_seconds)
        self.running = True
        self._wall, self._process = perf_counter(), process_time()

    def pause(self) -> None:
        """Stop counting; waits for the device first, so that the clock includes the work that is still queued."""
        if not self.running:
            raise RuntimeError("the clock is not running")
        self._synchronize()
        wall, process = perf_counter(), process_time()
        self.running = False
        self.seconds += wall - self._wall
        self.process_seconds += process - self._process
        self._on_edge(False, self.seconds, self.process_seconds)
        gc.collect()
        gc.enable()

    def now(self) -> float:
        """Wall seconds so far, without waiting for the device."""
        return self.seconds + (perf_counter() - self._wall if self.running else 0.0)

    @contextmanager
    def timed(self) -> Iterator[None]:
        """The clock runs inside this block, and stops on an exception, too."""
        self.resume()
        try:
            yield
        finally:
            if self.running:
                self.pause()
