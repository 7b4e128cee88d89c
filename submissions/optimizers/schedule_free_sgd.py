"""Schedule-free SGD, from the authors' library.

Source: The Road Less Scheduled, arXiv 2405.15682, equations 3 to 5.
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
    name="schedule-free-sgd",
    load=f"{__name__}:schedule_free_sgd",
    summary="SGD with averaging in place of a schedule (schedulefree.SGDScheduleFree); extra `methods`",
    space={
        # Ten to fifty times what suits SGD with momentum.
        "lr": LogUniform(0.3, 30.0, default=3.0),
        "momentum": Uniform(0.8, 0.98, default=0.9, limits=(1e-6, 0.999999)),
        "weight_decay": LogUniform(1e-5, 1e-2, default=1e-4, limits=(0.0, None)),
        # In updates, and inside the optimizer: its average gives the updates of the warmup less weight.
        "warmup": Fixed(20, limits=(0, None)),
        # The average's weights are t^r times the largest rate so far to this power.
        "r": Fixed(0.0, limits=(0.0, None)),
        "weight_lr_power": Fixed(2.0, limits=(0.0, None)),
    },
    # Its average is what is evaluated, and stands in for a decay.
    excludes=frozenset({"averaging", "schedule"}),
    sources=(Source(title="The Road Less Scheduled", arxiv="2405.15682", equation="3 to 5"),),
)


@wraps("schedulefree", "methods")
def schedule_free_sgd(
    parameters: Sequence[Parameter],
    lr: float,
    momentum: float,
    weight_decay: float,
    warmup: int,
    r: float = 0.0,
    weight_lr_power: float = 2.0,
) -> torch.optim.Optimizer:
    """schedulefree.SGDScheduleFree, ready to train; no decay on norms and biases.

    Raises:
        BenchError: the library is not installed.
    """
    made: torch.optim.Optimizer = require("schedulefree", "schedule_free_sgd", "methods").SGDScheduleFree(
        decay_groups(parameters, weight_decay),
        lr=lr,
        momentum=momentum,
        warmup_steps=warmup,
        r=r,
        weight_lr_power=weight_lr_power,
    )
    made.train()  # type: ignore[attr-defined]
    return made
