"""Estimates of multipliers: a mean of logs with independent sources of error, and a confidence interval.

The interval uses Student's t distribution with the degrees of freedom of Welch and Satterthwaite.

Source: An Approximate Distribution of Estimates of Variance Components, Satterthwaite 1946
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from harness.scoring.compute_multiplier import Bound

#: Coverage of the intervals.
LEVEL = 0.95


class ErrorSource(NamedTuple):
    """An independent source of error of an estimate.

    Args:
        variance: variance of the estimate that is due to this source.
        degrees: degrees of freedom with which the variance was estimated.
    """

    variance: float
    degrees: int


def error_of_mean(values: Sequence[float]) -> ErrorSource | None:
    """Return the error of the mean of independent values; None for fewer than two values."""
    if len(values) < 2:
        return None
    return ErrorSource(statistics.variance(values) / len(values), len(values) - 1)


def satterthwaite_degrees(errors: Sequence[ErrorSource]) -> float:
    """Return the degrees of freedom of a sum of independent errors, of which at least one is not 0."""
    variance = math.fsum(source.variance for source in errors)
    return variance**2 / math.fsum(source.variance**2 / source.degrees for source in errors)


@dataclass(frozen=True, slots=True, kw_only=True)
class MultiplierEstimate:
    """A multiplier, estimated by a mean of logs.

    Args:
        log: log of the multiplier.
        bound: the kind of bound; empty if the multiplier is a value (see `Bound`).
        errors: the sources of error; None if the error is unknown, as for a single run or a bound.
    """

    log: float
    bound: Bound = ""
    errors: tuple[ErrorSource, ...] | None = None

    @property
    def value(self) -> float:
        """The multiplier or the bound."""
        return math.exp(self.log)

    def interval(self) -> tuple[float, float] | None:
        """Return the 95 % confidence interval of the multiplier; None if the error is unknown."""
        if self.errors is None:
            return None
        variance = math.fsum(source.variance for source in self.errors)
        if variance == 0:
            return self.value, self.value
        from scipy.stats import t as student

        degrees = satterthwaite_degrees(self.errors)
        half_width = float(student.ppf((1 + LEVEL) / 2, degrees)) * math.sqrt(variance)
        return math.exp(self.log - half_width), math.exp(self.log + half_width)


def mean_estimate(estimates: Sequence[MultiplierEstimate]) -> MultiplierEstimate:
    """Return the mean of the logs of one or more independent estimates. It is a bound if any estimate is a bound."""
    n = len(estimates)
    bound = join_bounds(estimate.bound for estimate in estimates)
    errors: list[ErrorSource] | None = None if bound else []
    for estimate in estimates:
        if estimate.errors is None:
            errors = None
        elif errors is not None:
            errors += [ErrorSource(source.variance / n**2, source.degrees) for source in estimate.errors]
    log = statistics.fmean(estimate.log for estimate in estimates)
    return MultiplierEstimate(log=log, bound=bound, errors=None if errors is None else tuple(errors))


def combine_errors(*sources: ErrorSource | None) -> tuple[ErrorSource, ...] | None:
    """Return the sources of error; None if one of them is unknown."""
    known = tuple(source for source in sources if source is not None)
    return known if len(known) == len(sources) else None


def join_bounds(bounds: Iterable[Bound]) -> Bound:
    """Return the kind of bound of a mean, from the kinds of its terms. Terms that are not bounds have no effect.

    >>> join_bounds(["", ">", ">"]), join_bounds(["", ""]), join_bounds(["<", ">"])
    ('>', '', '~')
    """
    directions: set[Bound] = {bound for bound in bounds if bound}
    return "~" if len(directions) > 1 else next(iter(directions), "")


def invert_bound(bound: Bound) -> Bound:
    """Return the kind of bound of 1 / x, from that of x."""
    inverse: dict[Bound, Bound] = {"<": ">", ">": "<"}
    return inverse.get(bound, bound)
