"""Counted work that takes the time of a step apart, for `--profile`."""

from __future__ import annotations

import time
from typing import Any

import torch
from torch import Tensor

from harness.worker.data.batch import Batch
from harness.worker.microbatch import MicrobatchedWork
from harness.worker.work import CountedWork


class Profiled(CountedWork):
    """Takes the time of a step apart; mixed in only for `--profile`, since it costs time."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.phases = dict.fromkeys(("data", "forward", "backward", "optimizer", "eval_weights"), 0.0)
        self._step_began = 0.0
        self._inner = 0.0

    def _now(self) -> float:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        return time.perf_counter()

    def charge(self, phase: str, seconds: float) -> None:
        self.phases[phase] += seconds

    def warm_up_step(self) -> None:
        """Off the clock, and so in no phase."""
        before = dict(self.phases)
        super().warm_up_step()
        self.phases.update(before)

    def _charge(self, phase: str, began: float) -> None:
        spent = self._now() - began
        self.charge(phase, spent)
        self._inner += spent

    def draw(self, n: int | None = None, indices: Tensor | None = None) -> Batch:
        began = self._now()
        batch = super().draw(n, indices)
        self._charge("data", began)
        return batch

    def _forward(self, batch: Batch, per_example: bool) -> Tensor:
        began = self._now()
        loss = super()._forward(batch, per_example)
        self._charge("forward", began)
        return loss

    def backward(self, batch: Batch, scale: float = 1.0) -> Tensor:
        began, forward = self._now(), self.phases["forward"]
        loss = super().backward(batch, scale)
        spent = self._now() - began - (self.phases["forward"] - forward)
        self.charge("backward", spent)
        self._inner += spent
        return loss

    def begin_step(self) -> None:
        super().begin_step()
        self._inner = 0.0
        self._step_began = self._now()

    def end_step(self) -> None:
        # What a step spends outside data and passes is the optimizer, the schedule and the submission's own code.
        self.phases["optimizer"] += self._now() - self._step_began - self._inner
        super().end_step()


class ProfiledWork(Profiled):
    """Counted work that takes the time apart."""


class ProfiledMicrobatchedWork(Profiled, MicrobatchedWork):
    """Work in parts that takes the time apart; an exchange of gradients counts as backward."""
