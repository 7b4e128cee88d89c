"""L-DoG, distance over gradients for every tensor apart, from the authors' library.

Source: DoG is SGD's Best Friend: A Parameter-Free Dynamic Step Size Schedule, arXiv 2302.12022, section 4. Its iterates
are meant to be averaged: compose it with `averaging:polynomial`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from harness.api import PartEntry
from submissions.optimizers.dog import SOURCES, SPACE, distance_over_gradients
from submissions.optimizers.libraries import require, wraps

if TYPE_CHECKING:
    import torch

    from harness.api import Parameter

ENTRY = PartEntry(
    kind="optimizer",
    name="ldog",
    load=f"{__name__}:ldog",
    summary="DoG with a step of its own for every tensor (dog.LDoG); extra `optimizers`",
    space=SPACE,
    sources=SOURCES,
)


@wraps("dog")
def ldog(parameters: Sequence[Parameter], lr: float, reps_rel: float, eps: float) -> torch.optim.Optimizer:
    """dog.LDoG; it has no weight decay.

    Raises:
        BenchError: the library is not installed.
    """
    return distance_over_gradients(require("dog", "ldog").LDoG, parameters, lr=lr, reps_rel=reps_rel, eps=eps)
