"""Computes the number of pairs that a comparison of two submissions needs.

Source: On the Use of a Pilot Sample for Sample Size Determination, Browne 1995
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from statistics import NormalDist

from harness.errors import UsageError
from harness.scoring.stats import MIN_PAIRS, interval

#: Number of pairs that `compare` recommends while the standard deviation is unknown.
DEFAULT_PAIRS = 10
#: Smallest effect that a comparison is planned to detect, as the log of a ratio of times: 3 %.
MIN_EFFECT = math.log(1.03)
#: Asymptotic efficiency of the sign-flip test on ranks relative to the t test, for normal differences: 3/π.
_RANK_EFFICIENCY = 0.955


def required_pairs(sd: float, effect: float = MIN_EFFECT, *, power: float = 0.8, alpha: float = 0.05) -> int:
    """Return the number of pairs at which the sign-flip test on ranks detects an effect with the given power.

    Args:
        sd: standard deviation of one paired log ratio.
        effect: true centre of the log ratios; must be positive.
        power: probability that the test detects the effect.
        alpha: two-sided significance level. If Holm's procedure corrects over m tests, pass the level divided by m.

    Raises:
        UsageError: the effect is not positive, or the standard deviation is negative or not finite.

    >>> required_pairs(0.0), required_pairs(0.03)
    (6, 11)
    """
    if not effect > 0 or not 0 <= sd < math.inf:
        raise UsageError(
            f"cannot plan pairs for the standard deviation {sd!r} and the effect {effect!r}",
            fix="give a positive effect and a finite standard deviation that is not negative",
        )
    smallest = max(MIN_PAIRS, math.ceil(math.log2(2 / alpha)))
    z = NormalDist().inv_cdf(1 - alpha / 2)
    # The term z²/2 corrects the normal approximation for the estimated standard deviation.
    n = ((z + NormalDist().inv_cdf(power)) * sd / effect) ** 2 / _RANK_EFFICIENCY + z * z / 2
    return max(smallest, math.ceil(n))


def required_pairs_from_pilot(
    differences: Sequence[float], *, effect: float | None = None, power: float = 0.8, alpha: float = 0.05
) -> int | None:
    """Return the total number of pairs that a comparison needs, planned from its first pairs.

    The planned effect is 3 %. If the whole confidence interval of the effect is further from 0 than 3 %, the planned
    effect is the end of the interval that is nearer to 0. With fewer than six pairs, the range of the differences is
    used as the interval. The estimate of the effect is not used, because it would be too optimistic.

    Half of all small pilots underestimate the standard deviation. Its upper 80 % confidence limit is therefore used.

    A pair with one miss has the most extreme rank, however small the effect is. Such pairs make small differences
    harder to detect. The result is therefore divided by the square of the fraction of pairs without a miss.

    Args:
        differences: log ratios of the pairs so far; ±inf for a pair with one miss.
        effect: log ratio to detect; None to derive it from the pairs.
        power: probability that the test detects the effect.
        alpha: two-sided significance level.

    Returns:
        The number of pairs, including the pairs so far; None if fewer than two differences are finite.

    Source: On the Use of a Pilot Sample for Sample Size Determination, Browne 1995
    """
    import numpy as np

    x = np.asarray([d for d in differences if math.isfinite(d)])
    if len(x) < 2:
        return None
    ends = interval(x.tolist())
    nearest_end = max(ends.low, -ends.high, 0.0)
    effect = max(MIN_EFFECT, nearest_end) if effect is None else effect
    # The test uses ranks, so the size of an outlier does not affect the test. The standard deviation is limited to
    # twice the scaled median absolute deviation (MAD). Without this limit, one outlier could raise the result to
    # thousands.
    mad_sd = 1.4826 * float(np.median(np.abs(x - np.median(x))))
    sd = min(float(x.std(ddof=1)), 2 * mad_sd or math.inf)
    sd_upper = sd * _upper_limit_factor(len(x))
    finite_fraction = len(x) / len(differences)
    return math.ceil(required_pairs(sd_upper, effect, power=power, alpha=alpha) / finite_fraction**2)


@lru_cache(maxsize=512)
def _upper_limit_factor(n: int) -> float:
    """Return (upper 80 % confidence limit of the standard deviation) / (standard deviation of n normal values)."""
    from scipy.stats import chi2

    return math.sqrt((n - 1) / float(chi2.ppf(0.2, n - 1)))
