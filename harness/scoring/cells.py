"""The cells of a leaderboard. A cell contains a median over studies and its uncertainty."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace

from harness.scoring.medians import median_interval
from harness.scoring.scores import workload_time
from harness.scoring.stats import Spread
from harness.scoring.time_to_target import MetricAt


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """The median over the studies of one submission on one workload.

    Args:
        value: the median. In tables of times, inf stands for a miss. In tables of metrics, inf or -inf stands for a run
            that broke down.
        spread: 95 % interval of the median; the range of the studies if there are fewer than six studies.
        studies: number of studies.
        hits: number of studies that met the target; in tables of metrics, number of studies that did not break down.
        early: whether a run stopped because it met its target before the end of the budget (tables of metrics only).
    """

    value: float
    spread: Spread
    studies: int
    hits: int
    early: bool = False


def cell_of_times(times: Sequence[float], value: float | None = None) -> Cell:
    """Make a cell from the time to target of each study.

    Numbers of examples or steps to the target may be given instead of times.

    Args:
        times: one time for each study, inf for a miss.
        value: the time that is shown and scored; None for the median of `times`. If the value lies outside the
            interval, the interval is extended to the value.

    Raises:
        UsageError: there are no times, or a time is NaN.

    >>> cell_of_times([1.0, 2.0, math.inf])
    Cell(value=2.0, spread=Spread(low=1.0, high=inf, kind='range'), studies=3, hits=2, early=False)
    """
    spread = median_interval(times)
    if value is not None:
        spread = replace(spread, low=min(spread.low, value), high=max(spread.high, value))
    return Cell(
        value=workload_time(times) if value is None else value,
        spread=spread,
        studies=len(times),
        hits=sum(map(math.isfinite, times)),
    )


def cell_of_metrics(metrics: Sequence[MetricAt]) -> Cell:
    """Make a cell from the metric of each study at a budget.

    Args:
        metrics: one metric for each study.

    Raises:
        UsageError: there are no metrics, or a metric is NaN.
    """
    values = [metric.value for metric in metrics]
    return Cell(
        value=statistics.median(values),
        spread=median_interval(values),
        studies=len(values),
        hits=sum(map(math.isfinite, values)),
        early=any(metric.stopped_early for metric in metrics),
    )
