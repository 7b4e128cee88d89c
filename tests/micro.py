"""Workloads small enough for hundreds of runs in a test: pools and a stream of 2-D points, three classes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from harness.api import (
    Batch,
    Budget,
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

_COMMON: dict[str, Any] = {
    "version": "1",
    "tier": "cpu",
    "batch_sizes": (16, 8, 32),
    "eval_every": 64,
    "example": "point in the plane",
}
FACTS = WorkloadFacts(
    name="micro",
    targets=(Target(metric="loss", goal="min", value=0.14, unit="nats"),),
    budget=Budget(horizon=6400, gradient_examples=12800, seconds={"default": 60.0}),
    model_options={"dropout": Uniform(0.0, 0.5, default=0.0)},
    scores=("quality",),
    **_COMMON,
)
_SEEN = Target(metric="avg_seen", goal="max", value=0.8)
STREAM_FACTS = WorkloadFacts(
    name="micro-stream",
    access="stream",
    targets=(_SEEN,),
    stages=(
        Stage(name="first", targets=(_SEEN,), max_examples=3200),
        Stage(
            name="second",
            targets=(_SEEN,),
            floors=(Target(metric="accuracy/0", goal="max", value=0.5),),
            max_examples=3200,
        ),
    ),
    budget=Budget(horizon=6400, gradient_examples=25600, seconds={"default": 60.0}),
    replay_capacity=50,
    **_COMMON,
)
ENTRY = WorkloadEntry(facts=FACTS, load="tests.micro:Micro", summary="points in the plane", distribution="tests")
STREAM_ENTRY = WorkloadEntry(
    facts=STREAM_FACTS, load="tests.micro:MicroStream", summary="points, class by class", distribution="tests"
)
REDRAWN_FACTS = msgspec.structs.replace(
    FACTS, name="micro-redrawn", targets=(Target(metric="loss", goal="min", value=0.2, unit="nats"),)
)
REDRAWN_ENTRY = WorkloadEntry(
    facts=REDRAWN_FACTS,
    load="tests.micro:MicroRedrawn",
    summary="points in the plane, other held-out points for every nonce",
    redraws_held_out=True,
    distribution="tests",
)
_CENTRES = torch.tensor([[2.0, 0.0], [-1.0, 1.7], [-1.0, -1.7]])


def points(n: int, seed: int, classes: tuple[int, ...] = (0, 1, 2)) -> tuple[Tensor, Tensor]:
    """n points (x_N2) and their classes (y_N)."""
    generator = torch.Generator().manual_seed(seed)
    y = torch.tensor(classes)[torch.randint(len(classes), (n,), generator=generator)]
    return _CENTRES[y] + 0.9 * torch.randn(n, 2, generator=generator), y


class Micro:
    """Classify points in the plane from a pool."""

    facts = FACTS

    def build_model(self, seed: int, dropout: float = 0.0) -> nn.Module:
        torch.manual_seed(seed)
        return nn.Sequential(nn.Linear(2, 16), nn.ReLU(), nn.Dropout(dropout), nn.Linear(16, 3))

    def parameter_kinds(self, model: nn.Module) -> dict[str, Any]:
        return {n: "bias" if n.endswith("bias") else "matrix" for n, _ in model.named_parameters()}

    def train_data(self, seed: int) -> Pool | Stream:
        x, y = points(512, 1)
        return TensorPool(x=x, y=y, scores={"quality": torch.linspace(0, 1, 512)})

    def loss(self, model: nn.Module, batch: Batch, per_example: bool = False) -> Tensor:
        return F.cross_entropy(model(batch["x"]), batch["y"], reduction="none" if per_example else "mean")

    def outputs(self, model: nn.Module, batch: Batch) -> Tensor:
        out: Tensor = model(batch["x"])
        return out

    def evaluate(self, model: nn.Module, split: Split, stage: int | None = None) -> dict[str, float]:
        x, y = points(256, {"feedback": 2, "score": 3, "audit": 4}[split])
        out = model(x)
        return {"loss": float(F.cross_entropy(out, y)), "accuracy": float((out.argmax(1) == y).float().mean())}


class MicroStream(Micro):
    """The same, one group of classes after the other."""

    facts = STREAM_FACTS

    def train_data(self, seed: int) -> Pool | Stream:
        stages = []
        for classes in ((0, 1), (2,)):
            x, y = points(256, 1 + len(classes), classes)
            stages.append(TensorPool(x=x, y=y))
        return StagedStream(stages, seed)

    def evaluate(self, model: nn.Module, split: Split, stage: int | None = None) -> dict[str, float]:
        metrics = {}
        for k, classes in enumerate(((0, 1), (2,))[: (stage or 0) + 1]):
            x, y = points(128, {"feedback": 2, "score": 3, "audit": 4}[split] + 10 * k, classes)
            metrics[f"accuracy/{k}"] = float((model(x).argmax(1) == y).float().mean())
        return {"avg_seen": sum(metrics.values()) / len(metrics), **metrics}


class MicroRedrawn(Micro):
    """The pool, with held-out points that follow from the nonce of a run."""

    facts = REDRAWN_FACTS

    def __init__(self) -> None:
        self.seeds: dict[Split, int] = {"feedback": 2, "score": 3, "audit": 4}

    def draw_held_out(self, seeds: Mapping[Split, str]) -> None:
        self.seeds |= {split: int(seed[:8], 16) for split, seed in seeds.items()}

    def evaluate(self, model: nn.Module, split: Split, stage: int | None = None) -> dict[str, float]:
        x, y = points(2048, self.seeds[split])
        out = model(x)
        return {"loss": float(F.cross_entropy(out, y)), "accuracy": float((out.argmax(1) == y).float().mean())}
