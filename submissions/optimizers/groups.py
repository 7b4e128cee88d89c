"""How parameters are grouped for an optimizer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from harness.api import Parameter

#: Weight decay shrinks what multiplies activations; scales and offsets are left alone.
DECAYED = frozenset({"matrix", "conv", "embedding", "head"})


def decay_groups(parameters: Sequence[Parameter], weight_decay: float) -> list[dict[str, Any]]:
    """Two parameter groups: matrices, convolutions, embeddings and heads with weight decay, the rest without."""
    decayed = [p.tensor for p in parameters if p.kind in DECAYED]
    others = [p.tensor for p in parameters if p.kind not in DECAYED]
    groups = [{"params": decayed, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}]
    return [group for group in groups if group["params"]]
