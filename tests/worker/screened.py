"""Workloads whose evaluations may be screened, and some that claim it and are wrong."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from harness.api import WHOLE, Shard, Split, Target, WorkloadEntry, evaluation_rows
from tests import micro

_SEEDS = {"feedback": 2, "score": 3, "audit": 4}
POINTS = 1000
_LEVELS = {"easy": (Target(metric="loss", goal="min", value=0.5),)}


def _facts(name: str, base: Any = micro.FACTS, **fields: Any) -> Any:
    return msgspec.structs.replace(base, name=name, **fields)


class Screened(micro.Micro):
    """Without `example_values`: its measured values have the names of the metrics."""

    facts = _facts("micro-screened", levels=_LEVELS)
    #: The rows of windows that were measured, as (first, last + 1).
    windows: list[tuple[int, int]]

    def __init__(self) -> None:
        self.windows = []

    def examples(self, split: Split) -> tuple[Tensor, Tensor]:
        return micro.points(POINTS, _SEEDS[split])

    def measure(
        self, model: nn.Module, split: Split, shard: Shard = WHOLE, stage: int | None = None
    ) -> dict[str, Tensor]:
        x, y = self.examples(split)
        rows = shard.rows(POINTS)
        self.windows.append((rows.start, rows.stop))
        out = model(x[rows.start : rows.stop])
        y = y[rows.start : rows.stop]
        return {"loss": F.cross_entropy(out, y, reduction="none").double(), "accuracy": out.argmax(1) == y}

    def metrics(self, measured: Mapping[str, Tensor], split: Split, stage: int | None = None) -> dict[str, float]:
        assert all(len(values) == POINTS for values in measured.values())
        return {name: float(values.double().mean()) for name, values in measured.items()}

    def evaluate(self, model: nn.Module, split: Split, stage: int | None = None) -> dict[str, float]:
        return self.metrics(self.measure(model, split, WHOLE, stage), split, stage)


class Shuffled(Screened):
    """Its windows are in the order of `evaluation_rows`."""

    facts = _facts("micro-shuffled", levels=_LEVELS)

    def measure(
        self, model: nn.Module, split: Split, shard: Shard = WHOLE, stage: int | None = None
    ) -> dict[str, Tensor]:
        rows = evaluation_rows(shard, POINTS)
        measured = super().measure(model, split)
        self.windows[-1] = (shard.start, shard.start + len(rows))
        return {name: tensor[rows] for name, tensor in measured.items()}


class Hard(Screened):
    """Few of its examples have most of the loss. It measures the examples that a shard chooses."""

    facts = _facts("micro-hard", targets=(Target(metric="loss", goal="min", value=0.05),), levels={})
    value_bounds: Mapping[str, tuple[float, float]] = {"loss": (0.0, math.inf)}
    #: The numbers of examples that were measured.
    sizes: list[int]

    def __init__(self) -> None:
        super().__init__()
        self.sizes = []

    def measure(
        self, model: nn.Module, split: Split, shard: Shard = WHOLE, stage: int | None = None
    ) -> dict[str, Tensor]:
        measured = super().measure(model, split)
        hard = torch.rand(POINTS, generator=torch.Generator().manual_seed(5)) < 0.1
        rows = evaluation_rows(shard, POINTS)
        self.sizes.append(len(rows))
        values = {"loss": measured["loss"] * hard, "accuracy": measured["accuracy"]}
        return {name: tensor[rows] for name, tensor in values.items()}


class Smooth(Screened):
    """Its losses have light tails, and change less between evaluations than they differ between examples."""

    facts = _facts(
        "micro-smooth",
        targets=(Target(metric="loss", goal="min", value=0.14),),
        levels={"easy": (Target(metric="loss", goal="min", value=0.17),)},
    )

    def measure(
        self, model: nn.Module, split: Split, shard: Shard = WHOLE, stage: int | None = None
    ) -> dict[str, Tensor]:
        measured = super().measure(model, split, shard, stage)
        difficulty = 2 * torch.rand(POINTS, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
        rows = shard.rows(POINTS)
        offset = (difficulty - difficulty.mean())[rows.start : rows.stop]
        return {"loss": measured["loss"].tanh() + offset, "accuracy": measured["accuracy"]}


class Sorted(Screened):
    """Its split is sorted by class."""

    facts = _facts("micro-sorted", targets=(Target(metric="accuracy", goal="max", value=0.99),))

    def examples(self, split: Split) -> tuple[Tensor, Tensor]:
        x, y = super().examples(split)
        order = y.argsort()
        return x[order], y[order]


class Undivided(Screened):
    """It does not know of windows."""

    facts = _facts("micro-undivided")

    def measure(
        self, model: nn.Module, split: Split, shard: Shard = WHOLE, stage: int | None = None
    ) -> dict[str, Tensor]:
        return super().measure(model, split, Shard(index=shard.index, count=shard.count), stage)


class Overridden(Screened):
    """Its `evaluate` is not what its `measure` says."""

    facts = _facts("micro-overridden")

    def evaluate(self, model: nn.Module, split: Split, stage: int | None = None) -> dict[str, float]:
        return {name: value + 1.0 for name, value in super().evaluate(model, split, stage).items()}


class WrongValues(Screened):
    """The values of its examples are not what the metric is the mean of."""

    facts = _facts("micro-wrong")

    def example_values(
        self, measured: Mapping[str, Tensor], split: Split, shard: Shard = WHOLE, stage: int | None = None
    ) -> dict[str, Sequence[Tensor]]:
        return {"loss": (2 * measured["loss"],)}


class Misleading(Screened):
    """The first examples look worse than they are, from the second evaluation on."""

    facts = _facts("micro-misleading", targets=(Target(metric="loss", goal="min", value=0.8),))

    def measure(
        self, model: nn.Module, split: Split, shard: Shard = WHOLE, stage: int | None = None
    ) -> dict[str, Tensor]:
        measured = super().measure(model, split, shard, stage)
        trained = len(self.windows) > 4
        return {**measured, "loss": measured["loss"] + (5.0 if shard.windowed and trained else 0.0)}


class ScreenedStream(micro.MicroStream):
    """A stream with 600 points of every task and stages of at least ten evaluations."""

    facts = _facts(
        "micro-screened-stream",
        micro.STREAM_FACTS,
        stages=tuple(msgspec.structs.replace(stage, min_examples=640) for stage in micro.STREAM_FACTS.stages),
    )

    def measure(
        self, model: nn.Module, split: Split, shard: Shard = WHOLE, stage: int | None = None
    ) -> dict[str, Tensor]:
        measured = {}
        for k, classes in enumerate(((0, 1), (2,))[: (stage or 0) + 1]):
            x, y = micro.points(600, _SEEDS[split] + 10 * k, classes)
            rows = shard.rows(600)
            measured[f"right/{k}"] = model(x[rows.start : rows.stop]).argmax(1) == y[rows.start : rows.stop]
        return measured

    def metrics(self, measured: Mapping[str, Tensor], split: Split, stage: int | None = None) -> dict[str, float]:
        accuracies = {f"accuracy/{k}": float(measured[f"right/{k}"].double().mean()) for k in range(len(measured))}
        return {"avg_seen": sum(accuracies.values()) / len(accuracies), **accuracies}

    def example_values(
        self, measured: Mapping[str, Tensor], split: Split, shard: Shard = WHOLE, stage: int | None = None
    ) -> dict[str, Sequence[Tensor]]:
        tasks = list(measured.values())
        return {"avg_seen": tasks, **{f"accuracy/{k}": [task] for k, task in enumerate(tasks)}}

    def evaluate(self, model: nn.Module, split: Split, stage: int | None = None) -> dict[str, float]:
        return self.metrics(self.measure(model, split, WHOLE, stage), split, stage)


def entry(workload: type[micro.Micro]) -> WorkloadEntry:
    """The entry of one of these workloads."""
    return WorkloadEntry(
        facts=workload.facts,
        load=f"{workload.__module__}:{workload.__name__}",
        summary="points in the plane",
        distribution="tests",
    )


def untrained(workload: micro.Micro) -> nn.Module:
    """A model that has not learned anything."""
    return workload.build_model(0).eval()


def trained(workload: micro.Micro) -> nn.Module:
    """A model that separates the three classes as well as can be."""
    model = workload.build_model(0)
    x, y = micro.points(4000, 99)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    for _ in range(200):
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return model.eval()
