"""SGD with heavy-ball momentum, torch's own.

Source: Some methods of speeding up the convergence of iteration methods (Polyak, 1964); in torch's form, where the
learning rate multiplies the velocity.
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
    name="heavy-ball",
    aliases=("sgd-momentum",),
    load=f"{__name__}:heavy_ball",
    summary="SGD with heavy-ball momentum (torch.optim.SGD, fused)",
    space={
        "lr": LogUniform(3e-2, 3.0, default=0.3),
        "momentum": MOMENTUM,
        "weight_decay": LogUniform(1e-5, 1e-2, default=1e-4, limits=(0.0, None)),
    },
    sources=(Source(title="Some methods of speeding up the convergence of iteration methods"),),
)


def heavy_ball(
    parameters: Sequence[Parameter], lr: float, momentum: float, weight_decay: float
) -> torch.optim.Optimizer:
    """torch.optim.SGD; the decay is in the gradient, none on norms and biases."""
    import torch

    groups = decay_groups(parameters, weight_decay)
    return from_rest(torch.optim.SGD(groups, lr=lr, momentum=momentum, fused=True))
