"""Interval and variance of the median over studies.

Source: Confidence Intervals Based on Interpolated Order Statistics, Hettmansperger and Sheather 1986, equation 2.2
Source: A Method of Estimating the Variance of the Sample Median, Maritz and Jarrett 1978, equation 1
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

from harness.errors import UsageError
from harness.scoring.stats import MIN_PAIRS, Spread

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def median_variance(values: Sequence[float]) -> float:
    """Estimate the variance of the median of finite values.

    The estimate is a weighted variance of the values. The weight of a value is the probability that this value is the
    median of a bootstrap resample. In small samples, the weighted variance is too large. It is therefore multiplied by
    1 − 0.9/√n for even n and by 1 − 0.7/√n for odd n. These factors were fitted to the true variances of normal samples
    with n from 6 to 80. A test checks the coverage of the resulting intervals.

    Source: A Method of Estimating the Variance of the Sample Median, Maritz and Jarrett 1978, equation 1
    """
    import numpy as np

    n = len(values)
    ordered = np.sort(np.asarray(values, dtype=float))
    if ordered[0] == ordered[-1]:  # The formula could give a small positive variance because of rounding errors.
        return 0.0
    weights = _median_weights(n)
    mean = float(weights @ ordered)
    variance = float(weights @ (ordered - mean) ** 2)
    return max(0.0, (1 - (0.7 if n % 2 else 0.9) / math.sqrt(n)) * variance)


@lru_cache
def _median_weights(n: int) -> NDArray[np.float64]:
    import numpy as np
    from scipy.special import betainc  # The import of scipy.stats takes several times as long.

    weights: NDArray[np.float64] = np.diff(betainc((n + 1) / 2, (n + 1) / 2, np.arange(n + 1) / n))
    return weights


def median_interval(values: Sequence[float], level: float = 0.95) -> Spread:
    """Return a confidence interval for the median over studies. For fewer than six values, return their range.

    With order statistics as ends, only a few coverages are possible, and none may be near the required level. The ends
    are therefore interpolated between neighbouring order statistics. The coverage is then within about one percentage
    point of the level, for any continuous distribution. An end may be inf.

    Args:
        values: one value for each study, inf for a miss.
        level: required coverage.

    Raises:
        UsageError: there are no values, or a value is NaN.
    """
    if not len(values) or any(math.isnan(v) for v in values):
        raise UsageError(
            "cannot compute the median of no values or of NaN", fix="give at least one value, and inf for a miss"
        )
    x, n = sorted(values), len(values)
    if n < MIN_PAIRS:
        return Spread(low=x[0], high=x[-1], kind="range")
    # coverage[d] is the probability that the median lies between the d-th smallest and the d-th largest value.
    coverage = [1 - 2 * math.fsum(math.comb(n, i) for i in range(d)) / 2**n for d in range(n // 2 + 2)]
    d = max(i for i in range(1, n // 2 + 1) if coverage[i] >= level or i == 1)
    fraction = (coverage[d] - level) / (coverage[d] - coverage[d + 1])
    weight = max(0.0, (n - d) * fraction / (d + (n - 2 * d) * fraction))
    low, high = _interpolate(x[d - 1], x[d], weight), _interpolate(x[n - d], x[n - d - 1], weight)
    return Spread(low=low, high=high, kind="interval")


def _interpolate(outer: float, inner: float, weight: float) -> float:
    if outer == inner or weight == 0 or math.isinf(outer):
        return outer
    return inner if math.isinf(inner) else (1 - weight) * outer + weight * inner
