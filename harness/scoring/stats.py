"""Statistics of paired runs: exact sign-flip test, Hodges–Lehmann estimate, confidence interval, Holm's correction.

The sign-flip test on ranks is Wilcoxon's signed-rank test with an exact distribution. The confidence interval contains
every value of the centre that this test does not reject. A miss (a run that did not reach its target) has the worst
rank.

Source: Individual Comparisons by Ranking Methods, Wilcoxon 1945
Source: Estimates of Location Based on Rank Tests, Hodges and Lehmann 1963, equation 4.1
Source: A Simple Sequentially Rejective Multiple Test Procedure, Holm 1979
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby
from statistics import NormalDist
from typing import TYPE_CHECKING, Literal

from harness.errors import UsageError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

#: Smallest number of pairs for a verdict. With five pairs the smallest possible p-value is 1/16.
MIN_PAIRS = 6
#: Largest number of pairs for which the p-value of the test on ranks is computed exactly. For more pairs, the p-value
#: is a normal approximation with four correct digits.
EXACT_PAIRS = 400


@dataclass(frozen=True, slots=True, kw_only=True)
class SignFlip:
    """The result of a two-sided sign-flip test.

    Args:
        p: p-value.
        n: number of pairs.
        informative: number of pairs whose difference is not 0.
        exact: whether the p-value is exact. If not, it is a normal approximation or an estimate from random sign
            patterns.
    """

    p: float
    n: int
    informative: int
    exact: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """The uncertainty of an estimate.

    Args:
        low: lower end.
        high: upper end.
        kind: `interval` for a 95 % confidence interval. With fewer than six values, `range`: from the smallest to the
            largest value.
    """

    low: float
    high: float
    kind: Literal["interval", "range"]


def paired_log_ratios(a: Sequence[float], b: Sequence[float]) -> list[float]:
    """Return log(a/b) for each pair of times.

    If both runs missed the target, the value is 0. If one of them missed, it is inf (run of `a`) or -inf (run of `b`).

    Args:
        a: times of one submission in any unit, inf for a miss.
        b: times of the other submission in the same blocks and unit, inf for a miss. A block is a set of runs with the
            same hardware class, root seed and study.

    Raises:
        UsageError: the lengths differ, or a time is not positive.

    >>> paired_log_ratios([1.0, math.inf, math.inf], [1.0, 1.0, math.inf])
    [0.0, inf, 0.0]
    """
    if len(a) != len(b):
        raise UsageError(f"cannot pair {len(a)} times with {len(b)}", fix="give one time of each submission per block")
    for time in (*a, *b):
        if not time > 0:
            raise UsageError(f"a time is {time!r}; a time must be positive", fix="write inf for a miss")
    return [_log_ratio(x, y) for x, y in zip(a, b, strict=True)]


def _log_ratio(x: float, y: float) -> float:
    if math.isinf(x) or math.isinf(y):
        return 0.0 if x == y else math.copysign(math.inf, x - y)
    return math.log(x / y)


def sign_flip_test(differences: Sequence[float]) -> SignFlip:
    """Test the hypothesis that paired differences are symmetric about 0, against the two-sided alternative.

    The statistic is the sum of signed ranks. It is compared with its distribution over all 2^n sign patterns. Zeros are
    ranked and have no sign (Pratt's method). Infinite differences have the largest ranks. Equal absolute differences
    get the mean of their ranks (midranks). With at most 400 nonzero differences, the distribution is computed exactly
    by dynamic programming.

    Args:
        differences: log ratios; ±inf is allowed.

    Raises:
        UsageError: a difference is NaN.

    >>> sign_flip_test([0.1, 0.2, 0.3, 0.4, 0.5, 0.6]).p
    0.03125
    """
    if any(math.isnan(d) for d in differences):
        raise UsageError("a paired difference is NaN", fix="omit the pair, and report it")
    signs = [math.copysign(1.0, d) for d in differences if d != 0]
    if not signs:
        return SignFlip(p=1.0, n=len(differences), informative=0, exact=True)
    doubled = _doubled_ranks(differences)
    total = sum(doubled)
    positive = sum(r for r, s in zip(doubled, signs, strict=True) if s > 0)
    if len(signs) > EXACT_PAIRS:
        z = (abs(2 * positive - total) - 1) / math.sqrt(sum(r * r for r in doubled))
        return SignFlip(
            p=min(1.0, math.erfc(z / math.sqrt(2))), n=len(differences), informative=len(signs), exact=False
        )
    tail = _subset_sum_cdf(tuple(sorted(doubled)))[min(positive, total - positive)]
    return SignFlip(p=min(1.0, 2.0 * tail), n=len(differences), informative=len(signs), exact=True)


def _doubled_ranks(differences: Sequence[float]) -> list[int]:
    """Return twice the midranks of |d| for the nonzero differences d. Twice a midrank is an integer."""
    sizes = sorted(abs(d) for d in differences)
    doubled: dict[float, int] = {}
    for size, equal in groupby(enumerate(sizes, start=1), key=lambda ranked: ranked[1]):
        positions = [position for position, _ in equal]
        doubled[size] = positions[0] + positions[-1]
    return [doubled[abs(d)] for d in differences if d != 0]


@lru_cache(maxsize=512)
def _subset_sum_cdf(weights: tuple[int, ...]) -> list[float]:
    """Return P(sum of a random subset ≤ s) for s = 0 … total; the subset contains each weight with probability ½."""
    import numpy as np

    mass = np.zeros(sum(weights) + 1)
    mass[0] = 1.0
    for weight in weights:
        mass[weight:] = (mass[weight:] + mass[: len(mass) - weight]) / 2
        mass[:weight] /= 2
    cumulative: list[float] = np.cumsum(mass).tolist()
    return cumulative


def _replace_infinite(differences: Sequence[float]) -> tuple[Floats, float]:
    """Return the differences with ±inf replaced by ±bound, and the bound.

    The bound is so large that the average of the bound and any finite difference exceeds every finite difference.
    """
    import numpy as np

    x = np.asarray(differences, dtype=float)
    if np.isnan(x).any():
        raise UsageError("a paired difference is NaN", fix="omit the pair, and report it")
    bound = 1e6 * (1.0 + float(np.abs(x[np.isfinite(x)]).max(initial=0.0)))
    return np.clip(x, -bound, bound), bound


def _restore_infinite(value: float, bound: float) -> float:
    return math.copysign(math.inf, value) if abs(value) > bound / 1e3 else value


def _walsh_averages(x: Floats) -> Floats:
    """Return the n(n+1)/2 averages (x[i] + x[j])/2 for i ≤ j, sorted."""
    import numpy as np

    i, j = np.triu_indices(len(x))
    return np.sort((x[i] + x[j]) / 2)


def hodges_lehmann(differences: Sequence[float]) -> float:
    """Return the Hodges–Lehmann estimate: the median of the averages of two differences (Walsh averages).

    All pairs of differences are averaged, and each difference also with itself. The estimate is ±inf if the median is
    an average with an infinite difference. The average of inf and -inf is 0.

    Raises:
        UsageError: there are no differences, or a difference is NaN.

    >>> hodges_lehmann([1.0, 2.0, 6.0])
    2.75
    """
    import numpy as np

    if not len(differences):
        raise UsageError(
            "there is no pair from which a ratio can be estimated",
            fix="run both submissions on one workload with the same seeds",
        )
    x, bound = _replace_infinite(differences)
    return _restore_infinite(float(np.median(_walsh_averages(x))), bound)


def interval(differences: Sequence[float], level: float = 0.95) -> Spread:
    """Return a confidence interval for the centre of paired differences, by inverting the sign-flip test on ranks.

    For any symmetric distribution, the coverage is at least `level`. With too few pairs for the level (fewer than six
    at 95 %), the result is the range of the differences, of the kind `range`.

    Args:
        differences: log ratios, ±inf if only one run of the pair missed.
        level: required coverage.

    Raises:
        UsageError: there are no differences, or a difference is NaN.
    """
    if not len(differences):
        raise UsageError(
            "there is no pair from which an interval can be estimated",
            fix="run both submissions on one workload with the same seeds",
        )
    x, bound = _replace_infinite(differences)
    n = len(x)
    k = _critical_rank_sum(n, level)
    if n < MIN_PAIRS or k == 0:
        return Spread(low=min(differences), high=max(differences), kind="range")
    averages = _walsh_averages(x)
    low, high = (_restore_infinite(float(averages[i]), bound) for i in (k - 1, -k))
    return Spread(low=low, high=high, kind="interval")


@lru_cache(maxsize=512)
def _critical_rank_sum(n: int, level: float) -> int:
    """Return the largest k with P(W < k) ≤ (1 - level)/2.

    W is Wilcoxon's statistic for n differences that are symmetric about 0: the sum of the ranks of the positive
    differences. The confidence interval extends from the k-th smallest to the k-th largest Walsh average. For n above
    `EXACT_PAIRS`, a normal distribution approximates the distribution of W.
    """
    import numpy as np

    if n > EXACT_PAIRS:
        sd = math.sqrt(n * (n + 1) * (2 * n + 1) / 24)
        return int(n * (n + 1) / 4 + NormalDist().inv_cdf((1 - level) / 2) * sd)
    return int(np.searchsorted(_subset_sum_cdf(tuple(range(1, n + 1))), (1 - level) / 2, side="right"))


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values corrected by Holm's procedure, in the order of the input.

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    adjusted = [0.0] * len(p_values)
    running_max = 0.0
    for position, i in enumerate(order):
        running_max = max(running_max, min(1.0, (len(order) - position) * p_values[i]))
        adjusted[i] = running_max
    return adjusted
