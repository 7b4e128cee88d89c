"""Prodigy, from the authors' library.

Source: Prodigy: An Expeditiously Adaptive Parameter-Free Learner, arXiv 2306.06101, algorithm 4.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from harness.api import Choice, Fixed, LogUniform, PartEntry, Source, Uniform
from submissions.optimizers.domains import BELOW_ONE, BETA1
from submissions.optimizers.groups import decay_groups
from submissions.optimizers.libraries import require, wraps

if TYPE_CHECKING:
    import torch

    from harness.api import Parameter

ENTRY = PartEntry(
    kind="optimizer",
    name="prodigy",
    load=f"{__name__}:prodigy",
    summary="Adam that estimates its own learning rate (prodigyopt.Prodigy); extra `optimizers`",
    space={
        # A factor on the estimate; the paper leaves it at 1.
        "lr": LogUniform(0.3, 3.0, default=1.0),
        "beta1": BETA1,
        # The authors' 0.999: the estimate is a ratio of sums that forget as slowly as the second moment.
        "beta2": Uniform(0.9, 0.999, default=0.999, limits=BELOW_ONE),
        "weight_decay": LogUniform(1e-3, 1.0, default=1e-2, limits=(0.0, None)),
        "d0": Fixed(1e-6, limits=(1e-30, None)),
        "growth_rate": Fixed(1e30, limits=(1.0, None)),
        "bias_correction": Choice((False, True)),
        "safeguard_warmup": Choice((False, True)),
        "eps": Fixed(1e-8, limits=(1e-30, None)),
    },
    sources=(
        Source(
            title="Prodigy: An Expeditiously Adaptive Parameter-Free Learner",
            arxiv="2306.06101",
            equation="algorithm 4",
        ),
        Source(title="How far away are truly hyperparameter-free learning algorithms?"),
    ),
)


@wraps("prodigyopt")
def prodigy(
    parameters: Sequence[Parameter],
    lr: float,
    beta1: float,
    beta2: float,
    weight_decay: float,
    d0: float,
    growth_rate: float,
    bias_correction: bool,
    safeguard_warmup: bool,
    eps: float,
) -> torch.optim.Optimizer:
    """prodigyopt.Prodigy; decoupled decay, none on norms and biases.

    Raises:
        BenchError: the library is not installed.
    """
    # The decay stands in the groups alone: given as a keyword, the library prints a line about it.
    made: torch.optim.Optimizer = require("prodigyopt", "prodigy").Prodigy(
        decay_groups(parameters, weight_decay),
        lr=lr,
        betas=(beta1, beta2),
        eps=eps,
        use_bias_correction=bias_correction,
        safeguard_warmup=safeguard_warmup,
        d0=d0,
        growth_rate=growth_rate,
    )
    return made
