"""Bounds on the growth of a quantity, such as the processor time of a thread, in a given span of time.

The quantity is read at some moments, but not exactly when the span begins and ends. The time between two readings is a
*window*, in which the quantity grew by a known amount. A span, such as one phase, covers only a part of a window. In
the other part, the quantity grew by at most (length of this part) × (largest rate of the quantity). The known growth
minus this product is a lower bound on the growth in the span.

For example, a thread used 9 s of processor time in a window of 10 s, and the span covers 8 s of this window. The
largest rate of a thread is 1, so it used at most 2 s in the other part. It therefore used at least 7 s in the span. If
the second reading is late, the window is long and the bound is low, but still valid.
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
        growth: by name of the quantity, how much it grew, and the largest rate at which it can grow.
    """

    start: float
    end: float
    growth: Mapping[str, tuple[float, float]] = field(default_factory=dict)

    def least(self, name: str, inside: float) -> float:
        """Return a lower bound on the growth of a quantity in a part of the window that is `inside` seconds long."""
        amount, rate = self.growth.get(name, (0.0, 0.0))
        # `amount` may be negative. For some quantities, it is the time of a process minus the times of its threads, and
        # the kernel updates these times at different moments.
        return max(min(amount, 0.0), amount - rate * max(0.0, self.end - self.start - inside))

    def most(self, name: str, inside: float) -> float:
        """Return an upper bound on the growth of a quantity in a part of the window that is `inside` seconds long."""
        amount, rate = self.growth.get(name, (0.0, 0.0))
        return min(max(0.0, amount), rate * inside)


class Span:
    """A span of time whose ends are known within bounds, and bounds on the growth of quantities in it.

    Args:
        began: beginning of the span.

    Attributes:
        ended: end of the span; None while it lasts.
    """

    def __init__(self, began: Moment) -> None:
        self.began = began
        self.ended: Moment | None = None
        #: The lower and upper bounds on the growth, summed over all windows before the current one.
        self._least: dict[str, float] = {}
        self._most: dict[str, float] = {}

    def least_seconds(self, window: Window) -> float:
        """Return a lower bound on the seconds of a window that lie in this span."""
        end = window.end if self.ended is None else min(window.end, self.ended.earliest)
        return max(0.0, end - max(window.start, self.began.latest))

    def most_seconds(self, window: Window) -> float:
        """Return an upper bound on the seconds of a window that lie in this span."""
        end = window.end if self.ended is None else min(window.end, self.ended.latest)
        return max(0.0, end - max(window.start, self.began.earliest))

    def least(self, name: str, window: Window) -> float:
        """Return a lower bound on the growth of a quantity in this span, up to the end of the current window."""
        return self._least.get(name, 0.0) + window.least(name, self.least_seconds(window))

    def most(self, name: str, window: Window) -> float:
        """Return an upper bound on the growth of a quantity in this span, up to the end of the current window."""
        return self._most.get(name, 0.0) + window.most(name, self.most_seconds(window))

    def names(self, window: Window) -> set[str]:
        """Return the names of the quantities."""
        return self._least.keys() | window.growth.keys()

    def add(self, window: Window) -> None:
        """Add the bounds of a window to the totals. The span must not have ended in this window."""
        for name in window.growth:
            self._least[name], self._most[name] = self.least(name, window), self.most(name, window)
