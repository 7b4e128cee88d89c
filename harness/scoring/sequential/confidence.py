"""Computes the confidence sequence of a gate: one interval after every pair, all valid at the same time.

The interval after a pair contains the centres that no pair so far has excluded. A centre is excluded when the evidence
against it reaches 1/α.

Source: Time-Uniform, Nonparametric, Nonasymptotic Confidence Sequences, Howard, Ramdas, McAuliffe and Sekhon 2021,
    arXiv 1810.08240 (a confidence sequence inverts tests that are valid after every observation)
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from harness.scoring.sequential.differences import check_differences, check_gate
from harness.scoring.sequential.evidence import MAX_SCORE, log_evidence
from harness.scoring.sequential.scale import past_scales

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

#: Number of bisection steps for an end of the interval. It suffices for floating-point precision.
BISECTION_STEPS = 80


class CentreInterval(NamedTuple):
    """The interval of centres that are not excluded.

    Args:
        low: lower end; -inf if no centre is excluded as too low.
        high: upper end; inf if no centre is excluded as too high. If `low > high`, the interval is empty.
    """

    low: float
    high: float

    @property
    def empty(self) -> bool:
        """Whether every centre is excluded. No symmetric distribution is then consistent with all pairs."""
        return self.low > self.high


def confidence_sequence(
    differences: Sequence[float], *, alpha: float = 0.05, scales: Floats | None = None
) -> CentreInterval:
    """Return the interval for the centre after all given pairs: the intersection of the intervals after each pair.

    If each difference is symmetric about the centre, the probability that all intervals contain the centre is at least
    1 − alpha. The interval is (−inf, inf) until there are enough pairs (`fewest_deciding_pairs`: six for alpha 0.05).
    If runs of A or B broke down, one end may remain infinite. Both ends are +inf if breakdowns of B exclude every
    finite centre.

    Args:
        differences: one difference for each pair, in the order of the pairs; ±inf for a pair with one run that broke
            down.
        alpha: upper bound of the probability that the centre is outside at least one of the intervals.
        scales: the result of `past_scales(differences)`; None to compute it.

    Raises:
        UsageError: there are no differences, a difference is NaN, or alpha is outside (0, 1).

    >>> confidence_sequence([0.02] * 5), confidence_sequence([0.02] * 6)
    (CentreInterval(low=-inf, high=inf), CentreInterval(low=0.02, high=0.02))
    """
    import numpy as np

    check_differences(differences)
    check_gate(alpha, 0.0)
    x = np.asarray(differences, dtype=float)
    scales = past_scales(x) if scales is None else scales
    low = _lower_end(x, scales, -math.log(alpha))
    # The negated differences give the upper end. `0.0 - x` replaces -0.0 by 0.0.
    return CentreInterval(low=low, high=0.0 - _lower_end(-x, scales, -math.log(alpha)))


def _lower_end(x: Floats, scales: Floats, threshold: float) -> float:
    """Return the largest centre for which the log evidence for `better` has reached the threshold."""
    import numpy as np

    def excluded(centre: float) -> bool:
        return bool(log_evidence(x, centre=centre, scales=scales).better.max() >= threshold)

    finite = x[np.isfinite(x)]
    if not finite.size:
        return math.inf if excluded(0.0) else -math.inf
    # Beyond this margin every finite difference has the largest score, so the evidence does not depend on the centre.
    margin = MAX_SCORE * float(np.nanmax(scales, initial=0.0)) + float(np.abs(finite).max()) + 1.0
    left, right = float(finite.min()) - margin, float(finite.max()) + margin
    if not excluded(left):
        return -math.inf
    if excluded(right):
        return math.inf
    for _ in range(BISECTION_STEPS):
        middle = (left + right) / 2
        left, right = (middle, right) if excluded(middle) else (left, middle)
    # The evidence may be discontinuous, for example for equal differences. It then jumps at one of the differences.
    jumps = finite[(left < finite) & (finite <= right)]
    return float(jumps.min()) if jumps.size else right
