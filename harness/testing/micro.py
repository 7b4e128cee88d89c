"""Micro-workloads, on which a run of a few steps takes a fraction of a second.

`micro-images` is a pool of small images with quality scores, for a network with a convolution and batch norm.
`micro-text` is a pool of token sequences, for a model with an embedding and a head. `micro-stream` is a stream of two
stages with a replay buffer.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from harness.api import (
    Batch,
    Budget,
    Kind,
    Pool,
    Split,
    Stage,
    StagedStream,
    Stream,
    Target,
    TensorPool,
    Uniform,
    WorkloadEntry,
    WorkloadFacts,
)

#: Seed of the held-out examples of each split.
_SPLIT_SEEDS = {"feedback": 1, "score": 2, "audit": 3}
_POOL_SIZE, _HELD_OUT = 256, 128
_LENGTH, _VOCABULARY = 12, 8
_COMMON: dict[str, Any] = {"version": "1", "tier": "cpu", "batch_sizes": (16, 8, 32), "eval_every": 64}
_BUDGET = Budget(horizon=6400, gradient_examples=64_000, seconds={"default": 60.0})

IMAGE_FACTS = WorkloadFacts(
    name="micro-images",
    targets=(Target(metric="cross_entropy", goal="min", value=0.05, unit="nats"),),
    budget=_BUDGET,
    model_options={"dropout": Uniform(0.0, 0.5, default=0.0)},
    scores=("quality",),
    example="6x6 image",
    **_COMMON,
)
TEXT_FACTS = WorkloadFacts(
    name="micro-text",
    targets=(Target(metric="cross_entropy", goal="min", value=0.9, unit="nats"),),
    budget=_BUDGET,
    example=f"sequence of {_LENGTH} tokens",
    tokens_per_example=_LENGTH,
    **_COMMON,
)
_ACCURACY = Target(metric="accuracy", goal="max", value=0.95)
STREAM_FACTS = WorkloadFacts(
    name="micro-stream",
    access="stream",
    targets=(_ACCURACY,),
    stages=tuple(
        Stage(name=name, targets=(_ACCURACY,), floors=floors, max_examples=3200)
        for name, floors in (("two", ()), ("third", (Target(metric="accuracy/0", goal="max", value=0.5),)))
    ),
    budget=_BUDGET,
    replay_capacity=32,
    example="point in the plane",
    **_COMMON,
)


def _generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


class _Classifier:
    """Base class of the micro-workloads. The loss is the cross-entropy of the outputs."""

    def loss(self, model: nn.Module, batch: Batch, per_example: bool = False) -> Tensor:
        losses_B = F.cross_entropy(self.outputs(model, batch), batch["y"], reduction="none")
        if losses_B.dim() > 1:  # a loss of each token
            losses_B = losses_B.mean(1)
        return losses_B if per_example else losses_B.mean()

    def outputs(self, model: nn.Module, batch: Batch) -> Tensor:
        logits: Tensor = model(batch["x"])
        return logits


class MicroImages(_Classifier):
    """The task is to predict which of three stripes an image has."""

    facts = IMAGE_FACTS

    def build_model(self, seed: int, dropout: float = 0.0) -> nn.Module:
        torch.manual_seed(seed)
        return nn.Sequential(
            nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Dropout(dropout), nn.Linear(64, 3)
        )

    def parameter_kinds(self, model: nn.Module) -> dict[str, Kind]:
        kinds: dict[str, Kind] = {"0.weight": "conv", "1.weight": "norm", "1.bias": "norm", "5.weight": "head"}
        return {**dict.fromkeys(("0.bias", "5.bias"), "bias"), **kinds}

    def train_data(self, seed: int) -> Pool | Stream:
        x, y = self._images(0, _POOL_SIZE)
        return TensorPool(x=x, y=y, scores={"quality": torch.linspace(0, 1, _POOL_SIZE)})

    def evaluate(self, model: nn.Module, split: Split, stage: int | None = None) -> dict[str, float]:
        x, y = self._images(_SPLIT_SEEDS[split], _HELD_OUT)
        return {"cross_entropy": float(self.loss(model, Batch(x=x, y=y)))}

    @staticmethod
    def _images(seed: int, n: int) -> tuple[Tensor, Tensor]:
        generator = _generator(seed)
        y = torch.randint(3, (n,), generator=generator)
        stripes = torch.zeros(n, 1, 6, 6)
        stripes[torch.arange(n), 0, 2 * y] = 1.0
        return stripes + 0.5 * torch.randn(n, 1, 6, 6, generator=generator), y


class MicroText(_Classifier):
    """The task is to predict the next token of a sequence that usually counts up by one."""

    facts = TEXT_FACTS

    def build_model(self, seed: int) -> nn.Module:
        torch.manual_seed(seed)
        return nn.Sequential(
            nn.Embedding(_VOCABULARY, 16),
            nn.Linear(16, 16),
            nn.ReLU(),
            nn.LayerNorm(16),
            nn.Linear(16, _VOCABULARY, bias=False),
        )

    def parameter_kinds(self, model: nn.Module) -> dict[str, Kind]:
        kinds: dict[str, Kind] = {"0.weight": "embedding", "1.weight": "matrix", "1.bias": "bias", "4.weight": "head"}
        return {**kinds, "3.weight": "norm", "3.bias": "norm"}

    def outputs(self, model: nn.Module, batch: Batch) -> Tensor:
        return super().outputs(model, batch).transpose(1, 2)  # (n, vocabulary, length), for the cross-entropy

    def train_data(self, seed: int) -> Pool | Stream:
        x, y = self._sequences(0, _POOL_SIZE)
        return TensorPool(x=x, y=y)

    def evaluate(self, model: nn.Module, split: Split, stage: int | None = None) -> dict[str, float]:
        x, y = self._sequences(_SPLIT_SEEDS[split], _HELD_OUT)
        return {"cross_entropy": float(self.loss(model, Batch(x=x, y=y)))}

    @staticmethod
    def _sequences(seed: int, n: int) -> tuple[Tensor, Tensor]:
        generator = _generator(seed)
        steps = 1 + torch.randint(5, (n, _LENGTH + 1), generator=generator).eq(0).long()
        tokens = (torch.randint(_VOCABULARY, (n, 1), generator=generator) + steps.cumsum(1)) % _VOCABULARY
        return tokens[:, :-1], tokens[:, 1:]


class MicroStream(_Classifier):
    """The task is to predict the class of points in the plane: two classes in stage 1, and a third one in stage 2."""

    facts = STREAM_FACTS
    _classes = ((0, 1), (2,))

    def build_model(self, seed: int) -> nn.Module:
        torch.manual_seed(seed)
        return nn.Sequential(nn.Linear(2, 16), nn.ReLU(), nn.Linear(16, 3))

    def parameter_kinds(self, model: nn.Module) -> dict[str, Kind]:
        return {"0.weight": "matrix", "0.bias": "bias", "2.weight": "head", "2.bias": "bias"}

    def train_data(self, seed: int) -> Pool | Stream:
        stages = [self._points(0, classes, _POOL_SIZE) for classes in self._classes]
        return StagedStream([TensorPool(x=x, y=y) for x, y in stages], seed)

    def evaluate(self, model: nn.Module, split: Split, stage: int | None = None) -> dict[str, float]:
        metrics = {}
        for k, classes in enumerate(self._classes[: (stage or 0) + 1]):
            x, y = self._points(_SPLIT_SEEDS[split], classes, _HELD_OUT)
            metrics[f"accuracy/{k}"] = float((model(x).argmax(1) == y).float().mean())
        return {"accuracy": sum(metrics.values()) / len(metrics), **metrics}

    @staticmethod
    def _points(seed: int, classes: tuple[int, ...], n: int) -> tuple[Tensor, Tensor]:
        generator = _generator(seed + 10 * len(classes))
        y = torch.tensor(classes)[torch.randint(len(classes), (n,), generator=generator)]
        centres = torch.tensor([[2.0, 0.0], [-1.0, 1.7], [-1.0, -1.7]])
        return centres[y] + 0.5 * torch.randn(n, 2, generator=generator), y


def _entry(cls: type, facts: WorkloadFacts) -> WorkloadEntry:
    summary = (cls.__doc__ or "").strip().rstrip(".")
    return WorkloadEntry(facts=facts, load=f"{__name__}:{cls.__name__}", summary=summary, distribution="algorace")


#: The micro-workloads by name.
MICRO_WORKLOADS = {
    facts.name: _entry(cls, facts)
    for cls, facts in ((MicroImages, IMAGE_FACTS), (MicroText, TEXT_FACTS), (MicroStream, STREAM_FACTS))
}
