"""Fits the reference's metric as a monotone function of its budget, for the envelopes that invert this function."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from itertools import groupby
from typing import NamedTuple

from harness.contract.workload import Goal


class Knot(NamedTuple):
    """A point of an envelope. The envelope interpolates the log budget between its knots.

    Args:
        log_metric: log of the metric.
        log_budget: log of the budget in examples.
        deviations: deviation of each seed's log metric from the mean over seeds; empty if seeds are not distinguished.
    """

    log_metric: float
    log_budget: float
    deviations: tuple[float, ...] = ()


def fit_knots(
    log_metrics: Sequence[float],
    log_budgets: Sequence[float],
    goal: Goal,
    deviations: Sequence[Sequence[float]] | None = None,
    weights: Sequence[float] | None = None,
) -> list[Knot]:
    """Return the knots of an envelope, in increasing order of the budget.

    The log metrics are fitted by isotonic regression, so that a larger budget never has a worse metric. Budgets with
    equal fitted metrics are merged into one knot. Its log budget and its deviations are means over these budgets.

    Args:
        log_metrics: log of the metric at each budget, averaged over seeds.
        log_budgets: logs of the budgets, increasing.
        goal: direction of the metric, `min` or `max`.
        deviations: for each budget, the deviations of the seeds (see `Knot`); None if seeds are not distinguished.
        weights: weight of each budget in the regression, such as its number of seeds; None for equal weights.

    >>> [knot.log_metric for knot in fit_knots([3.0, 1.0, 2.0, 0.0], [0.0, 1.0, 2.0, 3.0], "min")]
    [3.0, 1.5, 0.0]
    """
    from scipy.optimize import isotonic_regression

    fitted = isotonic_regression(log_metrics, weights=weights, increasing=goal == "max").x.tolist()
    by_budget = zip(fitted, log_budgets, deviations or [()] * len(fitted), strict=True)
    knots = []
    for log_metric, group in groupby(by_budget, key=lambda item: item[0]):
        merged = list(group)
        by_seed = zip(*(seeds for _, _, seeds in merged), strict=True)
        log_budget = statistics.fmean(budget for _, budget, _ in merged)
        knots.append(Knot(log_metric, log_budget, tuple(statistics.fmean(seed) for seed in by_seed)))
    return knots
