"""Schedule-free RAdam, from the authors' library.

Source: The Road Less Scheduled, arXiv 2405.15682, algorithm 1, with the rectification of On the Variance of the
Adaptive Learning Rate and Beyond, arXiv 1908.03265, in place of a warmup.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from harness.api import Fixed, LogUniform, PartEntry, Source, Uniform
from submissions.optimizers.domains import BETA2, EPS, WEIGHT_DECAY
from submissions.optimizers.groups import decay_groups
from submissions.optimizers.libraries import require, wraps

if TYPE_CHECKING:
    import torch

    from harness.api import Parameter

ENTRY = PartEntry(
    kind="optimizer",
    name="schedule-free-radam",
    load=f"{__name__}:schedule_free_radam",
    summary="RAdam with averaging in place of a schedule (schedulefree.RAdamScheduleFree); extra `methods`",
    space={
        "lr": LogUniform(1e-3, 3e-2, default=1e-2),
        "beta1": Uniform(0.8, 0.98, default=0.9, limits=(1e-6, 0.999999)),
        "beta2": BETA2,
        "weight_decay": WEIGHT_DECAY,
        "eps": EPS,
        # The average's weights are t^r times the largest rate so far to this power.
        "r": Fixed(0.0, limits=(0.0, None)),
        "weight_lr_power": Fixed(2.0, limits=(0.0, None)),
    },
    # Its average is what is evaluated, and stands in for a decay.
    excludes=frozenset({"averaging", "schedule"}),
    sources=(
        Source(title="The Road Less Scheduled", arxiv="2405.15682", equation="algorithm 1"),
        Source(title="On the Variance of the Adaptive Learning Rate and Beyond", arxiv="1908.03265"),
    ),
)


@wraps("schedulefree", "methods")
def schedule_free_radam(
    parameters: Sequence[Parameter],
    lr: float,
    beta1: float,
    beta2: float,
    weight_decay: float,
    eps: float,
    r: float = 0.0,
    weight_lr_power: float = 2.0,
) -> torch.optim.Optimizer:
    """schedulefree.RAdamScheduleFree, ready to train; no decay on norms and biases.

    Raises:
        BenchError: the library is not installed.
    """
    made: torch.optim.Optimizer = require("schedulefree", "schedule_free_radam", "methods").RAdamScheduleFree(
        decay_groups(parameters, weight_decay),
        lr=lr,
        betas=(beta1, beta2),
        eps=eps,
        r=r,
        weight_lr_power=weight_lr_power,
    )
    made.train()  # type: ignore[attr-defined]
    return made
