"""Student's paired t test. It assumes normal differences and is used if there are too few pairs for a sign-flip test.

Source: The Probable Error of a Mean, Student 1908
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from harness.errors import UsageError


@dataclass(frozen=True, slots=True, kw_only=True)
class PairedT:
    """The result of a two-sided paired t test.

    Args:
        mean: mean of the differences.
        low: lower end of the confidence interval for the mean; None if there is no interval.
        high: upper end of the confidence interval for the mean; None if there is no interval.
        p: p-value; 1 if the differences cannot be tested.
    """

    mean: float
    low: float | None
    high: float | None
    p: float


def paired_t_test(differences: Sequence[float], level: float = 0.95) -> PairedT:
    """Test the hypothesis that normal paired differences have the mean 0, against the two-sided alternative.

    If all differences are equal, they are not a sample of a normal distribution and cannot be tested. The p-value is
    then 1. Both ends of the interval are 0 if the differences are 0, and None if they have another value.

    Args:
        differences: log ratios, all finite.
        level: coverage of the confidence interval for the mean.

    Raises:
        UsageError: there are fewer than two differences, or a difference is not finite.

    >>> round(paired_t_test([0.1, 0.2, 0.3]).p, 4)
    0.0742
    """
    from scipy.special import stdtr, stdtrit  # The import of scipy.stats takes several times as long.

    n = len(differences)
    if n < 2:
        raise UsageError(f"a paired t test needs at least two pairs, but got {n}", fix="run more seeds")
    if not all(map(math.isfinite, differences)):
        raise UsageError("a paired t test needs finite differences", fix="use sign_flip_test, which ranks misses")
    mean, error = statistics.fmean(differences), statistics.stdev(differences) / math.sqrt(n)
    if error == 0:
        end = 0.0 if mean == 0 else None
        return PairedT(mean=mean, low=end, high=end, p=1.0)
    half_width = float(stdtrit(n - 1, 1 - (1 - level) / 2)) * error
    p = 2 * float(stdtr(n - 1, -abs(mean) / error))
    return PairedT(mean=mean, low=mean - half_width, high=mean + half_width, p=p)
