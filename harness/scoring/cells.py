"""The cells of a leaderboard: medians over studies."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from harness.scoring.medians import median_interval
from harness.scoring.scores import workload_time
from harness.scoring.stats import Spread
from harness.scoring.time_to_target import MetricAt


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """The median over the studies of one submission on one workload.

    Args:
        value: the median; inf is a miss, and in tables of metrics inf or -inf a run that broke.
        spread: over studies, a 95 % interval or under six studies their range.
        studies, hits: how many there are, and how many met the target (in tables of metrics: did not break).
        early: some runs had stopped at their target before the budget (tables of metrics only).
    """

    value: float
    spread: Spread
    studies: int
    hits: int
    early: bool = False


def cell_of_times(times: Sequence[float]) -> Cell:
    """The cell of one time (or count of examples or steps) per study; inf is a miss.

    Raises:
        UsageError: no times, or NaN.

    >>> cell_of_times([1.0, 2.0, math.inf])
    Cell(value=2.0, spread=Spread(low=1.0, high=inf, kind='range'), studies=3, hits=2, early=False)
    """
    return Cell(
        value=workload_time(times),
        spread=median_interval(times),
        studies=len(times),
        hits=sum(map(math.isfinite, times)),
    )


def cell_of_metrics(metrics: Sequence[MetricAt]) -> Cell:
    """The cell of one metric at a budget per study.

    Raises:
        UsageError: no metrics, or NaN.
    """
    values = [metric.value for metric in metrics]
    return Cell(
        value=statistics.median(values),
        spread=median_interval(values),
        studies=len(values),
        hits=sum(map(math.isfinite, values)),
        early=any(metric.stopped_early for metric in metrics),
    )
