"""AdaMod with decoupled weight decay, from pytorch_optimizer.

Source: An Adaptive and Momental Bound Method for Stochastic Learning, arXiv 1910.12249, algorithm 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from harness.api import LogUniform, PartEntry, Source, Uniform
from submissions.optimizers.domains import BELOW_ONE, BETA1, BETA2, EPS, WEIGHT_DECAY
from submissions.optimizers.groups import decay_groups
from submissions.optimizers.libraries import require, wraps

if TYPE_CHECKING:
    import torch

    from harness.api import Parameter

ENTRY = PartEntry(
    kind="optimizer",
    name="adamod",
    load=f"{__name__}:adamod",
    summary="Adam with step sizes bounded by their own running mean (pytorch_optimizer.AdaMod); extra `optimizers`",
    space={
        "lr": LogUniform(1e-3, 3e-2, default=1e-2),
        "beta1": BETA1,
        "beta2": BETA2,
        # The mean begins at 0, so it also sets a warmup; the paper's 0.999 is for runs of many thousand updates.
        "beta3": Uniform(0.95, 0.999, default=0.98, limits=BELOW_ONE),
        "weight_decay": WEIGHT_DECAY,
        "eps": EPS,
    },
    sources=(
        Source(
            title="An Adaptive and Momental Bound Method for Stochastic Learning",
            arxiv="1910.12249",
            equation="algorithm 1",
        ),
    ),
)


@wraps("pytorch_optimizer")
def adamod(
    parameters: Sequence[Parameter],
    lr: float,
    beta1: float,
    beta2: float,
    beta3: float,
    weight_decay: float,
    eps: float,
) -> torch.optim.Optimizer:
    """pytorch_optimizer.AdaMod; no decay on norms and biases.

    Raises:
        BenchError: the library is not installed.
    """
    groups = decay_groups(parameters, weight_decay)
    library = require("pytorch_optimizer", "adamod")
    made: torch.optim.Optimizer = library.AdaMod(groups, lr=lr, betas=(beta1, beta2, beta3), eps=eps)
    return made
