"""Curriculum model averaging: an exponential average over the last few checkpoints of a run that hardly decays.

Source: How Learning Rate Decay Wastes Your Best Data in Curriculum-Based LLM Pretraining, arXiv 2511.18903; which end
the average is begun from is not said there, and it is begun from the oldest checkpoint here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from harness.api import Integer, PartEntry, Source, Uniform
from submissions.averaging.common import Checkpoints

if TYPE_CHECKING:
    from torch import nn

ENTRY = PartEntry(
    kind="averaging",
    name="cma",
    load=f"{__name__}:Cma",
    summary="evaluates an exponential average over the last few checkpoints",
    space={
        "merge_count": Integer(2, 12, default=6, limits=(1, None)),
        # In updates: merging is meant to know no horizon.
        "merge_every": Integer(2, 50, default=10, limits=(1, None)),
        "merge_alpha": Uniform(0.1, 0.5, default=0.2, limits=(0.0, 1.0)),
    },
    sources=(
        Source(
            title="How Learning Rate Decay Wastes Your Best Data in Curriculum-Based LLM Pretraining",
            arxiv="2511.18903",
        ),
    ),
)


class Cma(Checkpoints):
    """Implements `harness.api.Averager`: M ← αθ + (1 − α)M over the checkpoints kept, begun with the oldest.

    Args:
        model: whose trained parameters are merged.
        merge_count: checkpoints kept, at most.
        merge_every: updates between two of them.
        merge_alpha: α, the weight of the newest.
    """

    def __init__(self, model: nn.Module, merge_count: int, merge_every: int, merge_alpha: float) -> None:
        super().__init__(model, merge_count, merge_every)
        self._alpha = merge_alpha

    def weights(self, n: int) -> Sequence[float]:
        """(1 − α)ⁿ⁻¹ for the oldest, α(1 − α)ⁿ⁻¹⁻ʲ for the j-th after it."""
        newer = [self._alpha * (1 - self._alpha) ** (n - 1 - j) for j in range(1, n)]
        return [(1 - self._alpha) ** (n - 1), *newer]
