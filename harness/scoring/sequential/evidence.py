"""The e-process: bets on the sign of each difference, fair under every symmetric law, whatever its shape.

The null is that each difference is symmetric about a centre θ, given the pairs before it: the sign of dᵢ − θ is then a
fair coin, even when its size is known. A bettor who stakes a share of the wealth on plus multiplies it by

    1 + c · tanh(δ · zᵢ),    zᵢ = (dᵢ − θ) / (spread of the pairs before i), cut at ±2,    c = 0.98.

Without the factor c and the cut this is the likelihood ratio of the sign, given the size, for a normal law whose mean
is δ of its deviations: e^(δz) / cosh(δz). Each factor has mean 1 under the null, so the product is a nonnegative
martingale, and so is its mean over a few δ (`BETS`). By Ville's inequality it ever reaches 1/α with probability α at
most. Nothing is assumed of the sizes: heavy tails, skewed noise on both sides, sizes that depend on earlier pairs,
and breaks (infinite) are all covered. Differences that are not symmetric about θ are evidence against it, even where
their mean or median is θ: of gates on exponential differences with mean 0, a tenth decides within 40 pairs
(`docs/measured/sequential.txt`). Two runs of one law, whose labels could be swapped, are always symmetric about 0.

Every factor grows with dᵢ − θ, and the scales do not depend on θ. So the evidence that the centre lies above θ falls
in θ: what speaks against θ speaks at least as much against every smaller centre.

Source: Admissible Anytime-Valid Sequential Inference Must Rely on Nonnegative Martingales, Ramdas, Ruf, Larsson and
    Koolen 2020, arXiv 2009.03167 (testing symmetry: every admissible e-process is such a martingale)
Source: A General Class of Exponential Inequalities for Martingales and Ratios, de la Peña 1999 (the bound
    exp(λS − λ²V/2), which lies below ∏ e^(λd)/cosh(λd))
Source: Étude critique de la notion de collectif, Ville 1939 (the inequality)
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from harness.scoring.sequential.differences import check_gate
from harness.scoring.sequential.scale import past_scales

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float64]

#: (weight, δ): the effects, in scales, on which the bettor's wealth is placed. Half of it is on effects so large that
#: six pairs settle them, a tenth on a quarter of a spread, which takes two hundred.
BETS = ((0.5, 3.0), (0.2, 1.0), (0.2, 0.5), (0.1, 0.25))
#: Share of the wealth that may be staked at most: no single sign, and no break, ends a bettor's game.
MAX_STAKE = 0.98
#: Differences count as this many scales at most, breaks too: an outlier is no more than a clear sign.
MAX_SCORE = 2.0


class Evidence(NamedTuple):
    """Log wealth of the two bettors after each pair, each (..., n); both start at log ½, the shares of one unit.

    Args:
        better: of the one who bets that the centre lies above θ.
        worse: of the one who bets that it lies below.
    """

    better: Floats
    worse: Floats


def log_evidence(differences: ArrayLike, *, centre: ArrayLike = 0.0, scales: ArrayLike | None = None) -> Evidence:
    """The e-process of "symmetric about `centre`" after each pair, in two halves.

    Each half reaches 1/α with probability α/2 at most, at any look, so that α is the error of both together.

    Args:
        differences: (..., n), in the order of the pairs; ±inf for a pair in which one side broke.
        centre: θ, a number or (...).
        scales: (..., n), `past_scales(differences)` where it has been computed already.

    >>> import numpy as np
    >>> np.exp(log_evidence([1.0] * 6).better).round(2).tolist()
    [0.88, 1.57, 3.0, 5.78, 11.17, 21.66]
    """
    import numpy as np

    scores = standard_scores(differences, centre=centre, scales=scales)
    halves = (mix_bets(np.cumsum(log_factors(sign * scores), axis=-1)) - np.log(2) for sign in (1.0, -1.0))
    return Evidence(*halves)


def standard_scores(differences: ArrayLike, *, centre: ArrayLike = 0.0, scales: ArrayLike | None = None) -> Floats:
    """z: differences from the centre in scales of the pairs before, cut at ±`MAX_SCORE`; (..., n).

    While no spread is known a finite difference counts as one spread; a spread of 0 makes it a clear sign.
    """
    import numpy as np

    x = np.asarray(differences, dtype=float)
    scale = past_scales(x) if scales is None else np.asarray(scales, dtype=float)
    away = x - np.asarray(centre, dtype=float)[..., None]
    return scale_scores(away, np.broadcast_to(scale, away.shape))


def scale_scores(away: Floats, scale: Floats) -> Floats:
    """`away` in units of `scale` (equal shapes), cut at ±`MAX_SCORE`.

    Where the scale is NaN a finite difference counts as 1; where it is 0, and for a break, as `MAX_SCORE`.
    """
    import numpy as np

    signs = np.sign(away)
    # A ratio beyond the largest float is beyond the cut too.
    with np.errstate(over="ignore"):
        ratios = np.divide(away, scale, out=signs * MAX_SCORE, where=scale > 0)
    return np.where(np.isnan(scale) & np.isfinite(away), signs, np.clip(ratios, -MAX_SCORE, MAX_SCORE))


def fewest_deciding_pairs(alpha: float) -> int:
    """The fewest pairs that can decide a gate at this error: so many breaks of one side.

    Raises:
        UsageError: alpha outside (0, 1).

    >>> fewest_deciding_pairs(0.05), fewest_deciding_pairs(0.001)
    (6, 12)
    """
    import numpy as np

    check_gate(alpha, 0.0)
    scores = np.full(math.ceil(-2 * math.log(alpha)) + 8, MAX_SCORE)
    log_wealth = mix_bets(np.cumsum(log_factors(scores), axis=-1)) - np.log(2)
    return int(np.argmax(log_wealth >= -math.log(alpha))) + 1


def log_factors(scores: Floats) -> Floats:
    """log(1 + `MAX_STAKE` · tanh(δ z)) for each δ of `BETS`: (..., n) -> (bets, ..., n)."""
    import numpy as np

    effects = np.array([effect for _, effect in BETS]).reshape(-1, *[1] * np.ndim(scores))
    return np.asarray(np.log1p(MAX_STAKE * np.tanh(effects * scores)))


def mix_bets(log_wealth: Floats) -> Floats:
    """Log of the weighted mean wealth: (bets, ...) -> (...)."""
    import numpy as np

    weights = np.log([weight for weight, _ in BETS]).reshape(-1, *[1] * (log_wealth.ndim - 1))
    return np.asarray(np.logaddexp.reduce(log_wealth + weights, axis=0))
