"""Unusual but honest submissions, for `benchmarks/honest_runs.py`.

Each submission, except the base class `Plain`, does something that a rule against cheating could mistake for a cheat.
"""

from __future__ import annotations

import copy
import gc
import logging
import multiprocessing
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from harness.api import Batch, Task, Work


class Plain:
    """SGD with momentum."""

    def __init__(self, model: nn.Module, task: Task, hparams: dict[str, Any]) -> None:
        self.model, self.task = model, task
        self.optimizer: torch.optim.Optimizer = self.make_optimizer()
        self.steps = 0

    def make_optimizer(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.model.parameters(), lr=0.05, momentum=0.9)

    def step(self, work: Work) -> None:
        self.steps += 1
        self.optimizer.zero_grad()
        self.update(work)

    def update(self, work: Work) -> None:
        work.backward(work.draw())
        self.optimizer.step()

    @contextmanager
    def eval_weights(self) -> Iterator[None]:
        yield

    def state_dict(self) -> dict[str, Any]:
        return {"optimizer": self.optimizer.state_dict(), "steps": self.steps}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.optimizer.load_state_dict(state["optimizer"])
        self.steps = state["steps"]


class Teacher(Plain):
    """Learns from a teacher: a deep copy of the model, made anew every ten steps."""

    def update(self, work: Work) -> None:
        if self.steps % 10 == 1:
            self.teacher = copy.deepcopy(self.model)
        batch = work.draw()
        with torch.no_grad():
            targets = work.outputs(batch, self.teacher)
        loss = work.loss(batch) + 0.1 * (work.outputs(batch) - targets).square().mean()
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()


class LineSearch(Plain):
    """LBFGS, whose closure makes several passes over one batch."""

    def make_optimizer(self) -> torch.optim.Optimizer:
        return torch.optim.LBFGS(self.model.parameters(), lr=0.05, max_iter=3)

    def update(self, work: Work) -> None:
        batch = work.draw()

        def closure() -> Tensor:
            self.optimizer.zero_grad()
            return work.backward(batch)

        self.optimizer.step(closure)  # type: ignore[arg-type]


class RefreshesStatistics(Plain):
    """Makes forward passes over fresh batches before every evaluation, as if to refresh batch norm's statistics.

    Together, they draw at most as many examples as there are between two evaluations (rule `draw_size`).
    """

    work: Work | None = None

    def update(self, work: Work) -> None:
        self.work = work
        super().update(work)

    @contextmanager
    def eval_weights(self) -> Iterator[None]:
        if self.work is not None:
            with torch.no_grad():
                for _ in range(2):
                    self.work.outputs(self.work.draw())
        yield


class CompilesUpdates(Plain):
    """Compiles its update rule with torch.jit.trace."""

    def update(self, work: Work) -> None:
        work.backward(work.draw())
        if self.steps == 1:
            self.rule = torch.jit.trace(lambda p, g: p - 0.05 * g, (torch.zeros(3), torch.ones(3)))  # type: ignore[no-untyped-call]
        with torch.no_grad():
            for p in self.model.parameters():
                if p.grad is not None:
                    p.copy_(self.rule(p, p.grad))


class DataLoaderWorkers(Plain):
    """Reads numbers from a DataLoader with a worker process, once."""

    def update(self, work: Work) -> None:
        if self.steps == 2:
            loader: Any = torch.utils.data.DataLoader(list(range(32)), batch_size=8, num_workers=1)  # type: ignore[arg-type]
            self.total = sum(int(values.sum()) for values in loader)
        super().update(work)


def _sum_squares(n: int) -> int:
    return sum(i * i for i in range(n))


class ChildProcess(Plain):
    """Computes in a child process."""

    def update(self, work: Work) -> None:
        if self.steps == 3:
            child = multiprocessing.get_context("fork").Process(target=_sum_squares, args=(100_000,))
            child.start()
            child.join()
        super().update(work)


