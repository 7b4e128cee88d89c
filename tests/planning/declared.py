"""Recipes, classes and workloads that entries of tests load."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any, ClassVar

import torch

from harness.api import Fixed, LogUniform, Parameter, Recipe, Uniform
from tests import micro


def sgd(parameters: Sequence[Parameter], lr: float, momentum: float = 0.0) -> torch.optim.Optimizer:
    return torch.optim.SGD([p.tensor for p in parameters], lr=lr, momentum=momentum)


SPACE: Any = {"lr": LogUniform(1e-3, 1.0, default=0.1), "momentum": Fixed(0.9, limits=(0.0, 1.0))}


Mine = Recipe(
    optimizer=sgd,
    schedule="cosine",
    search_space=SPACE,
    checks=("momentum < 1",),
    needs=frozenset({"horizon"}),
    model_options={"dropout": 0.1},
)
Ordered = Recipe(optimizer=sgd, order="sorted", search_space=SPACE)


class ByHand:
    search_space: ClassVar[Any] = {"lr": Uniform(0.0, 1.0)}
    needs = frozenset({"feedback"})
    version = "3"

    def __init__(self, model: Any, task: Any, hparams: Any) -> None: ...
    def step(self, work: Any) -> None: ...
    def eval_weights(self) -> Any:
        return nullcontext()

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None: ...


class WithoutLoading(ByHand):
    load_state_dict = None  # type: ignore[assignment]


class WrongStep(ByHand):
    def step(self) -> None: ...  # type: ignore[override]


class WrongConstructor(ByHand):
    def __init__(self, model: Any) -> None: ...


def reversed_arguments(lr: float, parameters: Any) -> Any: ...
def without_arguments() -> Any: ...
def with_rate(parameters: Any, rate: float) -> Any: ...
def without_rate(parameters: Any) -> Any: ...


BROKEN = {
    "NotCallable": Recipe(optimizer=3),  # type: ignore[arg-type]
    "NoArguments": Recipe(optimizer=without_arguments),
    "Gradient": Recipe(optimizer=sgd, search_space=SPACE, gradient=lambda model: None),
    "Rate": Recipe(optimizer=with_rate, schedule=lambda progress: 1.0, search_space=SPACE),
    "Reversed": Recipe(optimizer=reversed_arguments, schedule=lambda progress: 1.0, search_space=SPACE),
    "Unused": Recipe(optimizer=without_rate, schedule=lambda progress: 1.0, search_space=SPACE),
    "Horizon": Recipe(optimizer=sgd, schedule=lambda progress, horizon: 1.0, search_space=SPACE),
    "Needs": Recipe(optimizer=sgd, needs=frozenset({"magic"})),
}
globals().update(BROKEN)


class OtherFacts(micro.Micro):
    facts = micro.STREAM_FACTS


class NoSplit(micro.Micro):
    def evaluate(self, model: Any) -> dict[str, float]:  # type: ignore[override]
        return {}


class NoOption(micro.Micro):
    def build_model(self, seed: int) -> Any: ...  # type: ignore[override]
