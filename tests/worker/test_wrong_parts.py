"""Parts of a split are not used where they would mislead: every case once gave a wrong decision or a wrong metric.

The workloads here have a table of values instead of a model: one number per example, which depends on the only weight.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
import safetensors.torch
import torch
from torch import Tensor, nn

from harness.api import WHOLE, Shard, Split, Stage, Target, evaluation_rows
from harness.contract.entries import WorkloadEntry
from harness.worker.evaluator import Evaluator
from harness.worker.weights import save_weights, stored_tensors
from tests import micro
from tests.helpers import spec_of, submission

#: weight and stage -> the values of every task.
Table = Callable[[float, int | None], Sequence[Tensor]]
N = 2_000


class Weight(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.value = nn.Parameter(torch.zeros(1))

    def at(self, value: float) -> Weight:
        with torch.no_grad():
            self.value.fill_(value)
        return self


def target(metric: str, value: float) -> Target:
    return Target(metric=metric, goal="max" if metric == "average" else "min", value=value)


class Values(micro.Micro):
    """The metric `loss` is the mean of the values."""

    facts = msgspec.structs.replace(micro.FACTS, name="values", levels={}, targets=(target("loss", 0.1),))

    def __init__(self, table: Table) -> None:
        self.table = table

    def rows(self, task: int, shard: Shard, n: int) -> Tensor:
        return evaluation_rows(shard, n)

    def measure(
        self, model: nn.Module, split: Split, shard: Shard = WHOLE, stage: int | None = None
    ) -> dict[str, Tensor]:
        assert isinstance(model, Weight)
        tasks = self.table(float(model.value.detach()), stage)
        return {f"task/{k}": values[self.rows(k, shard, len(values))] for k, values in enumerate(tasks)}

    def example_values(
        self, measured: Mapping[str, Tensor], split: Split, shard: Shard = WHOLE, stage: int | None = None
    ) -> dict[str, tuple[Tensor, ...]]:
        return {"loss": tuple(measured.values())}

    def metrics(self, measured: Mapping[str, Tensor], split: Split, stage: int | None = None) -> dict[str, float]:
        return {"loss": float(measured["task/0"].double().mean())}

    def evaluate(self, model: nn.Module, split: Split, stage: int | None = None) -> dict[str, float]:
        return self.metrics(self.measure(model, split, WHOLE, stage), split, stage)


class Tasks(Values):
    """The metric `average` is the mean of the tasks' accuracies."""

    facts = msgspec.structs.replace(
        micro.STREAM_FACTS,
        name="tasks",
        targets=(target("average", 0.8),),
        stages=tuple(Stage(name=f"s{k}", targets=(target("average", 0.8),), max_examples=1_600) for k in range(2)),
    )

    def example_values(
        self, measured: Mapping[str, Tensor], split: Split, shard: Shard = WHOLE, stage: int | None = None
    ) -> dict[str, tuple[Tensor, ...]]:
        return {"average": tuple(measured.values())}

    def metrics(self, measured: Mapping[str, Tensor], split: Split, stage: int | None = None) -> dict[str, float]:
        return {"average": math.fsum(float(task.double().mean()) for task in measured.values()) / len(measured)}


def evaluator(workload: Values) -> Evaluator:
    kind = type(workload)
    entry = WorkloadEntry(facts=kind.facts, load=f"{__name__}:{kind.__name__}", summary="a table", distribution="tests")
    made: Any = workload
    return Evaluator(spec_of(submission("tests.submissions_for_tests:Base"), entry), made)