class Program(Plain):
    """Runs a program that ends."""

    def update(self, work: Work) -> None:
        if self.steps == 3:
            subprocess.run([sys.executable, "-S", "-c", ""], check=True)
        super().update(work)


class Accumulates(Plain):
    """Accumulates gradients, and updates the weights at every second step."""

    def step(self, work: Work) -> None:
        self.steps += 1
        work.backward(work.draw(), scale=0.5)
        if self.steps % 2 == 0:
            self.optimizer.step()
            self.optimizer.zero_grad()


class StatisticsHooks(Plain):
    """Records the mean absolute output of every module, with forward hooks."""

    def __init__(self, model: nn.Module, task: Task, hparams: dict[str, Any]) -> None:
        super().__init__(model, task, hparams)
        self.sizes: dict[str, float] = {}
        for name, module in model.named_modules():
            module.register_forward_hook(self.hook(name))

    def hook(self, name: str) -> Any:
        def note(module: nn.Module, args: Any, output: Any) -> None:
            if isinstance(output, Tensor):
                self.sizes[name] = float(output.detach().float().abs().mean())

        return note


class Averages(Plain):
    """Evaluates an exponential moving average of the weights."""

    @property
    def mean(self) -> list[Tensor]:
        if not hasattr(self, "_mean"):
            self._mean = [p.detach().clone() for p in self.model.parameters()]
        return self._mean

    def update(self, work: Work) -> None:
        super().update(work)
        for m, p in zip(self.mean, self.model.parameters(), strict=True):
            m.lerp_(p.detach(), 0.1)

    @contextmanager
    def eval_weights(self) -> Iterator[None]:
        weights = [p.detach().clone() for p in self.model.parameters()]
        self.put(self.mean)
        yield
        self.put(weights)

    def put(self, values: list[Tensor]) -> None:
        with torch.no_grad():
            for p, v in zip(self.model.parameters(), values, strict=True):
                p.copy_(v)


class SwapsData(Averages):
    """Puts the averages into the model by assigning `.data`."""

    def put(self, values: list[Tensor]) -> None:
        for p, v in zip(self.model.parameters(), values, strict=True):
            p.data = v.clone()


class Clips(Plain):
    """Clips gradients."""

    def update(self, work: Work) -> None:
        work.backward(work.draw())
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()


class Snapshots(Plain):
    """Restores a snapshot if a step increased the loss."""

    def update(self, work: Work) -> None:
        if self.steps % 5:
            super().update(work)
            return
        batch, snapshot = work.draw(), self.task.snapshot()
        loss_before = float(work.backward(batch))
        self.optimizer.step()
        with torch.no_grad():
            if float(work.loss(batch)) > loss_before:
                self.task.restore(snapshot)


class Functional(Plain):
    """Computes the gradient of a penalty with torch.func."""

    def update(self, work: Work) -> None:
        work.backward(work.draw())
        values = {n: p.detach() for n, p in self.model.named_parameters()}
        penalty = torch.func.grad(lambda v: sum(t.square().sum() for t in v.values()))(values)
        for name, p in self.model.named_parameters():
            if p.grad is not None:
                p.grad.add_(penalty[name], alpha=1e-4)
        self.optimizer.step()


class AutogradGrad(Plain):
    """Computes gradients with torch.autograd.grad."""

    def update(self, work: Work) -> None:
        loss = work.loss(work.draw())
        parameters = [p for p in self.model.parameters() if p.requires_grad]
        for p, g in zip(parameters, torch.autograd.grad(loss, parameters, allow_unused=True), strict=True):
            p.grad = g
        self.optimizer.step()


class UpdatesByHand(Plain):
    """Updates the weights without an optimizer."""

    def update(self, work: Work) -> None:
        work.backward(work.draw())
        with torch.no_grad():
            for p in self.model.parameters():
                if p.grad is not None:
                    p.sub_(p.grad.sign() * p.grad.abs().sqrt(), alpha=0.05)


