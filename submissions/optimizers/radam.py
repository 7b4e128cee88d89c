"""RAdam with decoupled weight decay, torch's own.

Source: On the Variance of the Adaptive Learning Rate and Beyond, arXiv 1908.03265, algorithm 2 (torch takes un-adapted
steps while ρ ≤ 5, the paper while ρ ≤ 4).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from harness.api import LogUniform, PartEntry, Source
from submissions.optimizers.domains import BETA1, BETA2, EPS, WEIGHT_DECAY
from submissions.optimizers.groups import decay_groups

if TYPE_CHECKING:
    import torch

    from harness.api import Parameter

ENTRY = PartEntry(
    kind="optimizer",
    name="radam",
    load=f"{__name__}:radam",
    summary="Adam with a rectified second moment and decoupled weight decay (torch.optim.RAdam)",
    space={
        "lr": LogUniform(1e-3, 3e-2, default=5e-3),
        "beta1": BETA1,
        "beta2": BETA2,
        "weight_decay": WEIGHT_DECAY,
        "eps": EPS,
    },
    sources=(
        Source(
            title="On the Variance of the Adaptive Learning Rate and Beyond", arxiv="1908.03265", equation="algorithm 2"
        ),
    ),
)


def radam(
    parameters: Sequence[Parameter], lr: float, beta1: float, beta2: float, weight_decay: float, eps: float
) -> torch.optim.Optimizer:
    """torch.optim.RAdam; no decay on norms and biases."""
    import torch

    groups = decay_groups(parameters, weight_decay)
    return torch.optim.RAdam(groups, lr=lr, betas=(beta1, beta2), eps=eps, decoupled_weight_decay=True, foreach=True)
