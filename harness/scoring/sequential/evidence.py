"""Computes the e-process of a gate: the wealth of bets on the sign of each pair's difference.

The bets are fair if the differences are distributed symmetrically.

Let dᵢ be the difference of pair i. The null hypothesis is that each dᵢ is symmetric about a centre θ, given the
previous pairs. Under this hypothesis, dᵢ − θ is positive with probability ½ for every given |dᵢ − θ|. A bet on positive
differences multiplies the wealth by the factor

    1 + c · tanh(δ · zᵢ),    zᵢ = (dᵢ − θ) / (scale of the pairs before i), clipped to [−2, 2],    c = 0.98.

The parameter δ > 0 is the effect for which the bet is made. With c = 1 and without clipping, the factor is e^(δz) /
cosh(δz). This is the likelihood ratio of the sign, given |z|, for a normal distribution whose mean is δ standard
deviations. Under the null hypothesis, each factor has mean 1. The product of the factors is therefore a nonnegative
martingale. The weighted mean of the products for several δ (`BETS`) is also a nonnegative martingale. By Ville's
inequality, the probability that this mean ever reaches 1/α is at most α.

No assumption is made about the absolute values |dᵢ − θ|. They may have heavy tails, depend on previous pairs, or be
infinite (if a run broke down). A skewed distribution of the differences is evidence against θ, even if its mean or
median is θ. For example, let the differences have an exponential distribution that is shifted to mean 0. A tenth of the
gates is then decided within 40 pairs (`docs/measured/sequential.txt`). The difference of two exchangeable runs is
always symmetric about 0.

Every factor increases with dᵢ − θ, and the scales do not depend on θ. The evidence that the centre is above θ therefore
decreases if θ increases.

Source: Admissible Anytime-Valid Sequential Inference Must Rely on Nonnegative Martingales, Ramdas, Ruf, Larsson and
    Koolen 2020, arXiv 2009.03167 (testing symmetry: every admissible e-process is such a martingale)
Source: A General Class of Exponential Inequalities for Martingales and Ratios, de la Peña 1999 (the bound
    exp(λS − λ²V/2), which is smaller than ∏ e^(λd)/cosh(λd))
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

#: (weight, δ) of each bet, where δ is an effect in units of the scale. The bet with weight 0.5 is made for an effect
#: that six pairs can show. The bet with weight 0.1 is made for an effect of 0.25 scales, which requires about two
#: hundred pairs.
BETS = ((0.5, 3.0), (0.2, 1.0), (0.2, 0.5), (0.1, 0.25))
#: Largest fraction of the wealth that is staked on one pair (c in the formula). A value below 1 ensures that the wealth
#: remains positive.
MAX_STAKE = 0.98
#: Largest absolute score zᵢ. Outliers and breakdowns have this score.
MAX_SCORE = 2.0


class Evidence(NamedTuple):
    """The log wealth of two one-sided bets after each of n pairs, in arrays of shape (..., n).

    Each of the two bets is the weighted mean of the bets in `BETS`, and starts with the wealth ½.

    Args:
        better: log wealth of the bet that the centre is above θ.
        worse: log wealth of the bet that the centre is below θ.
    """

    better: Floats
    worse: Floats


def log_evidence(differences: ArrayLike, *, centre: ArrayLike = 0.0, scales: ArrayLike | None = None) -> Evidence:
    """Return the e-process of the null hypothesis "symmetric about `centre`" after each pair, as two one-sided bets.

    The probability that the wealth of one bet ever reaches 1/α is at most α/2. For the two bets together, the
    probability is therefore at most α.

    Args:
        differences: array of shape (..., n), in the order of the pairs; ±inf for a pair with one run that broke down.
        centre: the centre θ, a number or an array of shape (...).
        scales: array of shape (..., n), the result of `past_scales(differences)`; None to compute it.

    >>> import numpy as np
    >>> np.exp(log_evidence([1.0] * 6).better).round(2).tolist()
    [0.88, 1.57, 3.0, 5.78, 11.17, 21.66]
    """
    import numpy as np

    scores = standard_scores(differences, centre=centre, scales=scales)
    halves = (mix_bets(np.cumsum(log_factors(sign * scores), axis=-1)) - np.log(2) for sign in (1.0, -1.0))
    return Evidence(*halves)


def standard_scores(differences: ArrayLike, *, centre: ArrayLike = 0.0, scales: ArrayLike | None = None) -> Floats:
    """Return the scores z in an array of shape (..., n); see `scale_scores`.

    Args:
        differences, centre, scales: see `log_evidence`.
    """
    import numpy as np

    x = np.asarray(differences, dtype=float)
    scale = past_scales(x) if scales is None else np.asarray(scales, dtype=float)
    deviations = x - np.asarray(centre, dtype=float)[..., None]
    return scale_scores(deviations, np.broadcast_to(scale, deviations.shape))


def scale_scores(deviations: Floats, scale: Floats) -> Floats:
    """Divide deviations from the centre by their scales, and clip the scores to [−`MAX_SCORE`, `MAX_SCORE`].

    If the scale is NaN (unknown), a finite deviation has the score ±1. If the scale is 0 or the deviation is infinite,
    the score is ±`MAX_SCORE`. The sign of the score is the sign of the deviation.

    Args:
        deviations: differences minus the centre; ±inf for a pair with one run that broke down.
        scale: scale of each deviation, in an array of the same shape.
    """
    import numpy as np

    signs = np.sign(deviations)
    # A ratio that overflows is clipped to `MAX_SCORE`.
    with np.errstate(over="ignore"):
        ratios = np.divide(deviations, scale, out=signs * MAX_SCORE, where=scale > 0)
    return np.where(np.isnan(scale) & np.isfinite(deviations), signs, np.clip(ratios, -MAX_SCORE, MAX_SCORE))


def fewest_deciding_pairs(alpha: float) -> int:
    """Return the smallest number of pairs that can decide a gate at the error level alpha.

    This number suffices in the most extreme case: every run of one submission breaks down, and every run of the other
    completes.

    Raises:
        UsageError: alpha is outside (0, 1).

    >>> fewest_deciding_pairs(0.05), fewest_deciding_pairs(0.001)
    (6, 12)
    """
    import numpy as np

    check_gate(alpha, 0.0)
    scores = np.full(math.ceil(-2 * math.log(alpha)) + 8, MAX_SCORE)
    log_wealth = mix_bets(np.cumsum(log_factors(scores), axis=-1)) - np.log(2)
    return int(np.argmax(log_wealth >= -math.log(alpha))) + 1


def log_factors(scores: Floats) -> Floats:
    """Return log(1 + `MAX_STAKE` · tanh(δ z)) for each δ of `BETS`.

    For scores z of shape (..., n), the result has the shape (bets, ..., n).
    """
    import numpy as np

    effects = np.array([effect for _, effect in BETS]).reshape(-1, *[1] * np.ndim(scores))
    return np.asarray(np.log1p(MAX_STAKE * np.tanh(effects * scores)))


def mix_bets(log_wealth: Floats) -> Floats:
    """Return the log of the weighted mean of the wealth over the bets.

    The argument has the shape (bets, ...), and the result has the shape (...).
    """
    import numpy as np

    weights = np.log([weight for weight, _ in BETS]).reshape(-1, *[1] * (log_wealth.ndim - 1))
    return np.asarray(np.logaddexp.reduce(log_wealth + weights, axis=0))
