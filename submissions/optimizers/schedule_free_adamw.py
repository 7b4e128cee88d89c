"""Schedule-free AdamW, from the authors' library.

Source: The Road Less Scheduled, arXiv 2405.15682, algorithm 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from harness.api import Fixed, LogUniform, PartEntry, Source, Uniform
from submissions.optimizers.groups import decay_groups
from submissions.optimizers.libraries import require, wraps

if TYPE_CHECKING:
    import torch

    from harness.api import Parameter

ENTRY = PartEntry(
    kind="optimizer",
    name="schedule-free-adamw",
    load=f"{__name__}:schedule_free_adamw",
    summary="AdamW with averaging in place of a schedule (schedulefree.AdamWScheduleFree); extra `methods`",
    space={
        "lr": LogUniform(1e-3, 3e-2, default=1e-2),
        "beta1": Uniform(0.8, 0.98, default=0.9, limits=(1e-6, 0.999999)),
        "beta2": Uniform(0.9, 0.999, default=0.95, limits=(0.0, 0.999999)),
        "weight_decay": LogUniform(1e-3, 1.0, default=0.1, limits=(0.0, None)),
        "eps": Fixed(1e-8, limits=(0.0, None)),
        # In updates, and inside the optimizer: its average gives the updates of the warmup less weight.
        "warmup": Fixed(20, limits=(0, None)),
        # The average's weights are t^r times the largest rate so far to this power.
        "r": Fixed(0.0, limits=(0.0, None)),
        "weight_lr_power": Fixed(2.0, limits=(0.0, None)),
    },
    # Its average is what is evaluated, and stands in for a decay.
    excludes=frozenset({"averaging", "schedule"}),
    sources=(Source(title="The Road Less Scheduled", arxiv="2405.15682", equation="algorithm 1"),),
)


@wraps("schedulefree", "methods")
def schedule_free_adamw(
    parameters: Sequence[Parameter],
    lr: float,
    beta1: float,
    beta2: float,
    weight_decay: float,
    eps: float,
    warmup: int,
    r: float = 0.0,
    weight_lr_power: float = 2.0,
) -> torch.optim.Optimizer:
    """schedulefree.AdamWScheduleFree, ready to train; no decay on norms and biases.

    Raises:
        BenchError: the library is not installed.
    """
    library = require("schedulefree", "schedule_free_adamw", "methods")
    groups = decay_groups(parameters, weight_decay)
    optimizer: torch.optim.Optimizer = library.AdamWScheduleFree(
        groups,
        lr=lr,
        betas=(beta1, beta2),
        eps=eps,
        warmup_steps=warmup,
        r=r,
        weight_lr_power=weight_lr_power,
    )
    optimizer.train()  # type: ignore[attr-defined]
    return optimizer
