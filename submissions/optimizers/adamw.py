"""AdamW, torch's own.

Source: Decoupled Weight Decay Regularization, arXiv 1711.05101, algorithm 2 (torch multiplies the decay by the
scheduled learning rate; the paper schedules it apart).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from harness.api import Fixed, LogUniform, PartEntry, Source, Uniform
from submissions.optimizers.groups import decay_groups

if TYPE_CHECKING:
    import torch

    from harness.api import Parameter

ENTRY = PartEntry(
    kind="optimizer",
    name="adamw",
    load=f"{__name__}:adamw",
    summary="Adam with decoupled weight decay (torch.optim.AdamW, fused)",
    space={
        "lr": LogUniform(1e-3, 3e-2, default=5e-3),
        "beta1": Uniform(0.8, 0.98, default=0.9, limits=(0.0, 0.999999)),
        "beta2": Uniform(0.9, 0.999, default=0.95, limits=(0.0, 0.999999)),
        "weight_decay": LogUniform(1e-3, 1.0, default=0.1, limits=(0.0, None)),
        "eps": Fixed(1e-8, limits=(0.0, None)),
    },
    sources=(Source(title="Decoupled Weight Decay Regularization", arxiv="1711.05101", equation="algorithm 2"),),
)


def adamw(
    parameters: Sequence[Parameter], lr: float, beta1: float, beta2: float, weight_decay: float, eps: float
) -> torch.optim.Optimizer:
    """torch.optim.AdamW; no decay on norms and biases."""
    import torch

    groups = decay_groups(parameters, weight_decay)
    return torch.optim.AdamW(groups, lr=lr, betas=(beta1, beta2), eps=eps, fused=True)
