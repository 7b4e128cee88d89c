"""The confidence sequence: at every look the centres against which the evidence has never reached 1/α.

Source: Time-Uniform, Nonparametric, Nonasymptotic Confidence Sequences, Howard, Ramdas, McAuliffe and Sekhon 2021,
    arXiv 1810.08240 (a confidence sequence is the inversion of tests that hold at every look)
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

#: Halvings of the bracket around an end; the ends are then exact to rounding.
HALVINGS = 80


class CentreInterval(NamedTuple):
    """The centres that are not excluded: from `low` to `high`, ±inf where a side is open; empty if low > high."""

    low: float
    high: float

    @property
    def empty(self) -> bool:
        """Whether every centre is excluded: early and late pairs cannot come from one symmetric law."""
        return self.low > self.high


def confidence_sequence(
    differences: Sequence[float], *, alpha: float = 0.05, scales: Floats | None = None
) -> CentreInterval:
    """The interval for the centre after all these pairs, the intersection of those after each of them.

    If each difference is symmetric about the centre, the centre lies in it at every look with probability 1 − alpha. It
    is (−inf, inf) until enough pairs (`fewest_deciding_pairs`: six at 5 %) agree. Breaks may leave one side open; both ends are
    +inf where breaks of B alone exclude every finite centre.

    Args:
        differences: one per pair, in the order of the pairs; ±inf for a pair in which one side broke.
        alpha: error of both ends together.
        scales: `past_scales(differences)` where it has been computed already.

    Raises:
        UsageError: no differences, NaN, or alpha outside (0, 1).

    >>> confidence_sequence([0.02] * 5), confidence_sequence([0.02] * 6)
    (CentreInterval(low=-inf, high=inf), CentreInterval(low=0.02, high=0.02))
    """
    import numpy as np

    check_differences(differences)
    check_gate(alpha, 0.0)
    x = np.asarray(differences, dtype=float)
    scales = past_scales(x) if scales is None else scales
    low = _lower_end(x, scales, -math.log(alpha))
    # The mirrored differences give the other end; 0.0 - x turns -0.0 into 0.0.
    return CentreInterval(low=low, high=0.0 - _lower_end(-x, scales, -math.log(alpha)))


def _lower_end(x: Floats, scales: Floats, threshold: float) -> float:
    """The largest centre against which `better` has reached the threshold; it falls in the centre."""
    import numpy as np

    def excluded(centre: float) -> bool:
        return bool(log_evidence(x, centre=centre, scales=scales).better.max() >= threshold)

    finite = x[np.isfinite(x)]
    if not finite.size:
        return math.inf if excluded(0.0) else -math.inf
    # Beyond this margin every finite difference has the largest score there is, and nothing changes any more.
    margin = MAX_SCORE * float(np.nanmax(scales, initial=0.0)) + float(np.abs(finite).max()) + 1.0
    left, right = float(finite.min()) - margin, float(finite.max()) + margin
    if not excluded(left):
        return -math.inf
    if excluded(right):
        return math.inf
    for _ in range(HALVINGS):
        middle = (left + right) / 2
        left, right = (middle, right) if excluded(middle) else (left, middle)
    # Where the evidence jumps, as with constant differences, it jumps at one of them.
    jumps = finite[(left < finite) & (finite <= right)]
    return float(jumps.min()) if jumps.size else right
