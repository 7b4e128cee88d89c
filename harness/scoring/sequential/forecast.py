"""Forecasts the number of further pairs that a gate needs, by simulation from the pairs so far."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from harness.scoring.sample_size import MIN_EFFECT
from harness.scoring.sequential.differences import check_differences, check_gate
from harness.scoring.sequential.evidence import log_factors, mix_bets, scale_scores, standard_scores
from harness.scoring.sequential.scale import shamos_scale
from harness.scoring.sequential.verdict import ALPHA, decide
from harness.scoring.stats import hodges_lehmann

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

#: Number of simulated continuations. With this number, the forecast varies by about 10 % between random seeds.
CONTINUATIONS = 200


def forecast_pairs(
    differences: Sequence[float], *, alpha: float = ALPHA, min_effect: float = MIN_EFFECT, limit: int = 200
) -> int | None:
    """Return the median number of further pairs until the gate has a verdict.

    The gate is continued with simulated pairs, whose random numbers have fixed seeds:

    - Differences of 0, and infinite differences (one run of the pair broke down), are as frequent as so far.
    - All other differences are normal. Their centre and scale are estimated from the finite differences so far.

    With few pairs, these estimates are imprecise, so the result is meant for display only.

    Args:
        differences: differences as for `decide`.
        alpha: error level of the gate.
        min_effect: smallest effect that is relevant, as a log ratio.
        limit: largest number of further pairs to simulate.

    Returns:
        The number of pairs; 0 if the gate has a verdict. None if there is only one pair or one finite difference, if
        more than `limit` pairs are needed, or if the limit is below 1.

    Raises:
        UsageError: the differences or the settings of the gate are invalid, as in `decide`.

    >>> forecast_pairs([0.05, 0.09, 0.04]), forecast_pairs([0.05, 0.09, 0.04, 0.06, 0.05, 0.07, 0.05])
    (4, 0)
    """
    import numpy as np

    check_differences(differences)
    check_gate(alpha, min_effect)
    if decide(differences, alpha=alpha, min_effect=min_effect).decided:
        return 0
    x = np.asarray(differences, dtype=float)
    finite = x[np.isfinite(x)]
    if len(x) < 2 or len(finite) == 1 or limit < 1:
        return None
    scale = float(shamos_scale(finite)) if finite.size else math.nan
    future = _draw_future(x, hodges_lehmann(finite.tolist()) if finite.size else 0.0, scale, limit)
    decided = _decisions(x, future, scale, -math.log(alpha), min_effect)
    pairs_to_decision = np.where(decided.any(axis=1), decided.argmax(axis=1) + 1, limit + 1)
    median = math.ceil(np.median(pairs_to_decision))
    return median if median <= limit else None


def _draw_future(x: Floats, centre: float, scale: float, limit: int) -> Floats:
    """Draw further differences, in an array of shape (CONTINUATIONS, limit).

    For each further difference, a past difference is drawn at random. If it is 0 or infinite, it is used again. If it
    has another value, the further difference is drawn from a normal distribution.
    """
    import numpy as np

    # Two generators draw the pairs in order, so that a larger limit extends the same continuations.
    past = np.random.default_rng(0).choice(x, (limit, CONTINUATIONS)).T
    normal = centre + scale * np.random.default_rng(1).standard_normal((limit, CONTINUATIONS)).T
    return np.where(np.isfinite(past) & (past != 0), normal, past)


def _decisions(x: Floats, future: Floats, scale: float, threshold: float, min_effect: float) -> NDArray[np.bool_]:
    """Return whether each continuation is decided after each further pair, in an array (CONTINUATIONS, limit)."""
    import numpy as np

    def excludes(sign: float, centre: float) -> NDArray[np.bool_]:
        """Return whether the evidence excludes a centre, after each further pair.

        The evidence is the wealth of bets that the differences deviate from the centre in this direction; see
        `evidence`.
        """
        past = log_factors(sign * standard_scores(x, centre=centre)).cumsum(axis=-1)
        deviations = future - centre
        future_scores = scale_scores(deviations, np.full(deviations.shape, scale))
        wealth = past[:, -1, None, None] + log_factors(sign * future_scores).cumsum(axis=-1)
        past_peak = float(mix_bets(past).max())
        evidence = np.maximum(np.maximum.accumulate(mix_bets(wealth), axis=-1), past_peak) - math.log(2)
        return np.asarray(evidence >= threshold)

    estimate = _running_estimate(x, future)
    better = excludes(1.0, 0.0) & (estimate >= min_effect)
    worse = excludes(-1.0, 0.0) & (estimate <= -min_effect)
    return better | worse | (excludes(1.0, -min_effect) & excludes(-1.0, min_effect))


def _running_estimate(x: Floats, future: Floats) -> Floats:
    """Return an approximation of the estimate of `decide` after each further pair.

    It is the mean of the finite differences. In this mean, the Hodges–Lehmann estimate replaces each past difference.
    """
    import numpy as np

    finite = x[np.isfinite(x)]
    if not finite.size:
        return np.full(future.shape, hodges_lehmann(x.tolist()))
    past_sum = len(finite) * hodges_lehmann(finite.tolist())
    is_finite = np.isfinite(future)
    sums = past_sum + np.where(is_finite, future, 0.0).cumsum(axis=1)
    return np.asarray(sums / (len(finite) + is_finite.cumsum(axis=1)))
