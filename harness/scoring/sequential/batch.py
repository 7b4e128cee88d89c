"""Computes the outcomes of many simulated gates at once. Each gate ends at its first decision."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.scoring.sample_size import MIN_EFFECT
from harness.scoring.sequential.differences import check_gate
from harness.scoring.sequential.evidence import log_evidence
from harness.scoring.sequential.scale import past_scales
from harness.scoring.sequential.verdict import ALPHA, GateOutcome, judge_position
from harness.scoring.stats import hodges_lehmann

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float64]
    Booleans = NDArray[np.bool_]

#: Number of gates that are computed together. `past_scales` stores the distances between all differences of a gate. For
#: 1000 gates, the distances fit into the processor's cache.
GATES_PER_BATCH = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class GateRuns:
    """The outcomes of many gates.

    Args:
        outcomes: outcome of each gate.
        pairs: number of pairs after which each gate was decided; for an undecided gate, the number of all pairs.
    """

    outcomes: tuple[GateOutcome, ...]
    pairs: tuple[int, ...]

    def rate(self, *outcomes: GateOutcome) -> float:
        """Return the fraction of gates that have one of these outcomes."""
        return sum(outcome in outcomes for outcome in self.outcomes) / len(self.outcomes)


def run_gates(differences: ArrayLike, *, alpha: float = ALPHA, min_effect: float = MIN_EFFECT) -> GateRuns:
    """Return the outcome of each gate after the first pair for which `decide` does not return `undecided`.

    The ends of the confidence sequences are not computed. The evidence for `better` decreases with the centre, and the
    evidence for `worse` increases with the centre. The evidence at the three centres −min_effect, 0 and min_effect
    therefore suffices to place these centres relative to the interval. The outcome depends only on this position and on
    the estimate.

    Args:
        differences: array of shape (gates, pairs), without NaN.
        alpha: error level of each gate, the probability of a false outcome `better` or `worse`.
        min_effect: smallest effect that is relevant, as a log ratio.

    Raises:
        UsageError: alpha or min_effect is out of range.
    """
    import numpy as np

    check_gate(alpha, min_effect)
    x = np.asarray(differences, dtype=float)
    outcomes: list[GateOutcome] = []
    pairs: list[int] = []
    for start in range(0, len(x), GATES_PER_BATCH):
        rows = x[start : start + GATES_PER_BATCH]
        excluded = _excluded_centres(rows, -math.log(alpha), min_effect)
        for i, row in enumerate(rows):
            outcome, n = _first_decision(row, excluded[:, i], min_effect)
            outcomes.append(outcome)
            pairs.append(n)
    return GateRuns(outcomes=tuple(outcomes), pairs=tuple(pairs))


def _excluded_centres(rows: Floats, threshold: float, min_effect: float) -> Booleans:
    """Return an array of shape (6, gates, pairs).

    The rows 0 to 2 say whether −min_effect, 0 and min_effect are below the confidence sequence. The rows 3 to 5 say
    whether these three values are above the confidence sequence.
    """
    import numpy as np

    scales = past_scales(rows)
    evidence = [log_evidence(rows, centre=centre, scales=scales) for centre in (-min_effect, 0.0, min_effect)]
    log_wealth = np.array([at_centre.better for at_centre in evidence] + [at_centre.worse for at_centre in evidence])
    return np.asarray(np.maximum.accumulate(log_wealth, axis=-1) >= threshold)


def _first_decision(row: Floats, excluded: Booleans, min_effect: float) -> tuple[GateOutcome, int]:
    """Return the outcome of one gate, and the number of pairs after which it was decided."""
    import numpy as np

    lower_is_below, zero_is_below, _, _, zero_is_above, upper_is_above = excluded
    # A decision requires that 0 is excluded, or that both −min_effect and min_effect are excluded.
    decidable = zero_is_below | zero_is_above | (lower_is_below & upper_is_above)
    for n in np.flatnonzero(decidable) + 1:
        position = excluded[:, n - 1].tolist()
        outcome = judge_position(position[:3], position[3:], hodges_lehmann(row[:n].tolist()), min_effect)
        if outcome != "undecided":
            return outcome, int(n)
    return "undecided", len(row)
