"""Submissions that behave, and submissions that do not, for tests of the worker."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn

from harness.api import Batch, Progress, Recipe, Task, Work


def _sgd(parameters: Any, lr: float = 0.1) -> torch.optim.Optimizer:
    return torch.optim.SGD([p.tensor for p in parameters], lr=lr, momentum=0.9)


Plain = Recipe(optimizer=_sgd, schedule=lambda p: 1.0)


def _decay(p: Progress) -> float:
    assert p.horizon is not None
    return 1 - p.step / p.horizon


Decaying = Recipe(optimizer=_sgd, schedule=_decay)

TOLD: list[Progress] = []


def _tell(p: Progress) -> float:
    TOLD.append(p)
    return 1.0


Told = Recipe(optimizer=_sgd, schedule=_tell)


class Base:
    """SGD by hand; the level-2 protocol."""

    def __init__(self, model: nn.Module, task: Task, hparams: dict[str, Any]) -> None:
        self.model, self.task, self.hparams = model, task, hparams
        self.optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        self.calls = 0

    def step(self, work: Work) -> None:
        self.calls += 1
        self.optimizer.zero_grad()
        self.update(work)
        self.optimizer.step()

    def update(self, work: Work) -> None:
        work.backward(work.draw())

    @contextmanager
    def eval_weights(self) -> Iterator[None]:
        yield

    def state_dict(self) -> dict[str, Any]:
        return {"optimizer": self.optimizer.state_dict(), "calls": self.calls}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.optimizer.load_state_dict(state["optimizer"])
        self.calls = state["calls"]


#: The losses that `NotesLosses` has seen.
LOSSES: list[float] = []


class NotesLosses(Base):
    """Notes the loss of every update."""

    def update(self, work: Work) -> None:
        LOSSES.append(float(work.backward(work.draw())))


class Noisy(Base):
    """Uses every source of randomness there is, and replay where there is any."""

    def update(self, work: Work) -> None:
        import random

        import numpy as np

        batch = work.draw()
        if work.replay is not None:
            if len(work.replay):
                batch = Batch.cat([batch, work.replay.sample(8)])
            work.replay.add(batch)
        work.backward(batch)
        scale = 1e-3 * (random.random() + np.random.rand() + torch.rand(1, generator=self.task.rng).item())
        for p in self.model.parameters():
            p.grad.add_(torch.randn_like(p), alpha=scale)  # type: ignore[union-attr]


class Averaged(Base):
    """Evaluates an exponential moving average."""

    def __init__(self, model: nn.Module, task: Task, hparams: dict[str, Any]) -> None:
        super().__init__(model, task, hparams)
        self.mean = [p.detach().clone() for p in model.parameters()]

    def update(self, work: Work) -> None:
        super().update(work)
        for m, p in zip(self.mean, self.model.parameters(), strict=True):
            m.lerp_(p.detach(), 0.1)

    @contextmanager
    def eval_weights(self) -> Iterator[None]:
        kept = [p.detach().clone() for p in self.model.parameters()]
        self._put(self.mean)
        yield
        self._put(kept)

    def _put(self, values: list[torch.Tensor]) -> None:
        with torch.no_grad():
            for p, v in zip(self.model.parameters(), values, strict=True):
                p.copy_(v)

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "mean": self.mean}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        self.mean = state["mean"]


class TenPasses(Base):
    """Ten backward passes over one batch: not free."""

    def update(self, work: Work) -> None:
        batch = work.draw()
        for _ in range(10):
            work.backward(batch, scale=0.1)


class PastTheHarness(Base):
    """Calls the model itself."""

    def update(self, work: Work) -> None:
        batch = work.draw()
        nn.functional.cross_entropy(self.model(batch["x"]), batch["y"]).backward()  # type: ignore[no-untyped-call]


class GradOfLoss(Base):
    """Takes gradients with autograd.grad."""

    def update(self, work: Work) -> None:
        loss = work.loss(work.draw())
        for p, g in zip(self.model.parameters(), torch.autograd.grad(loss, list(self.model.parameters())), strict=True):
            p.grad = g


class Distils(Base):
    """A loss of its own on the model's outputs."""

    def update(self, work: Work) -> None:
        batch = work.draw()
        work.outputs(batch).square().mean().backward()  # type: ignore[no-untyped-call]


