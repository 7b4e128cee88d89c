"""Student's t on paired differences: a stronger assumption than sign flips, for too few pairs for an exact test.

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
    """A two-sided paired t test.

    Args:
        mean: of the differences.
        low, high: the interval for the mean; None where there is none.
        p: the p-value; 1 where nothing can be tested.
    """

    mean: float
    low: float | None
    high: float | None
    p: float


def paired_t_test(differences: Sequence[float], level: float = 0.95) -> PairedT:
    """Two-sided test that normal paired differences have the mean 0, with the interval for their mean.

    Differences without spread are not tested: equal values are no sample of a normal distribution. Their interval is 0
    where all of them are 0, and otherwise None.

    Args:
        differences: log ratios, all finite.
        level: coverage of the interval.

    Raises:
        UsageError: fewer than two differences, or one that is not finite.

    >>> round(paired_t_test([0.1, 0.2, 0.3]).p, 4)
    0.0742
    """
    from scipy.stats import t as student

    n = len(differences)
    if n < 2:
        raise UsageError(f"a paired t test needs at least two pairs, and there are {n}", fix="run more seeds")
    if not all(map(math.isfinite, differences)):
        raise UsageError("a paired t test needs finite differences", fix="use sign_flip_test, which ranks misses")
    mean, error = statistics.fmean(differences), statistics.stdev(differences) / math.sqrt(n)
    if error == 0:
        end = 0.0 if mean == 0 else None
        return PairedT(mean=mean, low=end, high=end, p=1.0)
    half_width = float(student.ppf(1 - (1 - level) / 2, n - 1)) * error
    p = 2 * float(student.sf(abs(mean) / error, n - 1))
    return PairedT(mean=mean, low=mean - half_width, high=mean + half_width, p=p)
