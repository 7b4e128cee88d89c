"""A submission with every kind of state that an interrupted run must restore, for `benchmarks/kill_runs.py`.

The state consists of

- momentum, and an average of the weights
- a learning rate that depends on the losses so far
- a random number generator
- snapshots
- a replay buffer, if the workload offers one
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from harness.api import Batch, Task, Work

#: Number of steps from one attempt at a larger learning rate to the next.
ATTEMPT_EVERY = 4
DECAY = 0.9
RATE = 0.01
#: Maximum factor of the learning rate. With a larger one, the training on a long stream diverges.
MAX_FACTOR = 4.0
#: Seconds of sleep per step. With this sleep, training takes most of a run. `kill_runs.py` disturbs the run at random
#: moments, which are then mostly during training.
PAUSE_S = 0.01


class MuchState:
    """SGD with momentum. Every `ATTEMPT_EVERY` steps, it tries a larger rate, and goes back if the loss rises."""

    def __init__(self, model: nn.Module, task: Task, hparams: dict[str, Any]) -> None:
        self.model, self.task = model, task
        self.optimizer = torch.optim.SGD(model.parameters(), lr=RATE, momentum=0.9)
        self.means = [p.detach().clone() for p in model.parameters()]
        self.steps, self.factor = 0, 1.0

    def step(self, work: Work) -> None:
        time.sleep(PAUSE_S)
        batch = work.draw()
        if work.replay is not None:
            fresh = batch
            if len(work.replay):
                batch = Batch.cat([fresh, work.replay.sample(fresh.n)])
            work.replay.add(fresh)
        self.steps += 1
        if self.steps % ATTEMPT_EVERY == 0:
            self._try_larger_rate(work, batch)
        else:
            self._update(work, batch)
        with torch.no_grad():
            for mean, parameter in zip(self.means, self.model.parameters(), strict=True):
                mean.lerp_(parameter, 1 - DECAY)

    def _update(self, work: Work, batch: Batch) -> float:
        """Make one update with noisy gradients, and return the loss before it."""
        self.optimizer.zero_grad()
        loss = float(work.backward(batch))
        scale = 1e-3 * float(torch.rand(1, generator=self.task.rng))
        for parameter in self.model.parameters():
            if parameter.grad is not None:
                parameter.grad.add_(torch.randn_like(parameter), alpha=scale)
        for group in self.optimizer.param_groups:
            group["lr"] = RATE * self.factor
        self.optimizer.step()
        return loss

    def _try_larger_rate(self, work: Work, batch: Batch) -> None:
        snapshot = self.task.snapshot()
        self.factor = min(1.5 * self.factor, MAX_FACTOR)
        loss_before = self._update(work, batch)
        if float(work.loss(batch)) > loss_before:
            self.task.restore(snapshot)
            self.factor *= 0.7

    @contextmanager
    def eval_weights(self) -> Iterator[None]:
        weights = [p.detach().clone() for p in self.model.parameters()]
        self._load_weights(self.means)
        try:
            yield
        finally:
            self._load_weights(weights)

    def _load_weights(self, weights: list[torch.Tensor]) -> None:
        with torch.no_grad():
            for parameter, weight in zip(self.model.parameters(), weights, strict=True):
                parameter.copy_(weight)

    def state_dict(self) -> dict[str, Any]:
        return {
            "optimizer": self.optimizer.state_dict(),
            "means": self.means,
            "steps": self.steps,
            "factor": self.factor,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.optimizer.load_state_dict(state["optimizer"])
        self.means = list(state["means"])
        self.steps, self.factor = state["steps"], state["factor"]