class ToNan(Base):
    def update(self, work: Work) -> None:
        super().update(work)
        if self.calls == 10:
            with torch.no_grad():
                for p in self.model.parameters():
                    p.fill_(float("nan"))


class DecomposesNan(ToNan):
    """Decomposes a matrix of its weights, like a preconditioner."""

    def update(self, work: Work) -> None:
        super().update(work)
        weight = next(p for p in self.model.parameters() if p.ndim == 2).detach()
        torch.linalg.eigh(weight @ weight.T)


class DecomposesOverflow(Base):
    """Decomposes a state that has overflowed, while the loss, the weights and the gradients are finite."""

    def update(self, work: Work) -> None:
        super().update(work)
        if self.calls == 10:
            torch.linalg.eigh(torch.full((3, 3), float("inf")))


class RaisesOnNanWeight(ToNan):
    def update(self, work: Work) -> None:
        super().update(work)
        if self.calls == 10:
            raise ValueError("a factor must not be NaN")


class RaisesOnInfiniteGradient(Base):
    def update(self, work: Work) -> None:
        super().update(work)
        if self.calls == 10:
            parameter = next(self.model.parameters())
            parameter.grad = torch.full_like(parameter, float("inf"))
            raise AssertionError("the gradient is too large")


class RaisesOnNanLoss(ToNan):
    def update(self, work: Work) -> None:
        super().update(work)
        if self.calls == 11:
            raise ArithmeticError("the loss is not a number")


class Raises(Base):
    def update(self, work: Work) -> None:
        super().update(work)
        if self.calls == 10:
            raise ValueError("the submission's own mistake")


class KeepsASet(Base):
    """Its state could be saved but not read back."""

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "seen": {1, 2}}


class Greedy(Base):
    def update(self, work: Work) -> None:
        work.backward(work.draw(10_000))


class Idle(Base):
    def update(self, work: Work) -> None:
        return


class OnlyLooks(Base):
    """Every step after the first is a forward pass over the same batch, so there is no evaluation after the first."""

    def update(self, work: Work) -> None:
        if self.calls == 1:
            self.batch = work.draw(8)
        with torch.no_grad():
            work.loss(self.batch)


class Grows(Base):
    def update(self, work: Work) -> None:
        super().update(work)
        if self.calls == 5:
            self.model.register_buffer("stash", torch.zeros(3))


class OtherPrecision(Base):
    def update(self, work: Work) -> None:
        super().update(work)
        torch.set_float32_matmul_precision("medium")


class TooMuchMemory(Base):
    def update(self, work: Work) -> None:
        super().update(work)
        torch.empty(1 << 60)


class KillsItself(Base):
    def update(self, work: Work) -> None:
        super().update(work)
        os.kill(os.getpid(), signal.SIGKILL)


class Exits(Base):
    def update(self, work: Work) -> None:
        super().update(work)
        os._exit(7)


class Hangs(Base):
    def update(self, work: Work) -> None:
        time.sleep(3600)


class SlowClock(Base):
    """Patches the time functions; the harness keeps its own."""

    def __init__(self, model: nn.Module, task: Task, hparams: dict[str, Any]) -> None:
        super().__init__(model, task, hparams)
        time.perf_counter = lambda: 0.0
        time.process_time = lambda: 0.0


class ReachesIntoTheClock(Base):
    """Patches the harness's own references; the supervisor's clock still disagrees."""

    def update(self, work: Work) -> None:
        super().update(work)
        if self.calls == 1:
            import harness.worker.clock as clock

            clock.process_time = clock.perf_counter = lambda: 0.0  # type: ignore[attr-defined]
        deadline = time.monotonic() + 0.02
        while time.monotonic() < deadline:
            pass


