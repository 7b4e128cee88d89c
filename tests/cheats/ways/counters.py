"""Counters that are evaded."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from harness.api import Batch, Work
from tests.cheats.ways.honest import Honest, find_run


class ResetsCounters(Honest):
    """Sets the counters of passes back after each pass."""

    def update(self, work: Any) -> None:
        super().update(work)
        for _ in range(2):
            work.backward(work.draw())
            work.examples -= work.batch_size
            work.gradient_examples -= work.batch_size


class ReplacesBackward(Honest):
    """Hides the method that counts."""

    def update(self, work: Any) -> None:
        super().update(work)
        if self.calls == 2:
            passes = work._passes
            work.backward = lambda batch, scale=1.0: passes.backward(batch, scale, 0)


class TrainsUncounted(Honest):
    """Computes all gradients outside of the model."""

    def update(self, work: Work) -> None:
        self.descend(work.draw())

    def descend(self, batch: Batch) -> None:
        weights = [p.detach().clone().requires_grad_() for p in self.model.parameters()]
        hidden = F.relu(F.linear(batch["x"], weights[0], weights[1]))
        loss = F.cross_entropy(F.linear(hidden, weights[2], weights[3]), batch["y"])
        for parameter, gradient in zip(self.model.parameters(), torch.autograd.grad(loss, weights), strict=True):
            parameter.grad = gradient


class InventsPasses(TrainsUncounted):
    """The same, and adds passes that were not made to the counter, until the counter is compared."""

    def update(self, work: Any) -> None:
        super().update(work)
        self.work = work
        self.before = work.forward_examples
        work.forward_examples += work.batch_size

    def state_dict(self) -> dict[str, Any]:
        self.work.forward_examples = self.before
        return super().state_dict()


class TrainsMostlyUncounted(TrainsUncounted):
    """Makes one counted pass, and many that nothing counts, over all training examples."""

    def begin(self) -> None:
        pool: Any = find_run().work._source.pool
        self.everything = pool.gather(torch.arange(len(pool)))

    def update(self, work: Work) -> None:
        work.loss(work.draw())
        for _ in range(5):
            self.descend(self.everything)
            self.optimizer.step()


class PassesInEvalWeights(TrainsUncounted):
    """The same, and makes counted passes while it swaps its evaluation weights in and out."""

    @contextmanager
    def eval_weights(self) -> Iterator[None]:
        self.model(torch.zeros(1, 2))
        yield
        self.model(torch.zeros(1, 2))


class CallsCopies(Honest):
    """Trains a copy of the model, which the harness does not evaluate."""

    def begin(self) -> None:
        import copy

        self.copy: nn.Module = copy.deepcopy(self.model)

    def update(self, work: Work) -> None:
        batch = work.draw()
        for _ in range(3):
            self.copy.load_state_dict(self.model.state_dict())
            loss = F.cross_entropy(self.copy(batch["x"]), batch["y"])
            gradients = torch.autograd.grad(loss, list(self.copy.parameters()))
            for parameter, gradient in zip(self.model.parameters(), gradients, strict=True):
                parameter.grad = gradient
            self.optimizer.step()
