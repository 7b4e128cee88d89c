"""Bounds on what a process used in a span of time, from readings at other times.

A quantity, such as the processor time of a thread, is read now and then. Between two readings, in a *window*, it grew
by a known amount. The span covers a part of the window. In the rest of the window at most its length times the largest
rate of the quantity was used (the rate of a thread is 1). So at least the difference was used in the span. A reading
soon after the end of a span gives a close bound. A late one gives a low bound, and never a wrong one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from harness.execution.event_pipe import Moment


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """The time between two readings.

    Args:
        start: beginning of the first reading.
        end: end of the second reading.
        growth: how much each quantity grew, and the largest rate at which it grows.
    """

    start: float
    end: float
    growth: Mapping[str, tuple[float, float]] = field(default_factory=dict)

    def least(self, name: str, inside: float) -> float:
        """Return the least amount of a quantity that was used within this number of seconds of the window."""
        amount, rate = self.growth.get(name, (0.0, 0.0))
        # The times of a process and of its threads are not updated at once, so that their difference may be negative.
        return max(min(amount, 0.0), amount - rate * max(0.0, self.end - self.start - inside))

    def most(self, name: str, inside: float) -> float:
        """Return the largest amount of a quantity that was used within this number of seconds of the window."""
        amount, rate = self.growth.get(name, (0.0, 0.0))
        return min(max(0.0, amount), rate * inside)


class Span:
    """A span of time whose ends are known within bounds, and what was used in it at least.

    Args:
        began: beginning of the span.
        ended: end of the span; None while it lasts.
    """

    def __init__(self, began: Moment) -> None:
        self.began = began
        self.ended: Moment | None = None
        #: The bounds of the windows before the present one.
        self._least: dict[str, float] = {}
        self._most: dict[str, float] = {}

    def least_seconds(self, window: Window) -> float:
        """Return the least number of seconds of a window that lie in this span."""
        end = window.end if self.ended is None else min(window.end, self.ended.earliest)
        return max(0.0, end - max(window.start, self.began.latest))

    def most_seconds(self, window: Window) -> float:
        """Return the largest number of seconds of a window that lie in this span."""
        end = window.end if self.ended is None else min(window.end, self.ended.latest)
        return max(0.0, end - max(window.start, self.began.earliest))

    def least(self, name: str, window: Window) -> float:
        """Return the least amount of a quantity that was used in this span until the end of the present window."""
        return self._least.get(name, 0.0) + window.least(name, self.least_seconds(window))

    def most(self, name: str, window: Window) -> float:
        """Return the largest amount of a quantity that was used in this span until the end of the present window."""
        return self._most.get(name, 0.0) + window.most(name, self.most_seconds(window))

    def names(self, window: Window) -> set[str]:
        """Return the names of the quantities."""
        return self._least.keys() | window.growth.keys()

    def add(self, window: Window) -> None:
        """Add a window after which the span still lasts."""
        for name in window.growth:
            self._least[name], self._most[name] = self.least(name, window), self.most(name, window)
