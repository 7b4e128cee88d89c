"""Submissions and workloads that break the contract, each in one way."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from harness.api import Batch, Choice, Split, Uniform
from harness.testing import MicroText
from harness.testing.micro import TEXT_FACTS


class Good:
    """SGD with momentum."""

    search_space: ClassVar[Any] = {"lr": Uniform(0.01, 0.1), "nesterov": Choice((True, False))}
    needs: ClassVar[frozenset[str]] = frozenset()

    def __init__(self, model: nn.Module, task: Any, hparams: Any) -> None:
        self.model, self.task, self.hparams = model, task, hparams
        self.optimizer = torch.optim.SGD(model.parameters(), lr=hparams["lr"], momentum=0.9)

    def step(self, work: Any) -> None:
        self.optimizer.zero_grad()
        work.backward(work.draw())
        self.optimizer.step()

    @contextmanager
    def eval_weights(self) -> Iterator[None]:
        yield

    def state_dict(self) -> dict[str, Any]:
        return self.optimizer.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.optimizer.load_state_dict(state)


class Crashing(Good):
    def step(self, work: Any) -> None:
        raise ValueError("an empty step")


class Idle(Good):
    def step(self, work: Any) -> None: ...


class Unrepeatable(Good):
    def step(self, work: Any) -> None:
        super().step(work)
        with torch.no_grad():
            next(self.model.parameters()).mul_(1 + 1e-3 * (time.perf_counter_ns() % 997))


class Forgetful(Good):
    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None: ...


class Swapping(Good):
    @contextmanager
    def eval_weights(self) -> Iterator[None]:
        with torch.no_grad():
            next(self.model.parameters()).mul_(0.99)
        yield


class NeedsHorizon(Good):
    def __init__(self, model: nn.Module, task: Any, hparams: Any) -> None:
        super().__init__(model, task, hparams)
        self.last = 0.75 * task.horizon


class Narrow(Good):
    def __init__(self, model: nn.Module, task: Any, hparams: Any) -> None:
        super().__init__(model, task, hparams)
        if not hparams["nesterov"]:
            raise ValueError("only nesterov")


class Seedless(MicroText):
    def build_model(self, seed: int) -> nn.Module:
        return super().build_model(5)


class Unseeded(MicroText):
    def build_model(self, seed: int) -> nn.Module:
        return super().build_model(int(torch.randint(1000, ())))


class WrongKinds(MicroText):
    def parameter_kinds(self, model: nn.Module) -> dict[str, Any]:
        return {**super().parameter_kinds(model), "0.weight": "matrx"}


class MissingKinds(MicroText):
    def parameter_kinds(self, model: nn.Module) -> dict[str, Any]:
        return {name: kind for name, kind in super().parameter_kinds(model).items() if name != "4.weight"}


class Scored(MicroText):
    def train_data(self, seed: int) -> Any:
        pool: Any = super().train_data(seed)
        pool.scores = {"quality": torch.zeros(len(pool))}
        return pool


class SummedLoss(MicroText):
    def loss(self, model: nn.Module, batch: Batch, per_example: bool = False) -> Tensor:
        losses = super().loss(model, batch, per_example=True)
        return losses if per_example else losses.sum()


class NoMetric(MicroText):
    def evaluate(self, model: nn.Module, split: Split, stage: int | None = None) -> dict[str, float]:
        return {"loss": 1.0}


class OneSplit(MicroText):
    def evaluate(self, model: nn.Module, split: Split, stage: int | None = None) -> dict[str, float]:
        return super().evaluate(model, "score", stage)


class Stateful(MicroText):
    evaluations = 0

    def evaluate(self, model: nn.Module, split: Split, stage: int | None = None) -> dict[str, float]:
        self.evaluations += 1
        return {name: value + 1e-3 * self.evaluations for name, value in super().evaluate(model, split, stage).items()}


class Redrawn(MicroText):
    def draw_held_out(self, seeds: Mapping[Split, str]) -> None: ...


class FailingLoss(MicroText):
    def loss(self, model: nn.Module, batch: Batch, per_example: bool = False) -> Tensor:
        if model.training:
            raise ValueError("a loss for evaluations only")
        return super().loss(model, batch, per_example)


FACTS = TEXT_FACTS
