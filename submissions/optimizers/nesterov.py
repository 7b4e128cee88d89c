"""SGD with Nesterov momentum, torch's own.

Source: On the importance of initialization and momentum in deep learning (Sutskever et al., ICML 2013), equations 3, 4.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from harness.api import LogUniform, PartEntry, Source, Uniform
from submissions.optimizers.groups import decay_groups
from submissions.optimizers.velocity import from_rest

if TYPE_CHECKING:
    import torch

    from harness.api import Parameter

ENTRY = PartEntry(
    kind="optimizer",
    name="nesterov",
    load=f"{__name__}:nesterov",
    summary="SGD with Nesterov momentum (torch.optim.SGD, fused)",
    space={
        "lr": LogUniform(3e-2, 3.0, default=0.3),
        "momentum": Uniform(0.8, 0.98, default=0.9, limits=(1e-6, 0.999999)),
        "weight_decay": LogUniform(1e-5, 1e-2, default=1e-4, limits=(0.0, None)),
    },
    sources=(Source(title="On the importance of initialization and momentum in deep learning", equation="3 and 4"),),
)


def nesterov(parameters: Sequence[Parameter], lr: float, momentum: float, weight_decay: float) -> torch.optim.Optimizer:
    """torch.optim.SGD with nesterov=True; no decay on norms and biases."""
    import torch

    groups = decay_groups(parameters, weight_decay)
    return from_rest(torch.optim.SGD(groups, lr=lr, momentum=momentum, nesterov=True, fused=True))
