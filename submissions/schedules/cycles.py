"""Where the cycles of a run begin and end: budgets in a fixed ratio, the last of them the whole run."""

from __future__ import annotations

from harness.api import Domain, Fixed

#: How many cycles a run has, as a part's space declares it.
CYCLES: Domain = Fixed(3, limits=(1, 64))
#: By how much each cycle's end lies further than the one before; 1 for cycles of equal length.
RATIO: Domain = Fixed(2.0, limits=(1.0, None))


def cycle(t: int, total: int, cycles: int, ratio: float) -> tuple[float, float]:
    """The first and last update of the cycle that update t lies in; the ends lie at T/ratio^k, k = cycles − 1 … 0.

    >>> [cycle(t, 1000, cycles=3, ratio=2.0) for t in (0, 250, 1000)]
    [(0.0, 250.0), (250.0, 500.0), (500.0, 1000.0)]
    >>> cycle(400, 1000, cycles=4, ratio=1.0)
    (250.0, 500.0)
    """
    if ratio == 1:
        k = min(t * cycles // total, cycles - 1)
        return total * k / cycles, total * (k + 1) / cycles
    end = float(total)
    for _ in range(cycles - 1):
        start = end / ratio
        if t >= start:
            return start, end
        end = start
    return 0.0, end
