"""What runs that may miss their target are summarised by: the share of hits, and the restricted mean time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from harness.errors import UsageError


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """A share with its Wilson interval."""

    value: float
    low: float
    high: float
    n: int


@lru_cache(maxsize=4096)
def hit_rate(hits: int, n: int, level: float = 0.95) -> Rate:
    """Share of runs that reached the target, with Wilson's interval.

    Raises:
        UsageError: no runs, or more hits than runs.
    """
    from scipy.stats import binomtest

    if not 0 <= hits <= n or n == 0:
        raise UsageError(f"no rate of {hits} hits in {n} runs")
    ends = binomtest(hits, n).proportion_ci(level, method="wilson")
    return Rate(value=hits / n, low=float(ends.low), high=float(ends.high), n=n)


def restricted_mean(times: Sequence[float], budget: float) -> float:
    """Restricted mean time to budget: mean of min(time, budget), the mean time until hit or budget.

    It says how long a run keeps a machine at most: a miss may have spent its examples before its time. It is no time to
    target, and a miss is not given one.

    Raises:
        UsageError: no times, or a budget that is no positive number.

    >>> restricted_mean([2.0, math.inf], 10.0)
    6.0
    """
    if not len(times) or not 0 < budget < math.inf:
        raise UsageError(f"no restricted mean of {len(times)} times for the budget {budget!r}")
    return math.fsum(min(t, budget) for t in times) / len(times)
