"""AdEMAMix, from pytorch_optimizer.

Source: The AdEMAMix Optimizer: Better, Faster, Older, arXiv 2409.03137, algorithm 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from harness.api import LogUniform, PartEntry, Source, Uniform
from submissions.optimizers.domains import BELOW_ONE, BETA2, EPS, WEIGHT_DECAY
from submissions.optimizers.groups import decay_groups
from submissions.optimizers.libraries import require, wraps

if TYPE_CHECKING:
    import torch

    from harness.api import Parameter

ENTRY = PartEntry(
    kind="optimizer",
    name="ademamix",
    load=f"{__name__}:ademamix",
    summary="Adam with a fast and a slow mean of the gradients (pytorch_optimizer.AdEMAMix); extra `optimizers`",
    space={
        "lr": LogUniform(1e-3, 3e-2, default=3e-3),
        "beta1": Uniform(0.8, 0.98, default=0.9, limits=(1e-6, 0.999999)),
        "beta2": BETA2,
        # Its memory must fit into the run: the paper's 0.9999 is for hundreds of thousands of updates.
        "beta3": Uniform(0.98, 0.9999, default=0.99, limits=BELOW_ONE),
        "alpha": Uniform(2.0, 10.0, default=5.0, limits=(0.0, None)),
        "weight_decay": WEIGHT_DECAY,
        "eps": EPS,
    },
    checks=("beta1 < beta3",),
    # α and β₃ rise over the whole run, as in the paper.
    needs=frozenset({"horizon"}),
    sources=(
        Source(title="The AdEMAMix Optimizer: Better, Faster, Older", arxiv="2409.03137", equation="algorithm 1"),
    ),
)


@wraps("pytorch_optimizer")
def ademamix(
    parameters: Sequence[Parameter],
    lr: float,
    beta1: float,
    beta2: float,
    beta3: float,
    alpha: float,
    weight_decay: float,
    eps: float,
    horizon: int | None = None,
) -> torch.optim.Optimizer:
    """pytorch_optimizer.AdEMAMix with decoupled decay, none on norms and biases.

    Args:
        horizon: updates over which α and β₃ rise to their values; None to have them from the start.

    Raises:
        BenchError: the library is not installed.
    """
    made: torch.optim.Optimizer = require("pytorch_optimizer", "ademamix").AdEMAMix(
        decay_groups(parameters, weight_decay),
        lr=lr,
        betas=(beta1, beta2, beta3),
        weight_decouple=True,
        alpha=alpha,
        t_alpha_beta3=horizon,
        eps=eps,
    )
    return made
