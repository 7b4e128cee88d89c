"""Converts a metric to a compute multiplier: (the budget that the reference needs for this metric) / (budget spent).

The envelope E of the reference gives the budget E(m) at which the reference reaches the metric m. Runs with the mean
log metric log m at the budget b have the compute multiplier M = E(m) / b. Between the horizons of the envelope, log E
is a monotone cubic function of log m. Outside the envelope, M is not extrapolated; the value at the end of the envelope
is then a bound of M.

The metrics are averaged before they are converted, because the envelope is itself a function of the mean log metric. A
mean of converted metrics would be biased where the envelope bends: a reference with noisy runs would not have M = 1.

Source: A Method for Constructing Local Monotone Piecewise Cubic Interpolants, Fritsch and Butland 1984
"""

from __future__ import annotations

import math
import statistics
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from harness.contract.envelope import ReferenceEnvelope
from harness.errors import UsageError
from harness.scoring.knots import Knot, fit_knots

#: Whether a multiplier is a bound: `<` if the true value is smaller, `>` if it is larger, empty for a value. `~` marks
#: a mean of upper and lower bounds.
Bound = Literal["", "<", ">", "~"]
#: Distance from the mean log metric, in standard deviations of the runs, within which the slope of the curve is
#: averaged. With a smaller distance, the slope depends more on the noise of single horizons of the envelope.
SLOPE_WINDOW = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Multiplier:
    """The compute multiplier of a run among the runs of one submission (see `MultiplierCurve.multipliers`).

    Args:
        log: log of the multiplier, or of the bound.
        bound: whether the multiplier is only a bound.
        deviations: for each seed of the envelope, the deviation of `log` that this seed causes (delta method); 0 for a
            bound. (Standard deviation of the deviations) / √seeds is the envelope's part of the standard error of
            `log`.
    """

    log: float
    bound: Bound
    deviations: tuple[float, ...]


