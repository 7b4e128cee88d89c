"""A workload with augmentation and dropout, and submissions with random numbers of their own, for tests of pairs."""

from __future__ import annotations

import random
from typing import Any

import msgspec
import numpy as np
import torch
from torch import Tensor, nn

from harness.api import Batch, Pool, Stream, TensorPool, Work, uniforms_at
from tests import micro
from tests.submissions_for_tests import Base
from tests.worker.ranked import entry

#: What the passes of a run saw, in order: examples and dropout masks.
SEEN: list[Tensor] = []


class NotingDropout(nn.Dropout):
    """Dropout that notes its masks in training."""

    def forward(self, input: Tensor) -> Tensor:
        dropped = super().forward(torch.ones_like(input))
        if self.training:
            SEEN.append(dropped.detach())
        return input * dropped


class Jittered(TensorPool):
    """Points that are moved as they are drawn."""

    def __init__(self, seed: int, x: Tensor, y: Tensor) -> None:
        super().__init__(x=x, y=y)
        self._seed = seed

    def gather_at(self, indices: Tensor, position: int) -> Batch:
        batch = self.gather(indices)
        moves_N2 = uniforms_at(self._seed, torch.arange(position, position + len(indices)), 2)
        return Batch(x=batch["x"] + 0.2 * moves_N2, y=batch["y"])


class Stochastic(micro.Micro):
    """Points that are moved as they are drawn, and dropout."""

    facts = msgspec.structs.replace(micro.FACTS, name="micro-stochastic", model_options={})

    def build_model(self, seed: int, dropout: float = 0.5) -> nn.Module:
        torch.manual_seed(seed)
        return nn.Sequential(nn.Linear(2, 16), nn.ReLU(), NotingDropout(dropout), nn.Linear(16, 3))

    def train_data(self, seed: int) -> Pool | Stream:
        x, y = micro.points(512, 1)
        return Jittered(seed, x=x, y=y)


ENTRY = entry(Stochastic)


class Quiet(Base):
    """Draws no random numbers, and notes its batches."""

    def update(self, work: Work) -> None:
        batch = work.draw()
        SEEN.append(batch["x"])
        work.backward(batch)


class Restless(Quiet):
    """Draws random numbers from every global generator before and after its pass, and uses none."""

    def update(self, work: Work) -> None:
        self._draw_numbers()
        super().update(work)
        self._draw_numbers()

    def _draw_numbers(self) -> None:
        torch.rand(1 + self.calls % 3, generator=self.task.rng)
        torch.rand(1 + self.calls % 5)
        np.random.rand()
        random.random()


class Perturbed(Quiet):
    """Adds noise from the global generator to its gradients: another run on the same examples with the same masks."""

    def update(self, work: Work) -> None:
        super().update(work)
        for p in self.model.parameters():
            assert p.grad is not None
            p.grad.add_(torch.randn_like(p), alpha=0.1)


def drain() -> list[Any]:
    """Return what was seen, and forget it."""
    seen = list(SEEN)
    SEEN.clear()
    return seen
