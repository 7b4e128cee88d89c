"""Forecasts how many more pairs a gate needs, from the present estimate and spread."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from harness.scoring.sample_size import MIN_EFFECT
from harness.scoring.sequential.differences import check_differences, check_gate
from harness.scoring.sequential.evidence import log_factors, mix_bets, scale_scores, standard_scores
from harness.scoring.sequential.scale import MIN_FINITE, shamos_scale
from harness.scoring.sequential.verdict import ALPHA, decide
from harness.scoring.stats import hodges_lehmann

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

#: Simulated continuations; their median moves by about a tenth of its value from one draw to another.
CONTINUATIONS = 200


def forecast_pairs(
    differences: Sequence[float], *, alpha: float = ALPHA, min_effect: float = MIN_EFFECT, limit: int = 200
) -> int | None:
    """Median of the further pairs until the gate decides, if the present estimate and spread are the true ones.

    The gate is continued with normal differences around the estimate of the finite ones, and with as many ties and
    breaks as there were; the same pairs give the same answer. It is a display, not a promise: the estimate of few
    pairs is rough, and the forecast with it.

    Args:
        differences: as for `decide`.
        alpha, min_effect: of the gate.
        limit: further pairs that are looked at.

    Returns:
        0 where the gate has decided; None where one pair alone, or one finite difference alone, says nothing of the
        spread, and where more than `limit` pairs are needed.

    Raises:
        UsageError: as `decide`; a limit below 1 gives None.

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
    if len(x) < MIN_FINITE or len(finite) == 1 or limit < 1:
        return None
    spread = float(shamos_scale(finite)) if finite.size else math.nan
    future = _draw_future(x, hodges_lehmann(finite.tolist()) if finite.size else 0.0, spread, limit)
    ended = _decisions(x, future, spread, -math.log(alpha), min_effect)
    first = np.where(ended.any(axis=1), ended.argmax(axis=1) + 1, limit + 1)
    median = math.ceil(np.median(first))
    return median if median <= limit else None


def _draw_future(x: Floats, centre: float, spread: float, limit: int) -> Floats:
    """(CONTINUATIONS, limit): normal where a random past pair was finite and no tie, that pair itself elsewhere."""
    import numpy as np

    # Pair by pair from two generators: a larger limit continues the same futures.
    past = np.random.default_rng(0).choice(x, (limit, CONTINUATIONS)).T
    drawn = centre + spread * np.random.default_rng(1).standard_normal((limit, CONTINUATIONS)).T
    return np.where(np.isfinite(past) & (past != 0), drawn, past)


def _decisions(x: Floats, future: Floats, spread: float, threshold: float, min_effect: float) -> NDArray[np.bool_]:
    """Whether a continuation is decided after each further pair: (CONTINUATIONS, limit)."""
    import numpy as np

    def reached(sign: float, centre: float) -> NDArray[np.bool_]:
        past = log_factors(sign * standard_scores(x, centre=centre)).cumsum(axis=-1)
        away = future - centre
        wealth = past[:, -1, None, None] + log_factors(sign * scale_scores(away, np.full(away.shape, spread))).cumsum(
            axis=-1
        )
        peak = float(mix_bets(past).max())
        evidence = np.maximum(np.maximum.accumulate(mix_bets(wealth), axis=-1), peak) - math.log(2)
        return np.asarray(evidence >= threshold)

    estimate = _running_estimate(x, future)
    better = reached(1.0, 0.0) & (estimate >= min_effect)
    worse = reached(-1.0, 0.0) & (estimate <= -min_effect)
    return better | worse | (reached(1.0, -min_effect) & reached(-1.0, min_effect))


def _running_estimate(x: Floats, future: Floats) -> Floats:
    """The mean of the finite pairs so far; the Hodges–Lehmann estimate of normal differences is close to it."""
    import numpy as np

    finite = x[np.isfinite(x)]
    if not finite.size:
        return np.full(future.shape, hodges_lehmann(x.tolist()))
    start = len(finite) * hodges_lehmann(finite.tolist())
    known = np.isfinite(future)
    return np.asarray((start + np.where(known, future, 0.0).cumsum(axis=1)) / (len(finite) + known.cumsum(axis=1)))
