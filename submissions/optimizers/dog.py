"""DoG, distance over gradients, from the authors' library.

Source: DoG is SGD's Best Friend: A Parameter-Free Dynamic Step Size Schedule, arXiv 2302.12022, equation DoG. Its
iterates are meant to be averaged: compose it with `averaging:polynomial`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from harness.api import Fixed, LogUniform, PartEntry, Source
from submissions.optimizers.libraries import require, wraps

if TYPE_CHECKING:
    import torch

    from harness.api import Domain, Parameter

SPACE: dict[str, Domain] = {
    # The paper's c, to be left at 1.
    "lr": Fixed(1.0, limits=(1e-12, None)),
    # The first step's length against 1 + ‖x₀‖: 1e-4 is the authors' advice with batch norm, 1e-6 without.
    "reps_rel": LogUniform(1e-6, 1e-2, default=1e-4),
    "eps": Fixed(1e-8, limits=(1e-30, None)),
}
SOURCES = (
    Source(
        title="DoG is SGD's Best Friend: A Parameter-Free Dynamic Step Size Schedule",
        arxiv="2302.12022",
        equation="section 2",
    ),
    Source(title="How far away are truly hyperparameter-free learning algorithms?"),
)
ENTRY = PartEntry(
    kind="optimizer",
    name="dog",
    load=f"{__name__}:dog",
    summary="SGD whose step is the distance moved over the gradients seen (dog.DoG); extra `optimizers`",
    space=SPACE,
    sources=SOURCES,
)


@wraps("dog")
def dog(parameters: Sequence[Parameter], lr: float, reps_rel: float, eps: float) -> torch.optim.Optimizer:
    """dog.DoG over one group: its step is one for the whole model, and it has no weight decay.

    Raises:
        BenchError: the library is not installed.
    """
    return distance_over_gradients(require("dog", "dog").DoG, parameters, lr=lr, reps_rel=reps_rel, eps=eps)


def distance_over_gradients(make: Any, parameters: Sequence[Parameter], **options: float) -> torch.optim.Optimizer:
    """`make` over all parameters, told that a parameter without gradient has one of zeros: the library expects one."""
    optimizer: torch.optim.Optimizer = make([p.tensor for p in parameters], **options)
    optimizer.register_step_pre_hook(_fill_gradients)
    return optimizer


def _fill_gradients(optimizer: torch.optim.Optimizer, *_: Any) -> None:
    import torch

    for group in optimizer.param_groups:
        for p in group["params"]:
            if p.grad is None:
                p.grad = torch.zeros_like(p)
