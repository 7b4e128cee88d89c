"""FAdam, from pytorch_optimizer.

Source: FAdam: Adam is a natural gradient optimizer using diagonal empirical Fisher information, arXiv 2405.12807,
algorithm 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from harness.api import Fixed, LogUniform, PartEntry, Source
from submissions.optimizers.domains import BETA1, BETA2, EPS, WEIGHT_DECAY
from submissions.optimizers.groups import decay_groups
from submissions.optimizers.libraries import require, wraps

if TYPE_CHECKING:
    import torch

    from harness.api import Parameter

ENTRY = PartEntry(
    kind="optimizer",
    name="fadam",
    load=f"{__name__}:fadam",
    summary="Adam as natural gradient, with the decay preconditioned too (pytorch_optimizer.FAdam); extra `optimizers`",
    space={
        "lr": LogUniform(1e-3, 3e-2, default=5e-3),
        "beta1": BETA1,
        "beta2": BETA2,
        "weight_decay": WEIGHT_DECAY,
        "clip": Fixed(1.0, limits=(1e-6, None)),
        "eps": EPS,
    },
    sources=(
        Source(
            title="FAdam: Adam is a natural gradient optimizer using diagonal empirical Fisher information",
            arxiv="2405.12807",
            equation="algorithm 1",
        ),
    ),
)


@wraps("pytorch_optimizer")
def fadam(
    parameters: Sequence[Parameter],
    lr: float,
    beta1: float,
    beta2: float,
    weight_decay: float,
    clip: float,
    eps: float,
) -> torch.optim.Optimizer:
    """pytorch_optimizer.FAdam, its state in the parameters' precision, at least single; no decay on norms and biases.

    Raises:
        BenchError: the library is not installed.
    """
    import torch

    groups = decay_groups(parameters, weight_decay)
    dtype = torch.float64 if any(p.tensor.dtype == torch.float64 for p in parameters) else torch.float32
    made: torch.optim.Optimizer = require("pytorch_optimizer", "fadam").FAdam(
        groups, lr=lr, betas=(beta1, beta2), clip=clip, eps=eps, momentum_dtype=dtype, fim_dtype=dtype
    )
    return made
