"""The e-process of a gate: bets on the sign of each difference that are fair under every symmetric distribution.

The null hypothesis is that each difference is symmetric about a centre θ, given the previous pairs. Then dᵢ − θ is
positive with probability ½, even given its size. A bet on positive differences multiplies the wealth by

    1 + c · tanh(δ · zᵢ),    zᵢ = (dᵢ − θ) / (scale of the pairs before i), clipped to [−2, 2],    c = 0.98.

With c = 1 and without clipping, the factor is e^(δz) / cosh(δz), the likelihood ratio of the sign given the size for a
normal distribution whose mean is δ standard deviations. Each factor has mean 1 under the null hypothesis. So the
product is a nonnegative martingale, and so is its mean over several δ (`BETS`). By Ville's inequality, the probability
that it ever reaches 1/α is at most α.

No assumption is made about the sizes. They may have heavy tails, depend on previous pairs, or be infinite (a run broke
down). Differences that are not symmetric about θ are evidence against θ, even if their mean or median is θ: for
exponential differences with mean 0, a tenth of the gates is decided within 40 pairs (`docs/measured/sequential.txt`).
The difference of two exchangeable runs is always symmetric about 0.

Every factor increases with dᵢ − θ, and the scales do not depend on θ. So the evidence that the centre is above θ
decreases in θ.

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

#: (weight, δ) of each bet; δ is an effect in units of the scale. Half of the weight is on an effect that can be decided
#: with six pairs. A tenth is on an effect of a quarter of the scale, which takes about two hundred pairs.
BETS = ((0.5, 3.0), (0.2, 1.0), (0.2, 0.5), (0.1, 0.25))
#: Largest fraction of the wealth that is staked on one pair. It is below 1 so that no pair reduces the wealth to zero.
MAX_STAKE = 0.98
#: Largest absolute score zᵢ. Outliers and breakdowns have this score.
MAX_SCORE = 2.0


class Evidence(NamedTuple):
    """The log wealth of both one-sided bets after each pair, in arrays of shape (..., n). Both start at log ½.

    Args:
        better: log wealth of the bet that the centre is above θ.
        worse: log wealth of the bet that the centre is below θ.
    """

    better: Floats
    worse: Floats


def log_evidence(differences: ArrayLike, *, centre: ArrayLike = 0.0, scales: ArrayLike | None = None) -> Evidence:
    """Return the e-process of the null hypothesis "symmetric about `centre`" after each pair, in two one-sided halves.

    The probability that a half ever reaches 1/α is at most α/2, so the error of both together is at most α.

    Args:
        differences: array of shape (..., n), in the order of the pairs; ±inf where one side broke down.
        centre: θ, a number or an array of shape (...).
        scales: array of shape (..., n), `past_scales(differences)`; None to compute it.

    >>> import numpy as np
    >>> np.exp(log_evidence([1.0] * 6).better).round(2).tolist()
    [0.88, 1.57, 3.0, 5.78, 11.17, 21.66]
    """
    import numpy as np

    scores = standard_scores(differences, centre=centre, scales=scales)
    halves = (mix_bets(np.cumsum(log_factors(sign * scores), axis=-1)) - np.log(2) for sign in (1.0, -1.0))
    return Evidence(*halves)


def standard_scores(differences: ArrayLike, *, centre: ArrayLike = 0.0, scales: ArrayLike | None = None) -> Floats:
    """Return the scores z, an array of shape (..., n); see `scale_scores` and, for the arguments, `log_evidence`."""
    import numpy as np

    x = np.asarray(differences, dtype=float)
    scale = past_scales(x) if scales is None else np.asarray(scales, dtype=float)
    deviations = x - np.asarray(centre, dtype=float)[..., None]
    return scale_scores(deviations, np.broadcast_to(scale, deviations.shape))


def scale_scores(deviations: Floats, scale: Floats) -> Floats:
    """Divide deviations from the centre by their scales, and clip the scores to [−`MAX_SCORE`, `MAX_SCORE`].

    If the scale is NaN (not yet known), a finite deviation has the score ±1. If the scale is 0, or the deviation is
    infinite, the score is ±`MAX_SCORE`.

    Args:
        deviations: differences from the centre; ±inf where one side broke down.
        scale: scale of each deviation, in an array of the same shape.
    """
    import numpy as np

    signs = np.sign(deviations)
    # A ratio that overflows is clipped to `MAX_SCORE`.
    with np.errstate(over="ignore"):
        ratios = np.divide(deviations, scale, out=signs * MAX_SCORE, where=scale > 0)
    return np.where(np.isnan(scale) & np.isfinite(deviations), signs, np.clip(ratios, -MAX_SCORE, MAX_SCORE))


def fewest_deciding_pairs(alpha: float) -> int:
    """Return the smallest number of pairs that can decide a gate at this error level.

    It is the number of pairs in the most extreme case, in which the same side breaks down in every pair.

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
    """Return log(1 + `MAX_STAKE` · tanh(δ z)) for each δ of `BETS`, in the shape (bets, ..., n) for scores (..., n)."""
    import numpy as np

    effects = np.array([effect for _, effect in BETS]).reshape(-1, *[1] * np.ndim(scores))
    return np.asarray(np.log1p(MAX_STAKE * np.tanh(effects * scores)))


def mix_bets(log_wealth: Floats) -> Floats:
    """Return the log of the wealth averaged over the bets with their weights: shape (bets, ...) -> (...)."""
    import numpy as np

    weights = np.log([weight for weight, _ in BETS]).reshape(-1, *[1] * (log_wealth.ndim - 1))
    return np.asarray(np.logaddexp.reduce(log_wealth + weights, axis=0))
