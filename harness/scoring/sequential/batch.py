"""The verdicts of many gates at once, each looked at after every pair until it decides: for simulations."""

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
    Reached = NDArray[np.bool_]

#: Gates worked on at a time, so that the pairwise distances fit into the cache.
GATES_PER_BATCH = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class GateRuns:
    """The outcomes of many gates.

    Args:
        outcomes: of each gate.
        pairs: at which it was decided; the number of pairs there were if it was not.
    """

    outcomes: tuple[GateOutcome, ...]
    pairs: tuple[int, ...]

    def rate(self, *outcomes: GateOutcome) -> float:
        """Share of the gates with one of these outcomes."""
        return sum(outcome in outcomes for outcome in self.outcomes) / len(self.outcomes)


def run_gates(differences: ArrayLike, *, alpha: float = ALPHA, min_effect: float = MIN_EFFECT) -> GateRuns:
    """`decide` after every pair of every row until it is not `undecided`, without computing any interval's ends.

    The evidence falls in the centre, so three centres (−min_effect, 0 and min_effect) tell where the interval lies.

    Args:
        differences: (gates, pairs), no NaN.
        alpha, min_effect: of each gate.

    Raises:
        UsageError: an unusable alpha or min_effect.
    """
    import numpy as np

    check_gate(alpha, min_effect)
    x = np.asarray(differences, dtype=float)
    outcomes: list[GateOutcome] = []
    pairs: list[int] = []
    for start in range(0, len(x), GATES_PER_BATCH):
        rows = x[start : start + GATES_PER_BATCH]
        bounds = _bound_intervals(rows, -math.log(alpha), min_effect)
        for i, row in enumerate(rows):
            outcome, n = _first_decision(row, bounds[:, i], min_effect)
            outcomes.append(outcome)
            pairs.append(n)
    return GateRuns(outcomes=tuple(outcomes), pairs=tuple(pairs))


def _bound_intervals(rows: Floats, threshold: float, min_effect: float) -> Reached:
    """(6, gates, pairs): whether each of −min_effect, 0, min_effect lies below the interval; whether it lies above."""
    import numpy as np

    scales = past_scales(rows)
    sides = [log_evidence(rows, centre=centre, scales=scales) for centre in (-min_effect, 0.0, min_effect)]
    log_wealth = np.array([side.better for side in sides] + [side.worse for side in sides])
    return np.asarray(np.maximum.accumulate(log_wealth, axis=-1) >= threshold)


def _first_decision(row: Floats, bounds: Reached, min_effect: float) -> tuple[GateOutcome, int]:
    import numpy as np

    # Nothing is decided while 0 and either of ±min_effect fit.
    possible = bounds[1] | bounds[4] | (bounds[0] & bounds[5])
    for n in np.flatnonzero(possible) + 1:
        position = bounds[:, n - 1].tolist()
        outcome = judge_position(position[:3], position[3:], hodges_lehmann(row[:n].tolist()), min_effect)
        if outcome != "undecided":
            return outcome, int(n)
    return "undecided", len(row)