def random(n: int, seed: int) -> Tensor:
    return torch.rand(n, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def second_stage_is_whole(workload: Tasks) -> Evaluator:
    """Check that evaluations of the second stage have the metrics of the whole split, and return the evaluator."""
    judge, model = evaluator(workload), Weight()
    judge.evaluate(model, stage=0)
    decisions = {"the end": (target("average", 0.8),)}
    for weight in (1, 2):
        found = judge.evaluate(model.at(weight), stage=1, decisions=decisions)
        assert found.metrics == workload.evaluate(model, "score", 1)
    return judge


def test_a_metric_that_differs_from_the_mean_only_in_later_stages() -> None:
    class Pooled(Tasks):
        """It weights tasks by their sizes, which makes no difference while there is one task."""

        def metrics(self, measured: Mapping[str, Tensor], split: Split, stage: int | None = None) -> dict[str, float]:
            return {"average": float(torch.cat(list(measured.values())).double().mean())}

    workload = Pooled(lambda weight, stage: [random(N, 1) < 0.95, *([random(N // 10, 2) < 0.3] if stage else [])])
    judge = second_stage_is_whole(workload)
    assert "the mean of the values of average" in judge.warnings[0]


def test_a_later_task_whose_first_examples_are_no_random_sample() -> None:
    class Sorted(Tasks):
        def rows(self, task: int, shard: Shard, n: int) -> Tensor:
            return torch.arange(n)[list(shard.rows(n))] if task else super().rows(task, shard, n)

    workload = Sorted(lambda weight, stage: [random(600, 1) < 0.95, *([torch.arange(600) >= 120] if stage else [])])
    judge = second_stage_is_whole(workload)
    assert judge.warnings


def test_a_workload_is_not_trusted_before_it_was_checked() -> None:
    """Infinite metrics of the untrained model postpone the check."""

    class Perplexity(Values):
        def example_values(
            self, measured: Mapping[str, Tensor], split: Split, shard: Shard = WHOLE, stage: int | None = None
        ) -> dict[str, tuple[Tensor, ...]]:
            return {"loss": (2 * measured["task/0"],)}

        def metrics(self, measured: Mapping[str, Tensor], split: Split, stage: int | None = None) -> dict[str, float]:
            found = super().metrics(measured, split, stage)
            return found | {"perplexity": float(torch.tensor(200 * found["loss"], dtype=torch.float32).exp())}

    workload = Perplexity(lambda weight, _: [random(N, int(weight)) * (2 if weight == 0 else 0.3)])
    judge, model = evaluator(workload), Weight()
    assert judge.evaluate(model).metrics["perplexity"] == math.inf
    for weight in (2, 3):
        found = judge.evaluate(model.at(weight), decisions={"the target": (target("loss", 0.2),)})
        assert found.metrics == workload.evaluate(model, "score")


def test_equal_values_say_nothing_about_the_others() -> None:
    part = evaluation_rows(Shard(stop=64), N)

    def table(weight: float, stage: int | None) -> list[Tensor]:
        low = random(N, 3) < 0.01
        low[part] = False
        return [torch.where(low, 0.0, 100.0) if weight else torch.full((N,), 100.0)]

    workload = Values(table)
    judge, model = evaluator(workload), Weight()
    judge.evaluate(model)
    found = judge.evaluate(model.at(1), decisions={"the target": (target("loss", 99.5),)})
    assert found.metrics["loss"] == workload.evaluate(model, "score")["loss"] < 99.5


@pytest.mark.parametrize("change", [0.2, 1e-7])
def test_values_that_fit_both_orders_decide_for_neither(change: float) -> None:
    weights_N = torch.randn(1_000, generator=torch.Generator().manual_seed(9), dtype=torch.float64)

    class Weighted(Values):
        """A metric of the whole split depends on the order of the examples."""

        def metrics(self, measured: Mapping[str, Tensor], split: Split, stage: int | None = None) -> dict[str, float]:
            values = measured["task/0"].double()
            return {"loss": float(values.mean()), "weighted": float((values * weights_N).mean())}

    first = {*range(64), *evaluation_rows(Shard(stop=64), 1_000).tolist()}
    others = [row for row in range(1_000) if row not in first][:4]

    def table(weight: float, stage: int | None) -> list[Tensor]:
        values = torch.ones(1_000, dtype=torch.float64)
        if weight:
            return [random(1_000, int(weight)) + 0.5 * weights_N]
        values[others] += change
        return [values]

    workload = Weighted(table)
    judge, model = evaluator(workload), Weight()
    judge.evaluate(model)
    for weight in (1, 2):
        wanted = workload.evaluate(model.at(weight), "score")
        found = judge.evaluate(model, decisions={"the target": (target("loss", wanted["loss"] - 1e-4),)})
        assert found.metrics == pytest.approx(wanted)


def test_values_below_their_bound_by_rounding_exclude_no_tiny_target() -> None:
    class Bounded(Values):
        value_bounds: Mapping[str, tuple[float, float]] = {"loss": (0.0, math.inf)}

    def table(weight: float, stage: int | None) -> list[Tensor]:
        values = torch.full((1_000,), -9e-7, dtype=torch.float64)
        values[:960:16] = 1.8e-4 if weight else 2e-4
        return [values]

    workload = Bounded(table)
    judge, model = evaluator(workload), Weight()
    judge.evaluate(model)
    found = judge.evaluate(model.at(1), decisions={"the target": (target("loss", 1e-5),)})
    assert found.metrics["loss"] == pytest.approx(workload.evaluate(model, "score")["loss"])
    assert found.metrics["loss"] < 1e-5
    assert found.examples is None, "a part must not exclude the target"


def test_a_stage_with_fewer_examples_than_a_part_leaves_the_others_screened() -> None:
    workload = Tasks(lambda weight, stage: [random(50, 1) < 0.9, *([random(N, 2) < 0.3] if stage else [])])
    judge, model = evaluator(workload), Weight()
    decisions = {"the end": (target("average", 0.99),)}
    assert judge.evaluate(model, stage=0, decisions=decisions).examples is None
    judge.evaluate(model.at(1), stage=1, decisions=decisions)
    assert judge.evaluate(model.at(2), stage=1, decisions=decisions).examples is not None
    assert not judge.warnings


def test_a_workload_may_change_the_rows_that_it_got() -> None:
    before = evaluation_rows(Shard(stop=8), 100).tolist()
    rows = evaluation_rows(Shard(stop=8), 100)
    rows += 100
    assert evaluation_rows(Shard(stop=8), 100).tolist() == before


def test_tensors_that_share_a_part_of_their_memory_are_all_stored(tmp_path: Path) -> None:
    class Shares(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            whole = torch.arange(8.0)
            self.register_buffer("first", whole[:1])
            self.register_buffer("tied", whole)
            self.register_buffer("whole", whole)

    model = Shares()
    assert set(stored_tensors(model)) == {"first", "tied"}
    save_weights(model, tmp_path / "weights")
    stored = safetensors.torch.load((tmp_path / "weights").read_bytes())
    assert {name: tensor.tolist() for name, tensor in stored.items()} == {"first": [0.0], "tied": list(range(8))}
