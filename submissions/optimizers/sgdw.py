"""SGD with momentum and decoupled weight decay.

Source: Decoupled Weight Decay Regularization, arXiv 1711.05101, algorithm 1 (torch's momentum, which the learning rate
multiplies as it is now, not as it was when the gradient came).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from harness.api import LogUniform, PartEntry, Source
from submissions.optimizers.domains import MOMENTUM
from submissions.optimizers.groups import decay_groups
from submissions.optimizers.velocity import from_rest

if TYPE_CHECKING:
    import torch

    from harness.api import Parameter

ENTRY = PartEntry(
    kind="optimizer",
    name="sgdw",
    load=f"{__name__}:sgdw",
    summary="SGD with momentum and decoupled weight decay (torch.optim.SGD after the decay)",
    space={
        "lr": LogUniform(3e-2, 3.0, default=0.3),
        "momentum": MOMENTUM,
        "weight_decay": LogUniform(1e-4, 1e-1, default=1e-3, limits=(0.0, None)),
    },
    sources=(Source(title="Decoupled Weight Decay Regularization", arxiv="1711.05101", equation="algorithm 1"),),
)


def sgdw(parameters: Sequence[Parameter], lr: float, momentum: float, weight_decay: float) -> torch.optim.Optimizer:
    """SGDW; no decay on norms and biases."""
    from submissions.optimizers.own.sgdw import SGDW

    return from_rest(SGDW(decay_groups(parameters, weight_decay), lr=lr, momentum=momentum, fused=True))
