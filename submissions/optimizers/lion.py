"""Lion, from pytorch_optimizer.

Source: Symbolic Discovery of Optimization Algorithms, arXiv 2302.06675, algorithm 2.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from harness.api import LogUniform, PartEntry, Source, Uniform
from submissions.optimizers.domains import BELOW_ONE, BETA1
from submissions.optimizers.groups import decay_groups
from submissions.optimizers.libraries import require, wraps

if TYPE_CHECKING:
    import torch

    from harness.api import Parameter

ENTRY = PartEntry(
    kind="optimizer",
    name="lion",
    load=f"{__name__}:lion",
    summary="steps of the momentum's sign, with decoupled weight decay (pytorch_optimizer.Lion); extra `optimizers`",
    space={
        "lr": LogUniform(1e-4, 1e-2, default=2e-3),
        "beta1": BETA1,
        "beta2": Uniform(0.9, 0.999, default=0.98, limits=BELOW_ONE),
        # Larger than Adam's in proportion as the learning rate is smaller.
        "weight_decay": LogUniform(1e-2, 10.0, default=0.5, limits=(0.0, None)),
    },
    sources=(
        Source(title="Symbolic Discovery of Optimization Algorithms", arxiv="2302.06675", equation="algorithm 2"),
    ),
)


@wraps("pytorch_optimizer")
def lion(
    parameters: Sequence[Parameter], lr: float, beta1: float, beta2: float, weight_decay: float
) -> torch.optim.Optimizer:
    """pytorch_optimizer.Lion; no decay on norms and biases.

    Raises:
        BenchError: the library is not installed.
    """
    groups = decay_groups(parameters, weight_decay)
    made: torch.optim.Optimizer = require("pytorch_optimizer", "lion").Lion(groups, lr=lr, betas=(beta1, beta2))
    return made
