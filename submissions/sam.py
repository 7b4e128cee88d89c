"""Sharpness-aware minimisation around SGD with Nesterov momentum and warmup, stable, decay.

Source: Sharpness-Aware Minimization for Efficiently Improving Generalization, arXiv 2010.01412, algorithm 1.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from harness.api import Recipe
from submissions.optimizers.nesterov import nesterov
from submissions.schedules.wsd import wsd

if TYPE_CHECKING:
    from harness.api import Batch, HParams, Pool, ReplayBuffer, Task, Work


class Sharpness:
    """Work whose `backward` leaves the gradient at w + ρg/‖g‖, g being that at w: two counted passes for one.

    Everything else is the harness's. Batch norm's running statistics take in the first pass alone, whose weights are
    the ones that stay.

    Args:
        work: the harness's.
        model: whose layers of batch norm are kept from averaging twice.
        parameters: the trained tensors.
        rho: ρ, the radius.
    """

    def __init__(self, work: Work, model: nn.Module, parameters: Sequence[Tensor], rho: float) -> None:
        self._work, self._parameters, self._rho = work, parameters, rho
        self.replay: ReplayBuffer | None = work.replay
        self.holdout: Pool | None = work.holdout
        self._norms = [m for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]

    @property
    def examples(self) -> int:
        return self._work.examples

    def draw(self, n: int | None = None, indices: Tensor | None = None) -> Batch:
        return self._work.draw(n, indices)

    def loss(self, batch: Batch, per_example: bool = False) -> Tensor:
        return self._work.loss(batch, per_example)

    def outputs(self, batch: Batch, model: nn.Module | None = None) -> Tensor:
        return self._work.outputs(batch, model)

    def backward(self, batch: Batch, scale: float = 1.0) -> Tensor:
        """The loss at w, detached; `.grad` is then that of the neighbour. Gradients must be clear before."""
        loss = self._work.backward(batch, scale)
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
            self._work.backward(batch, scale)
        with torch.no_grad():
            torch._foreach_copy_(moved, kept)
        return loss

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


class Sam:
    """Implements `harness.api.Submission`: a recipe that is handed `Sharpness` in place of the harness's work.

    Args:
        model, task, hparams: as for any submission; `rho` is SAM's own, the rest the recipe's.
    """

    recipe = Recipe(optimizer=nesterov, schedule=wsd)

    def __init__(self, model: nn.Module, task: Task, hparams: HParams) -> None:
        self._model, self._rho = model, float(hparams["rho"])
        self._parameters = [p.tensor for p in task.parameters]
        self._inner = self.recipe(model, task, {name: value for name, value in hparams.items() if name != "rho"})

    @property
    def lr(self) -> float:
        """The learning rate of the last update, for the record."""
        return self._inner.lr

    def step(self, work: Work) -> None:
        self._inner.step(Sharpness(work, self._model, self._parameters, self._rho))

    def eval_weights(self) -> AbstractContextManager[None]:
        return self._inner.eval_weights()

    def state_dict(self) -> dict[str, Any]:
        return self._inner.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._inner.load_state_dict(state)