class MultiplierCurve:
    """The inverse of an envelope.

    Args:
        envelope: the envelope.

    Raises:
        UsageError: a larger budget does not improve the reference's metric.
    """

    def __init__(self, envelope: ReferenceEnvelope) -> None:
        from scipy.interpolate import PchipInterpolator

        self._budget = math.log(envelope.budget)
        logs = [[math.log(metric) for metric in horizon.metrics] for horizon in envelope.horizons]
        means = [statistics.fmean(seeds) for seeds in logs]
        count = max(len(seeds) for seeds in logs)
        deviations = [_padded_deviations(seeds, count) for seeds in logs]
        budgets = [math.log(horizon.examples) for horizon in envelope.horizons]
        self._knots = fit_knots(means, budgets, envelope.goal, deviations, [len(seeds) for seeds in logs])
        if len(self._knots) < 2:
            raise UsageError(
                f"the envelope of {envelope.workload} is flat: {envelope.metric} of {envelope.reference} does not "
                "improve with a larger budget",
                fix=f"make it again: bench calibrate {envelope.workload.partition('@')[0]} --envelope",
            )
        # With this sign, the log metric increases with the budget.
        self._sign = 1.0 if envelope.goal == "max" else -1.0
        self._x = [self._sign * knot.log_metric for knot in self._knots]
        self._interpolant = PchipInterpolator(self._x, [knot.log_budget for knot in self._knots])
        self._no_deviations = (0.0,) * count

    def multipliers(self, metrics: Sequence[float]) -> list[Multiplier]:
        """Return the compute multipliers of the runs of one submission.

        The mean of their logs is the log multiplier at the mean log metric of the runs. The distances from this mean
        are proportional to the distances of the log metrics. The factor is the mean slope of the curve within
        `SLOPE_WINDOW` standard deviations of the mean log metric. If the mean log metric is outside the envelope, all
        runs have the same bound.

        Args:
            metrics: final metrics of the runs; at least one.

        >>> from harness.contract.envelope import EnvelopeHorizon
        >>> horizons = [EnvelopeHorizon(examples=n, hparams={}, metrics=(m, m)) for n, m in ((50, 2.0), (200, 1.0))]
        >>> curve = MultiplierCurve(ReferenceEnvelope(workload="w@1", metric="loss", goal="min", budget=100,
        ...     reference="r@1", hardware="h", horizons=tuple(horizons)))
        >>> [(round(math.exp(m.log), 3), m.bound) for m in curve.multipliers([1.8, 1.4142, 1.1111])]
        [(0.617, ''), (1.0, ''), (1.62, '')]
        """
        logs = [_log(metric) for metric in metrics]
        mean = statistics.fmean(logs)
        centre = self._at(mean)
        if centre.bound:
            return [centre] * len(logs)
        slope = self._mean_slope(mean, SLOPE_WINDOW * statistics.pstdev(logs))
        return [replace(centre, log=centre.log + slope * (log - mean)) for log in logs]

    def _mean_slope(self, log_metric: float, distance: float) -> float:
        """Return the change of the log multiplier for each unit of the log metric, within a distance of a log metric.

        The slope is 0 if the distance is 0.
        """
        x = self._sign * log_metric
        low, high = max(x - distance, self._x[0]), min(x + distance, self._x[-1])
        if high <= low:
            return 0.0
        rise = float(self._interpolant(high)) - float(self._interpolant(low))
        return self._sign * rise / (high - low)

    def multiplier(self, metric: float) -> Multiplier:
        """Return the compute multiplier of a single run that has a metric at the workload's budget.

        >>> from harness.contract.envelope import EnvelopeHorizon
        >>> horizons = [EnvelopeHorizon(examples=n, hparams={}, metrics=(m, m)) for n, m in ((50, 2.0), (200, 1.0))]
        >>> curve = MultiplierCurve(ReferenceEnvelope(workload="w@1", metric="loss", goal="min", budget=100,
        ...     reference="r@1", hardware="h", horizons=tuple(horizons)))
        >>> [(round(math.exp(m.log), 3), m.bound) for m in map(curve.multiplier, (3.0, 2.0, 1.4142, 1.0, 0.5))]
        [(0.5, '<'), (0.5, ''), (1.0, ''), (2.0, ''), (2.0, '>')]
        """
        return self._at(_log(metric))

    def _at(self, log_metric: float) -> Multiplier:
        """Return the multiplier of a run, or of the mean of several runs."""
        x = self._sign * log_metric
        if x < self._x[0]:
            return self._limit(self._knots[0], "<")
        if x > self._x[-1]:
            return self._limit(self._knots[-1], ">")
        index = min(max(bisect_left(self._x, x), 1), len(self._x) - 1)
        return Multiplier(
            log=float(self._interpolant(x)) - self._budget, bound="", deviations=self._deviations(x, index)
        )

    def _limit(self, knot: Knot, bound: Bound) -> Multiplier:
        """Return the multiplier of a run whose metric is outside the envelope."""
        return Multiplier(log=knot.log_budget - self._budget, bound=bound, deviations=self._no_deviations)

    def _deviations(self, x: float, index: int) -> tuple[float, ...]:
        """Return the deviations at a point between the knots `index - 1` and `index`."""
        (low, high), (start, end) = self._knots[index - 1 : index + 1], self._x[index - 1 : index + 1]
        weight, slope = (x - start) / (end - start), (high.log_budget - low.log_budget) / (end - start)
        return tuple(
            -self._sign * slope * ((1 - weight) * at_low + weight * at_high)
            for at_low, at_high in zip(low.deviations, high.deviations, strict=True)
        )


def _padded_deviations(values: Sequence[float], count: int) -> list[float]:
    """Return the deviations of values from their mean, filled up with zeros to a number of seeds.

    The deviations are multiplied by count / (number of values), so that (standard deviation of the result) / √count
    remains the standard error of the mean, up to a factor of √((n - 1) / n) · √(count / (count - 1)).
    """
    mean, factor = statistics.fmean(values), count / len(values)
    return [factor * (value - mean) for value in values] + [0.0] * (count - len(values))


def _log(metric: float) -> float:
    """Return the logarithm of a metric; -inf for 0 and for negative numbers.

    Such a metric is the worst one if metrics are maximised, and the best one if they are minimised.
    """
    return math.log(metric) if metric > 0 else -math.inf
