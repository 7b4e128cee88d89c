"""Statistics of paired runs: exact sign-flip tests, the intervals that invert them, seeds needed, misses as ranks.

Source: Individual Comparisons by Ranking Methods, Wilcoxon 1945 (sign flips of signed ranks)
Source: Estimates of Location Based on Rank Tests, Hodges and Lehmann 1963, equation 4.1
Source: A Simple Sequentially Rejective Multiple Test Procedure, Holm 1979
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from statistics import NormalDist
from typing import TYPE_CHECKING, Literal

from harness.errors import UsageError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

#: Under this number of pairs there is no verdict: with 5, even five equal signs have p = 1/16.
MIN_PAIRS = 6
#: Beyond this number of pairs a normal approximation replaces exact counting; it is good to four digits there.
EXACT_PAIRS = 400


@dataclass(frozen=True, slots=True, kw_only=True)
class SignFlip:
    """A two-sided sign-flip test: p-value, pairs, pairs that are not ties, and whether all flips were counted."""

    p: float
    n: int
    informative: int
    exact: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """Two ends around an estimate: a 95 % `interval`, or under six values only their `range`."""

    low: float
    high: float
    kind: Literal["interval", "range"]


def paired_log_ratios(a: Sequence[float], b: Sequence[float]) -> list[float]:
    """log(a/b) per pair of times: 0 where both missed, ±inf (the worst rank) where one did.

    Args:
        a: times in any unit, inf for a miss.
        b: times of the same blocks.

    Raises:
        UsageError: unequal lengths, or a time that is not positive.

    >>> paired_log_ratios([1.0, math.inf, math.inf], [1.0, 1.0, math.inf])
    [0.0, inf, 0.0]
    """
    if len(a) != len(b):
        raise UsageError(f"cannot pair {len(a)} times with {len(b)}", fix="give one time per block on each side")
    for time in (*a, *b):
        if not time > 0:
            raise UsageError(f"a time is {time!r}; a time must be positive", fix="write inf for a miss")
    return [_log_ratio(x, y) for x, y in zip(a, b, strict=True)]


def _log_ratio(x: float, y: float) -> float:
    if math.isinf(x) or math.isinf(y):
        return 0.0 if x == y else math.inf if math.isinf(x) else -math.inf
    return math.log(x / y)


def sign_flip_test(differences: Sequence[float], statistic: Literal["ranks", "mean"] = "ranks") -> SignFlip:
    """Two-sided test that paired differences are symmetric about 0.

    The signs of the pairs are flipped in all 2^n ways, and the observed statistic is compared with the resulting
    distribution. With `ranks` the statistic is the sum of signed ranks (Pratt: zeros are ranked, but have no sign). It
    is counted exactly by dynamic programming up to n = 400, with any ties; ±inf take the worst ranks. With `mean` the
    statistic is the sum itself, counted exactly by meeting in the middle up to n = 32, and estimated from 100,000
    seeded flips beyond.

    Args:
        differences: log ratios; ±inf only with `ranks`.
        statistic: what is summed.

    Raises:
        UsageError: NaN, or an infinite difference with `mean`.

    >>> sign_flip_test([0.1, 0.2, 0.3, 0.4, 0.5, 0.6]).p
    0.03125
    """
    if any(math.isnan(d) for d in differences):
        raise UsageError("a paired difference is NaN", fix="omit the pair, and report it")
    signs = [math.copysign(1.0, d) for d in differences if d != 0]
    if not signs:
        return SignFlip(p=1.0, n=len(differences), informative=0, exact=True)
    if statistic == "mean":
        if any(math.isinf(d) for d in differences):
            raise UsageError("a miss has no mean", fix="use statistic='ranks'")
        p, exact = _mean_p([d for d in differences if d != 0])
        return SignFlip(p=p, n=len(differences), informative=len(signs), exact=exact)
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
    """Twice the midranks of |d| among all pairs, zeros omitted; doubling makes them whole numbers."""
    from scipy.stats import rankdata

    ranks = rankdata([abs(d) for d in differences])
    return [round(2 * float(r)) for r, d in zip(ranks, differences, strict=True) if d != 0]


@lru_cache(maxsize=512)
def _subset_sum_cdf(weights: tuple[int, ...]) -> list[float]:
    """P(sum of a random subset ≤ s) for s = 0 … total, each weight in or out with probability ½."""
    import numpy as np

    mass = np.zeros(sum(weights) + 1)
    mass[0] = 1.0
    for weight in weights:
        mass[weight:] = (mass[weight:] + mass[: len(mass) - weight]) / 2
        mass[:weight] /= 2
    cumulative: list[float] = np.cumsum(mass).tolist()
    return cumulative


def _mean_p(values: Sequence[float]) -> tuple[float, bool]:
    import numpy as np

    x = np.asarray(values, dtype=float)
    # Flips whose sum equals the observed one up to rounding count as extreme.
    threshold = abs(x.sum()) - 1e-9 * np.abs(x).sum()
    if len(x) <= 32:
        first, second = _flipped_sums(x[: len(x) // 2]), np.sort(_flipped_sums(x[len(x) // 2 :]))
        above = len(second) - np.searchsorted(second, threshold - first, side="left")
        below = np.searchsorted(second, -threshold - first, side="right")
        count = int(above.sum() + below.sum()) if threshold > 0 else 2 ** len(x)
        return min(1.0, count / 2 ** len(x)), True
    draws = 100_000
    rng = np.random.default_rng(0)
    extreme = 0
    for _ in range(10):
        flips = rng.integers(0, 2, size=(draws // 10, len(x))) * 2 - 1
        extreme += int((np.abs(flips @ x) >= threshold).sum())
    return (extreme + 1) / (draws + 1), False


def _flipped_sums(x: Floats) -> Floats:
    import numpy as np

    sums = np.zeros(1)
    for value in x:
        sums = np.concatenate([sums - value, sums + value])
    return sums


def _finite(differences: Sequence[float]) -> tuple[Floats, float]:
    """Differences with ±inf replaced by a number large enough to keep the worst rank in every average."""
    import numpy as np

    x = np.asarray(differences, dtype=float)
    if np.isnan(x).any():
        raise UsageError("a paired difference is NaN", fix="omit the pair, and report it")
    big = 1e6 * (1.0 + float(np.abs(x[np.isfinite(x)]).max(initial=0.0)))
    return np.clip(x, -big, big), big


def _restore(value: float, big: float) -> float:
    return math.copysign(math.inf, value) if abs(value) > big / 1e3 else value


def _walsh(x: Floats) -> Floats:
    """Averages of all pairs i ≤ j, sorted: n(n+1)/2 numbers."""
    import numpy as np

    i, j = np.triu_indices(len(x))
    return np.sort((x[i] + x[j]) / 2)


def hodges_lehmann(differences: Sequence[float]) -> float:
    """Median of the averages of all pairs of differences; ±inf where misses prevail, and 0 where they cancel.

    Raises:
        UsageError: no differences, or NaN.

    >>> hodges_lehmann([1.0, 2.0, 6.0])
    2.75
    """
    import numpy as np

    if not len(differences):
        raise UsageError("no pair to estimate a ratio from", fix="run both on one workload with the same seeds")
    x, big = _finite(differences)
    return _restore(float(np.median(_walsh(x))), big)


def interval(differences: Sequence[float], level: float = 0.95) -> Spread:
    """Confidence interval for the centre of paired differences, from inverting the signed-rank sign-flip test.

    Its coverage is at least `level` for any symmetric distribution. Where the test cannot reach the level (under
    six pairs at 95 %) the range of the differences is given instead, marked as such.

    Raises:
        UsageError: no differences, or NaN.
    """
    if not len(differences):
        raise UsageError("no pair to estimate an interval from", fix="run both on one workload with the same seeds")
    x, big = _finite(differences)
    n = len(x)
    k = _signed_rank_critical(n, level)
    if n < MIN_PAIRS or k == 0:
        return Spread(low=min(differences), high=max(differences), kind="range")
    walsh = _walsh(x)
    return Spread(low=_restore(float(walsh[k - 1]), big), high=_restore(float(walsh[-k]), big), kind="interval")


@lru_cache(maxsize=512)
def _signed_rank_critical(n: int, level: float) -> int:
    """How many Walsh averages may be cut from each end: the largest k with P(W < k) ≤ (1 - level)/2."""
    import numpy as np

    if n > EXACT_PAIRS:
        spread = math.sqrt(n * (n + 1) * (2 * n + 1) / 24)
        return int(n * (n + 1) / 4 + NormalDist().inv_cdf((1 - level) / 2) * spread)
    return int(np.searchsorted(_subset_sum_cdf(tuple(range(1, n + 1))), (1 - level) / 2, side="right"))


def holm(p_values: Sequence[float]) -> list[float]:
    """P-values corrected by Holm's procedure, in the same order.

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    adjusted = [0.0] * len(p_values)
    running = 0.0
    for position, i in enumerate(order):
        running = max(running, min(1.0, (len(order) - position) * p_values[i]))
        adjusted[i] = running
    return adjusted