class Searches(Base):
    """Tries a step, goes back, and takes it again; needs a holdout."""

    def update(self, work: Work) -> None:
        assert work.holdout is not None
        before = [p.detach().clone() for p in self.model.parameters()]
        snapshot = self.task.snapshot()
        for _ in range(2):
            super().update(work)
            self.optimizer.step()
            self.task.restore(snapshot)
            assert all(torch.equal(a, b) for a, b in zip(before, self.model.parameters(), strict=True))
        super().update(work)


class WantsFeedback(Base):
    def update(self, work: Work) -> None:
        super().update(work)
        assert self.task.feedback, "one result at the start"
        assert self.task.feedback[-1][0] <= work.examples


class Counted(Base):
    """Leaves a mark for every step it makes, to see what a resumed run repeats."""

    def update(self, work: Work) -> None:
        super().update(work)
        with open(Path(os.environ["BENCH_TEST_MARKS"]), "a") as marks:
            marks.write("x")


class Slow(Base):
    """Long enough to be killed in the middle."""

    def update(self, work: Work) -> None:
        super().update(work)
        time.sleep(0.01)


class NeverEnds(Base):
    """Waits to be killed after some evaluations."""

    def update(self, work: Work) -> None:
        super().update(work)
        if self.calls == 40:
            time.sleep(3600)


class KeepsADefaultDict(Base):
    """A subclass of a plain type, which reading a checkpoint would refuse."""

    def state_dict(self) -> dict[str, Any]:
        import collections

        return {**super().state_dict(), "counts": collections.defaultdict(int)}


class Freezes(Base):
    """StoppingResults dropout, and one parameter, midway."""

    def update(self, work: Work) -> None:
        super().update(work)
        if self.calls == 20:
            self.model.eval()
            next(self.model.parameters()).requires_grad_(False)


class HalfPrecisionMomentum(torch.optim.Optimizer):
    """Keeps its momentum in bfloat16."""

    def __init__(self, params: Any, lr: float) -> None:
        super().__init__(params, {"lr": lr})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for p in group["params"]:
                m = self.state[p].setdefault("m", torch.zeros_like(p, dtype=torch.bfloat16))
                m.mul_(0.9).add_(p.grad.bfloat16())
                p.add_(m.float(), alpha=-group["lr"])


class AnnealedShrink:
    """An `after_step` with state: shrinks weights less and less."""

    def __init__(self, model: nn.Module) -> None:
        self._model, self._strength = model, 1e-3

    def __call__(self) -> None:
        with torch.no_grad():
            for p in self._model.parameters():
                p.mul_(1 - self._strength)
        self._strength *= 0.97

    def state_dict(self) -> dict[str, Any]:
        return {"strength": self._strength}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._strength = state["strength"]


HalfMomentum = Recipe(optimizer=lambda ps: HalfPrecisionMomentum([p.tensor for p in ps], 0.05), schedule=lambda p: 1.0)
Shrinks = Recipe(optimizer=_sgd, schedule=lambda p: 1.0, after_step=AnnealedShrink)
TensorRate = Recipe(
    optimizer=lambda ps: torch.optim.AdamW([p.tensor for p in ps], lr=torch.tensor(0.01)), schedule=lambda p: 1.0
)


class ZeroWhenEvaluated(Base):
    """Offers zeros for evaluation: score and feedback must both see them."""

    @contextmanager
    def eval_weights(self) -> Iterator[None]:
        kept = [p.detach().clone() for p in self.model.parameters()]
        with torch.no_grad():
            for p in self.model.parameters():
                p.zero_()
        yield
        with torch.no_grad():
            for p, v in zip(self.model.parameters(), kept, strict=True):
                p.copy_(v)

    def update(self, work: Work) -> None:
        super().update(work)
        if len(self.task.feedback) > 1:
            assert abs(self.task.feedback[-1][1]["loss"] - 1.0986) < 1e-3


class CopiesTheModel(Base):
    """A teacher made with deepcopy: its passes count, and it drags no data along."""

    def update(self, work: Work) -> None:
        import copy

        batch = work.draw()
        teacher = copy.deepcopy(self.model)
        with torch.no_grad():
            teacher(batch["x"])
        work.backward(batch)
