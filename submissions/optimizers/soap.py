"""SOAP, from pytorch_optimizer.

Source: SOAP: Improving and Stabilizing Shampoo using Adam, arXiv 2409.11321, algorithm 3.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from harness.api import Fixed, Integer, LogUniform, PartEntry, Source, Uniform
from submissions.optimizers.domains import BELOW_ONE, EPS, WEIGHT_DECAY
from submissions.optimizers.groups import decay_groups
from submissions.optimizers.libraries import require, wraps

if TYPE_CHECKING:
    import torch

    from harness.api import Parameter

ENTRY = PartEntry(
    kind="optimizer",
    name="soap",
    load=f"{__name__}:soap",
    summary="Adam in the eigenbasis of Shampoo's preconditioner (pytorch_optimizer.SOAP); extra `optimizers`",
    space={
        "lr": LogUniform(1e-3, 3e-2, default=5e-3),
        "beta1": Uniform(0.8, 0.98, default=0.95, limits=BELOW_ONE),
        "beta2": Uniform(0.9, 0.999, default=0.95, limits=BELOW_ONE),
        "weight_decay": WEIGHT_DECAY,
        "eps": EPS,
        # Updates between refreshes of the eigenbases.
        "every": Integer(1, 100, default=10, limits=(1, None)),
        # A longer dimension keeps the identity.
        "max_dim": Fixed(10_000, limits=(1, None)),
    },
    sources=(
        Source(title="SOAP: Improving and Stabilizing Shampoo using Adam", arxiv="2409.11321", equation="algorithm 3"),
        Source(title="Fantastic Pretraining Optimizers and Where to Find Them", arxiv="2509.02046"),
    ),
)


@wraps("pytorch_optimizer")
def soap(
    parameters: Sequence[Parameter],
    lr: float,
    beta1: float,
    beta2: float,
    weight_decay: float,
    eps: float,
    every: int,
    max_dim: int,
) -> torch.optim.Optimizer:
    """pytorch_optimizer.SOAP, every dimension of a convolution with its own basis; no decay on norms and biases.

    As in the authors' code the first step only initialises, and vectors are left to Adam.

    Raises:
        BenchError: the library is not installed.
    """
    made: torch.optim.Optimizer = require("pytorch_optimizer", "soap").SOAP(
        decay_groups(parameters, weight_decay),
        lr=lr,
        betas=(beta1, beta2),
        eps=eps,
        precondition_frequency=every,
        max_precondition_dim=max_dim,
    )
    return made
