"""Sharpness-aware minimisation: the gradient is taken at the worst neighbour.

Source: Sharpness-Aware Minimization for Efficiently Improving Generalization, arXiv 2010.01412, algorithm 1.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from harness.api import LogUniform, PartEntry, Source

if TYPE_CHECKING:
    from torch import Tensor, nn

    from harness.api import Batch, Task, Work

ENTRY = PartEntry(
    kind="gradient",
    name="sam",
    load=f"{__name__}:Sharpness",
    summary="the gradient at the worst neighbour within `rho`, by two passes a step",
    space={"rho": LogUniform(1e-2, 0.5, default=0.05, limits=(0.0, None))},
    sources=(
        Source(
            title="Sharpness-Aware Minimization for Efficiently Improving Generalization",
            arxiv="2010.01412",
            equation="algorithm 1",
        ),
    ),
)


class Sharpness:
    """Leaves the gradient at w + ρg/‖g‖, g being that at w: two counted passes for one.

    Batch norm's running statistics take in the first pass alone, whose weights are the ones that stay.

    Args:
        model: whose layers of batch norm are kept from averaging twice.
        task: whose parameters are moved.
        rho: ρ, the radius.
    """

    def __init__(self, model: nn.Module, task: Task, rho: float) -> None:
        from torch.nn.modules.batchnorm import _BatchNorm

        self._parameters: list[Tensor] = [p.tensor for p in task.parameters]
        self._rho = rho
        self._norms = [m for m in model.modules() if isinstance(m, _BatchNorm)]

    def __call__(self, work: Work, batch: Batch) -> None:
        """Gradients must be clear before; w is as it was afterwards."""
        import torch

        work.backward(batch)
        moved = [p for p in self._parameters if p.grad is not None]
        with torch.no_grad():
            gradients = [p.grad for p in moved if p.grad is not None]
            norm = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients)))
            # From a copy, not by subtraction: w must come back to the last bit.
            kept = [p.detach().clone() for p in moved]
            torch._foreach_add_(moved, list(torch._foreach_mul(gradients, self._rho / (norm + 1e-12))))
        for p in moved:
            p.grad = None
        with self._still_norms():
            work.backward(batch)
        with torch.no_grad():
            torch._foreach_copy_(moved, kept)

    @contextmanager
    def _still_norms(self) -> Iterator[None]:
        """Training batch norm without an effect on its running means and variances."""
        momenta = [norm.momentum for norm in self._norms]
        for norm in self._norms:
            norm.momentum = 0.0
        try:
            yield
        finally:
            for norm, momentum in zip(self._norms, momenta, strict=True):
                norm.momentum = momentum
