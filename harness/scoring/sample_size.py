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

#: Pairs that `compare` plans for.
DEFAULT_PAIRS = 10
#: log of the smallest ratio of times that is worth seeds: 3 %.
MARGIN = math.log(1.03)


def pairs_for(spread: float, effect: float = MARGIN, *, power: float = 0.8, alpha: float = 0.05) -> int:
    """Pairs at which the signed-rank test finds an effect with the given power.

    Args:
        spread: standard deviation of one paired log ratio.
        effect: true centre of the log ratios, > 0.
        power: chance of finding it.
        alpha: two-sided level; after Holm over m tests, alpha/m.

    Raises:
        UsageError: an effect that is not positive, or a spread that is no finite number ≥ 0.

    >>> pairs_for(0.0), pairs_for(0.03)
    (6, 11)
    """
    if not effect > 0 or not 0 <= spread < math.inf:
        raise UsageError(f"no number of pairs for the spread {spread!r} and the effect {effect!r}")
    smallest = max(MIN_PAIRS, math.ceil(math.log2(2 / alpha)))
    z = NormalDist().inv_cdf(1 - alpha / 2)
    # 0.955 is the efficiency of ranks against means for normal noise; z²/2 is the price of not knowing the spread.
    n = ((z + NormalDist().inv_cdf(power)) * spread / effect) ** 2 / 0.955 + z * z / 2
    return max(smallest, math.ceil(n))


def needed_n(
    differences: Sequence[float], *, effect: float | None = None, power: float = 0.8, alpha: float = 0.05
) -> int | None:
    """Pairs, all in all, that would settle a comparison, from the spread observed so far; None under two finite pairs.

    The effect to be found is 3 %, or what is sure to be larger: the distance of the interval (under six pairs: the
    range) from 0. The observed effect itself would be too hopeful. The spread is taken at the upper 80 %
    confidence limit of the standard deviation, since a pilot of a few pairs underestimates it half of the time.
    Misses, which tell nothing about seconds and as worst ranks hide what the others tell, cost their share twice.

    Args:
        differences: log ratios of the pairs so far.
        effect: log ratio that should be found instead.
        power: chance of finding it.
        alpha: two-sided level.

    Source: On the Use of a Pilot Sample for Sample Size Determination, Browne 1995
    """
    import numpy as np

    x = np.asarray([d for d in differences if math.isfinite(d)])
    if len(x) < 2:
        return None
    ends = interval(x.tolist())
    sure = max(ends.low, -ends.high, 0.0)
    wanted = max(MARGIN, sure) if effect is None else effect
    # One wild pair should not ask for thousands of seeds: ranks do not see how wild it is.
    deviation = 1.4826 * float(np.median(np.abs(x - np.median(x))))
    spread = min(float(x.std(ddof=1)), 2 * deviation or math.inf)
    upper = spread * _upper_limit_factor(len(x))
    share = len(x) / len(differences)
    return math.ceil(pairs_for(upper, wanted, power=power, alpha=alpha) / share**2)


@lru_cache(maxsize=512)
def _upper_limit_factor(n: int) -> float:
    """The upper 80 % confidence limit of a standard deviation from n normal values, over the observed one."""
    from scipy.stats import chi2

    return math.sqrt((n - 1) / float(chi2.ppf(0.2, n - 1)))
