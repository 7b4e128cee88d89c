"""Warmup-stable-merge: checkpoints of a constant learning rate merged so that they stand for a decay.

Source: WSM: Decay-Free Learning Rate Schedule via Checkpoint Merging for LLM Pre-training, arXiv 2507.17634, where
checkpoint weights and decay multipliers are converted into each other.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from harness.api import Choice, Integer, PartEntry, Source
from submissions.averaging.common import Checkpoints

if TYPE_CHECKING:
    from torch import nn

#: γ(x), the multiplier of the learning rate at the share x of the decay that is stood for; γ(0) = 1, γ(1) = 0.
SHAPES: dict[str, Callable[[float], float]] = {
    "linear": lambda x: 1 - x,
    "1-sqrt": lambda x: 1 - math.sqrt(x),
    "cosine": lambda x: 0.5 * (1 + math.cos(math.pi * x)),
}

ENTRY = PartEntry(
    kind="averaging",
    name="wsm",
    load=f"{__name__}:Wsm",
    summary="evaluates the last checkpoints merged with the weights that stand for a decay of the learning rate",
    space={
        "merge_count": Integer(2, 16, default=8, limits=(1, None)),
        # In updates: merging is meant to know no horizon.
        "merge_every": Integer(2, 50, default=8, limits=(1, None)),
        "merge_shape": Choice(tuple(SHAPES)),
    },
    sources=(
        Source(
            title="WSM: Decay-Free Learning Rate Schedule via Checkpoint Merging for LLM Pre-training",
            arxiv="2507.17634",
        ),
    ),
)


class Wsm(Checkpoints):
    """Implements `harness.api.Averager`.

    Σⱼ cⱼθⱼ takes the updates between checkpoints i − 1 and i with the multiplier γᵢ = Σ_{j≥i} cⱼ, so cⱼ = γⱼ − γⱼ₊₁.

    Args:
        model: whose trained parameters are merged.
        merge_count: checkpoints kept, at most.
        merge_every: updates between two of them.
        merge_shape: one of `SHAPES`.
    """

    def __init__(self, model: nn.Module, merge_count: int, merge_every: int, merge_shape: str) -> None:
        super().__init__(model, merge_count, merge_every)
        self._gamma = SHAPES[merge_shape]

    def weights(self, n: int) -> Sequence[float]:
        """γ(j/n) − γ((j + 1)/n)."""
        return [self._gamma(j / n) - self._gamma((j + 1) / n) for j in range(n)]
