"""Summaries of runs that may miss their target: the share of hits, and the restricted mean time."""

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
        raise UsageError(f"cannot take the rate of {hits} hits in {n} runs", fix="give at least one run")
    ends = binomtest(hits, n).proportion_ci(level, method="wilson")
    return Rate(value=hits / n, low=float(ends.low), high=float(ends.high), n=n)


def restricted_mean(times: Sequence[float], budget: float) -> float:
    """Restricted mean time to budget: mean of min(time, budget), the mean time until hit or budget.

    It is how long a run occupies a machine at most, since a miss may spend its examples before its time. It is not a
    time to target, and does not replace one.

    Raises:
        UsageError: no times, or a budget that is not a positive number.

    >>> restricted_mean([2.0, math.inf], 10.0)
    6.0
    """
    if not len(times) or not 0 < budget < math.inf:
        raise UsageError(
            f"cannot take the restricted mean of {len(times)} times for the budget {budget!r}",
            fix="give at least one time and a positive budget",
        )
    return math.fsum(min(t, budget) for t in times) / len(times)
