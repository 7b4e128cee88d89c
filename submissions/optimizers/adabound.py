"""AdaBound and AMSBound with decoupled weight decay, from pytorch_optimizer.

Source: Adaptive Gradient Methods with Dynamic Bound of Learning Rate, arXiv 1902.09843, algorithms 2 and 3 (the
authors' code, which the library follows, corrects Adam's bias; the paper's pseudocode does not).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from harness.api import Choice, Fixed, LogUniform, PartEntry, Source
from submissions.optimizers.domains import BETA1, BETA2, EPS, WEIGHT_DECAY
from submissions.optimizers.groups import decay_groups
from submissions.optimizers.libraries import require, wraps

if TYPE_CHECKING:
    import torch

    from harness.api import Parameter

ENTRY = PartEntry(
    kind="optimizer",
    name="adabound",
    load=f"{__name__}:adabound",
    summary="Adam with step sizes in bounds that close on SGD's (pytorch_optimizer.AdaBound); extra `optimizers`",
    space={
        "lr": LogUniform(1e-3, 3e-2, default=1e-2),
        "final_lr": LogUniform(1e-2, 3.0, default=0.1),
        "gamma": Fixed(1e-3, limits=(1e-9, None)),
        "beta1": BETA1,
        "beta2": BETA2,
        "weight_decay": WEIGHT_DECAY,
        "eps": EPS,
        "ams": Choice((False, True)),
    },
    sources=(
        Source(
            title="Adaptive Gradient Methods with Dynamic Bound of Learning Rate",
            arxiv="1902.09843",
            equation="algorithms 2, 3",
        ),
    ),
)


@wraps("pytorch_optimizer")
def adabound(
    parameters: Sequence[Parameter],
    lr: float,
    final_lr: float,
    gamma: float,
    beta1: float,
    beta2: float,
    weight_decay: float,
    eps: float,
    ams: bool,
) -> torch.optim.Optimizer:
    """pytorch_optimizer.AdaBound (`ams`: AMSBound); no decay on norms and biases.

    Raises:
        BenchError: the library is not installed.
    """
    made: torch.optim.Optimizer = require("pytorch_optimizer", "adabound").AdaBound(
        decay_groups(parameters, weight_decay),
        lr=lr,
        final_lr=final_lr,
        gamma=gamma,
        betas=(beta1, beta2),
        eps=eps,
        ams_bound=ams,
    )
    return made
