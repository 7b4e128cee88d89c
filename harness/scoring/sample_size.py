"""How many pairs settle a comparison.

Source: On the Use of a Pilot Sample for Sample Size Determination, Browne 1995
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from statistics import NormalDist

from harness.errors import UsageError
from harness.scoring.stats import MIN_PAIRS, interval

#: Pairs that `compare` recommends before there is a spread to plan with.
DEFAULT_PAIRS = 10
#: log of the smallest ratio of times that is worth more seeds: 3 %.
MARGIN = math.log(1.03)


def pairs_for(spread: float, effect: float = MARGIN, *, power: float = 0.8, alpha: float = 0.05) -> int:
    """Pairs at which the signed-rank test finds an effect with the given power.

    Args:
        spread: standard deviation of one paired log ratio.
        effect: true centre of the log ratios, > 0.
        power: chance of finding it.
        alpha: two-sided level; after Holm over m tests, alpha/m.

    Raises:
        UsageError: an effect that is not positive, or a spread that is not a finite number of 0 or more.

    >>> pairs_for(0.0), pairs_for(0.03)
    (6, 11)
    """
    if not effect > 0 or not 0 <= spread < math.inf:
        raise UsageError(
            f"cannot plan pairs for the spread {spread!r} and the effect {effect!r}",
            fix="the effect must be positive, the spread finite and not negative",
        )
    smallest = max(MIN_PAIRS, math.ceil(math.log2(2 / alpha)))
    z = NormalDist().inv_cdf(1 - alpha / 2)
    # 0.955 is the efficiency of ranks against means for normal noise; z²/2 is the cost of an unknown spread.
    n = ((z + NormalDist().inv_cdf(power)) * spread / effect) ** 2 / 0.955 + z * z / 2
    return max(smallest, math.ceil(n))


def needed_n(
    differences: Sequence[float], *, effect: float | None = None, power: float = 0.8, alpha: float = 0.05
) -> int | None:
    """Total number of pairs that would settle a comparison, from the spread so far; None under two finite pairs.

    The effect to be found is 3 %, or the distance of the interval (under six pairs: the range) from 0 where that is
    larger; the observed effect itself would be too optimistic. The spread is the upper 80 % confidence limit of the
    standard deviation, since a pilot of a few pairs underestimates it half of the time. A miss says nothing about
    seconds, and its worst rank hides small differences, so the share of misses is charged twice.

    Args:
        differences: log ratios of the pairs so far.
        effect: log ratio to find instead.
        power: chance of finding it.
        alpha: two-sided level.

    Source: On the Use of a Pilot Sample for Sample Size Determination, Browne 1995
    """
    import numpy as np

    x = np.asarray([d for d in differences if math.isfinite(d)])
    if len(x) < 2:
        return None
    ends = interval(x.tolist())
    certain = max(ends.low, -ends.high, 0.0)
    effect = max(MARGIN, certain) if effect is None else effect
    # One outlier must not demand thousands of seeds: ranks do not see how far out it is.
    deviation = 1.4826 * float(np.median(np.abs(x - np.median(x))))
    spread = min(float(x.std(ddof=1)), 2 * deviation or math.inf)
    upper = spread * _upper_limit_factor(len(x))
    share = len(x) / len(differences)
    return math.ceil(pairs_for(upper, effect, power=power, alpha=alpha) / share**2)


@lru_cache(maxsize=512)
def _upper_limit_factor(n: int) -> float:
    """The upper 80 % confidence limit of a standard deviation from n normal values, over the observed one."""
    from scipy.stats import chi2

    return math.sqrt((n - 1) / float(chi2.ppf(0.2, n - 1)))
