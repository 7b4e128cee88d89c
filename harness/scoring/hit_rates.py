"""Summaries of runs that may miss their target: hit rate and restricted mean time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from statistics import NormalDist

from harness.errors import UsageError


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """A fraction of runs, with Wilson's confidence interval for a proportion.

    Args:
        value: the fraction.
        low: lower end of the interval.
        high: upper end of the interval.
        n: number of runs.
    """

    value: float
    low: float
    high: float
    n: int


@lru_cache(maxsize=4096)
def hit_rate(hits: int, n: int, level: float = 0.95) -> Rate:
    """Return the fraction of runs that reached the target, with Wilson's interval.

    Source: Wilson, Probable Inference, the Law of Succession, and Statistical Inference, 1927, equation 8

    Args:
        hits: number of runs that reached the target.
        n: number of runs.
        level: confidence level of the interval.

    Raises:
        UsageError: there are no runs, or there are more hits than runs.
    """
    if not 0 <= hits <= n or n == 0:
        raise UsageError(
            f"cannot compute the hit rate of {hits} hits in {n} runs",
            fix="give at least one run, and no more hits than runs",
        )
    # `scipy.stats.binomtest` gives the same interval, but its import takes longer than a whole leaderboard.
    z, value = NormalDist().inv_cdf((1 + level) / 2), hits / n
    center = (value + z * z / (2 * n)) / (1 + z * z / n)
    half_width = z * math.sqrt(value * (1 - value) / n + (z / (2 * n)) ** 2) / (1 + z * z / n)
    low, high = center - half_width if hits else 0.0, center + half_width if hits < n else 1.0
    return Rate(value=value, low=low, high=high, n=n)


def restricted_mean(times: Sequence[float], budget: float) -> float:
    """Return the restricted mean time: the mean of min(time, budget).

    If the times are scored seconds, the result is an upper bound of the mean scored seconds of a run. A run that misses
    may end earlier, when its budget of examples is used up. The result does not replace a time to target.

    Args:
        times: times to target, inf for a miss.
        budget: budget in the unit of the times.

    Raises:
        UsageError: there are no times, or the budget is not a positive finite number.

    >>> restricted_mean([2.0, math.inf], 10.0)
    6.0
    """
    if not len(times) or not 0 < budget < math.inf:
        raise UsageError(
            f"cannot compute the restricted mean of {len(times)} times for the budget {budget!r}",
            fix="give at least one time and a positive budget",
        )
    return math.fsum(min(t, budget) for t in times) / len(times)
