"""LAMB.

Source: Large Batch Optimization for Deep Learning: Training BERT in 76 minutes, arXiv 1904.00962, algorithm 2.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from harness.api import Fixed, LogUniform, PartEntry, Source
from submissions.optimizers.domains import BETA1, BETA2, WEIGHT_DECAY
from submissions.optimizers.groups import DECAYED, decay_groups

if TYPE_CHECKING:
    import torch

    from harness.api import Parameter

ENTRY = PartEntry(
    kind="optimizer",
    name="lamb",
    load=f"{__name__}:lamb",
    summary="Adam with steps in proportion to each tensor's norm, for large batches",
    space={
        "lr": LogUniform(3e-3, 1e-1, default=2e-2),
        "beta1": BETA1,
        "beta2": BETA2,
        "weight_decay": WEIGHT_DECAY,
        "eps": Fixed(1e-6, limits=(0.0, None)),
    },
    sources=(
        Source(
            title="Large Batch Optimization for Deep Learning: Training BERT in 76 minutes",
            arxiv="1904.00962",
            equation="algorithm 2",
        ),
    ),
)


def lamb(
    parameters: Sequence[Parameter], lr: float, beta1: float, beta2: float, weight_decay: float, eps: float
) -> torch.optim.Optimizer:
    """LAMB; norms and biases have neither decay nor the ratio of norms, as in the authors' code."""
    from submissions.optimizers.own.lamb import Lamb

    decayed = decay_groups([p for p in parameters if p.kind in DECAYED], weight_decay)
    others = decay_groups([p for p in parameters if p.kind not in DECAYED], weight_decay)
    groups = [*decayed, *({**group, "adapt": False} for group in others)]
    return Lamb(groups, lr=lr, betas=(beta1, beta2), eps=eps)