class _Scale(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return gradients[0] * 0.9


class CustomFunction(Plain):
    """Passes the loss through an autograd function of its own."""

    def update(self, work: Work) -> None:
        _Scale.apply(work.loss(work.draw())).backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()


class Numpy(Plain):
    """Computes the learning rate with numpy, from its own random numbers."""

    def update(self, work: Work) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = float(np.clip(np.random.default_rng(self.steps).normal(0.05, 0.01), 0.02, 0.08))
        super().update(work)


class ReplacesOptimizer(Plain):
    """Replaces its optimizer, SGD, by Adam at the third step."""

    def update(self, work: Work) -> None:
        if self.steps == 3:
            self.optimizer = torch.optim.Adam(self.model.parameters(), lr=3e-3)
        super().update(work)


class RemakesOptimizer(Plain):
    """Makes a new optimizer every fifty steps."""

    def update(self, work: Work) -> None:
        if self.steps % 50 == 0:
            self.optimizer = self.make_optimizer()
        super().update(work)


class DoubleState(Plain):
    """Keeps a running mean of the loss in double precision."""

    def update(self, work: Work) -> None:
        loss = work.backward(work.draw())
        self.mean = 0.9 * getattr(self, "mean", torch.zeros((), dtype=torch.float64)) + 0.1 * loss.double()
        self.optimizer.step()


class Talks(Plain):
    """Prints and logs in every step."""

    def update(self, work: Work) -> None:
        print("step", self.steps, flush=True)
        logging.getLogger("honest").warning("step %d", self.steps)
        super().update(work)


class ImportsLate(Plain):
    """Imports scipy in a step."""

    def update(self, work: Work) -> None:
        if self.steps == 2:
            import scipy.optimize  # noqa: F401
        super().update(work)


class CollectsGarbage(Plain):
    """Collects garbage in steps."""

    def update(self, work: Work) -> None:
        super().update(work)
        if self.steps % 20 == 0:
            gc.collect()


class Threads(Plain):
    """Computes in a thread that ends before the step ends. A second thread waits until the run ends."""

    def update(self, work: Work) -> None:
        if self.steps == 1:
            threading.Thread(target=threading.Event().wait, daemon=True).start()
        thread = threading.Thread(target=_sum_squares, args=(1000,))
        thread.start()
        super().update(work)
        thread.join()


class LargeState(Plain):
    """Has a state of some megabytes."""

    def update(self, work: Work) -> None:
        if self.steps == 1:
            self.history = torch.zeros(64, 8192)
        super().update(work)

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "history": getattr(self, "history", torch.zeros(64, 8192))}


class Perturbs(Plain):
    """Computes two gradients per step: at the weights, and at weights moved along the first gradient."""

    def update(self, work: Work) -> None:
        batch = work.draw()
        work.backward(batch)
        with torch.no_grad():
            moved = [(p, 0.01 * p.grad) for p in self.model.parameters() if p.grad is not None]
            for p, delta in moved:
                p.add_(delta)
        self.optimizer.zero_grad()
        work.backward(batch)
        with torch.no_grad():
            for p, delta in moved:
                p.sub_(delta)
        self.optimizer.step()


class Mixes(Plain):
    """Trains on batches that are concatenations of two draws."""

    def update(self, work: Work) -> None:
        work.backward(Batch.cat([work.draw(), work.draw()]))
        self.optimizer.step()


class Freezes(Plain):
    """Freezes all parameters except the last two in the first ten steps."""

    def update(self, work: Work) -> None:
        for p in list(self.model.parameters())[:-2]:
            p.requires_grad_(self.steps > 10)
        super().update(work)


NAMES = tuple(
    name
    for name, value in list(globals().items())
    if isinstance(value, type) and issubclass(value, Plain) and value.__module__ == __name__
)
