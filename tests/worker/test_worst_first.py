"""Chosen examples prove that a target is missed: never wrongly, and with few examples if few have most of the loss."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from harness.contract.workload import Goal, Shard, Target
from harness.worker.data.evaluation_order import evaluation_rows
from harness.worker.screening import LARGEST_SHARE, Decisions
from harness.worker.worst_first import WorstFirst, find_requirement

N = 400
LOSS_BOUNDS = {"loss": (0.0, math.inf)}


def decide(value: float, goal: Goal = "min", metric: str = "loss") -> Decisions:
    return {"the target": (Target(metric=metric, goal=goal, value=value),)}


class Split:
    """A split whose values are known. It notes the examples that are measured."""

    def __init__(self, values: Tensor, metric: str = "loss") -> None:
        self.values = values
        self.metric = metric
        self.rows: list[int] = []

    def whole(self) -> dict[str, Sequence[Tensor]]:
        return {self.metric: (self.values,)}

    def measure(self, shard: Shard) -> Mapping[str, Sequence[Tensor]]:
        rows = evaluation_rows(shard, len(self.values))
        self.rows += rows.tolist()
        return {self.metric: (self.values[rows],)}


def heavy(seed: int, scale: float = 1.0) -> Tensor:
    """Losses of a classifier: a tenth of the examples is hard."""
    generator = torch.Generator().manual_seed(seed)
    losses = 0.002 * torch.rand(N, generator=generator, dtype=torch.float64)
    hard = torch.randperm(N, generator=torch.Generator().manual_seed(1))[: N // 10]
    losses[hard] += scale * (0.5 + torch.rand(len(hard), generator=generator, dtype=torch.float64))
    return losses


def keep(values: Tensor, metric: str = "loss", bounds: Mapping[str, tuple[float, float]] = LOSS_BOUNDS) -> WorstFirst:
    split, worst_first = Split(values, metric), WorstFirst(bounds)
    worst_first.renew(split.whole(), None, split.measure)
    return worst_first


def test_the_hard_examples_prove_a_miss() -> None:
    split = Split(heavy(2))
    attempt = keep(heavy(1)).begin(decide(0.09), None, N)
    assert attempt is not None
    assert attempt.measure(split.measure)
    assert len(split.rows) == len(set(split.rows)) == attempt.examples < N / 3
    assert float(split.values[split.rows].sum()) > 0.09 * N
    _, means, errors = attempt.estimate()
    assert abs(means["loss"] - float(split.values.mean())) < 6 * errors["loss"]
    plain = float(split.values.std()) / attempt.examples**0.5
    assert errors["loss"] < plain / 2


def test_the_first_part_of_the_random_order_is_always_measured() -> None:
    split = Split(heavy(2))
    attempt = keep(heavy(1)).begin(decide(0.05), None, N)
    assert attempt is not None
    assert attempt.measure(split.measure)
    assert set(evaluation_rows(Shard(stop=64), N).tolist()) <= set(split.rows)


def test_the_estimate_is_stratified() -> None:
    values = heavy(2)
    split = Split(values)
    attempt = keep(heavy(1)).begin(decide(0.09), None, N)
    assert attempt is not None
    assert attempt.measure(split.measure)
    estimates, means, _ = attempt.estimate()
    first = evaluation_rows(Shard(stop=64), N).tolist()
    chosen = [row for row in split.rows if row not in first]
    easy = [row for row in first if float(values[row]) < 0.01]
    hard = [row for row in split.rows if row not in easy]
    assert set(chosen) <= set(hard)
    expected = (float(values[hard].sum()) + (N - len(hard)) * float(values[easy].mean())) / N
    assert means["loss"] == pytest.approx(expected, rel=1e-3)
    assert estimates["loss"].mean == means["loss"]
    assert estimates["loss"].examples == len(split.rows)


def test_wrong_predictions_prove_that_an_accuracy_is_missed() -> None:
    right = torch.ones(N, dtype=torch.bool)
    right[torch.randperm(N, generator=torch.Generator().manual_seed(3))[:60]] = False
    split = Split(right, "accuracy")
    attempt = keep(right, "accuracy", {}).begin(decide(0.9, "max", "accuracy"), None, N)
    assert attempt is not None
    assert attempt.measure(split.measure)
    assert int((~right[split.rows]).sum()) > 40
    assert attempt.examples < N / 3


def test_a_target_that_is_met_is_never_excluded() -> None:
    split = Split(heavy(2, scale=0.5))
    attempt = keep(heavy(1)).begin(decide(0.09), None, N)
    assert attempt is not None
    assert not attempt.measure(split.measure)


@given(
    earlier=st.lists(st.floats(0, 4), min_size=80, max_size=200),
    noise=st.integers(0, 2**31),
    distance=st.floats(-0.2, 0.2),
)
@settings(max_examples=200, deadline=None)
def test_what_is_proved_holds(earlier: list[float], noise: int, distance: float) -> None:
    before = torch.tensor(earlier, dtype=torch.float64)
    after = before * 2 * torch.rand(len(before), generator=torch.Generator().manual_seed(noise), dtype=torch.float64)
    target = float(after.mean()) + distance
    split = Split(after)
    attempt = keep(before).begin(decide(target), None, len(before))
    if attempt is not None and attempt.measure(split.measure):
        assert float(after.mean()) > target
        assert attempt.examples <= LARGEST_SHARE * len(before)


@pytest.mark.parametrize("value", [math.nan, math.inf, -0.5])
def test_values_that_contradict_the_bound_prove_nothing(value: float) -> None:
    values = heavy(2)
    values[int(values.argmax())] = value
    attempt = keep(heavy(1)).begin(decide(0.01), None, N)
    assert attempt is not None
    hard = Split(torch.where(values > 0.1, value, values))
    assert not attempt.measure(hard.measure)


def test_without_a_bound_nothing_is_chosen() -> None:
    assert keep(heavy(1), bounds={}).begin(decide(0.01), None, N) is None


def test_a_cheaper_alternative_is_preferred() -> None:
    assert keep(heavy(1)).begin(decide(0.05), None, 64) is None


def test_a_workload_that_ignores_the_choice_is_noticed() -> None:
    values = heavy(1)
    worst_first = WorstFirst(LOSS_BOUNDS)
    worst_first.renew({"loss": (values,)}, None, lambda shard: {"loss": (values[: len(shard.chosen or ())],)})
    assert worst_first.begin(decide(0.05), None, N) is None
    worst_first = WorstFirst(LOSS_BOUNDS)
    worst_first.renew({"loss": (values,)}, None, lambda _: {"loss": (values,)})
    assert worst_first.begin(decide(0.05), None, N) is None


def test_values_of_another_stage_or_of_several_tasks_are_not_used() -> None:
    worst_first, split = WorstFirst(LOSS_BOUNDS), Split(heavy(1))
    worst_first.renew(split.whole(), 0, split.measure)
    assert worst_first.begin(decide(0.05), 0, N) is not None
    assert worst_first.begin(decide(0.05), 1, N) is None
    worst_first.renew({"loss": (split.values, split.values)}, 1, split.measure)
    assert worst_first.begin(decide(0.05), 1, N) is None


@pytest.mark.parametrize("sizes", [(N, N // 2), (N // 2, N), (N, N)])
def test_nothing_is_chosen_in_several_tasks(sizes: tuple[int, int]) -> None:
    """Not even if the values of the first task were all equal, so that the first call could not test the workload."""
    worst_first = WorstFirst({})
    perfect = torch.ones(sizes[0], dtype=torch.bool)
    assert worst_first.renew({"avg": (perfect,), "accuracy/0": (perfect,)}, 0, lambda shard: {}) == 0
    tasks = [torch.rand(n, generator=torch.Generator().manual_seed(n)) < 0.9 for n in sizes]
    values: Mapping[str, Sequence[Tensor]] = {
        "avg": tuple(tasks), **{f"accuracy/{k}": (task,) for k, task in enumerate(tasks)}
    }  # fmt: skip
    measured: list[Shard] = []

    def measure(shard: Shard) -> Mapping[str, Sequence[Tensor]]:
        measured.append(shard)
        return {
            name: tuple(task[evaluation_rows(shard, len(task))] for task in tasks) for name, tasks in values.items()
        }

    assert worst_first.renew(values, 1, measure) == 0
    assert not measured
    for k in range(2):
        assert worst_first.begin(decide(0.99, "max", f"accuracy/{k}"), 1, N) is None


def test_the_state_continues() -> None:
    first = keep(heavy(1))
    second = WorstFirst({})
    second.load_state_dict(first.state_dict())
    attempts = [worst_first.begin(decide(0.09), None, N) for worst_first in (first, second)]
    assert all(attempt is not None and attempt.next_rows() for attempt in attempts)
    assert attempts[0] is not None
    assert attempts[1] is not None
    assert attempts[0].next_rows() == attempts[1].next_rows()


class TestRequirement:
    def test_the_hardest_threshold_counts(self) -> None:
        decisions = {**decide(0.2), "easy": decide(0.4)["the target"]}
        requirement = find_requirement("loss", decisions, (0.0, math.inf), 10)
        assert requirement is not None
        assert requirement.total == pytest.approx(4.0)

    def test_an_accuracy_counts_errors(self) -> None:
        decisions = {**decide(0.9, "max", "accuracy"), "easy": decide(0.8, "max", "accuracy")["the target"]}
        requirement = find_requirement("accuracy", decisions, (0.0, 1.0), 10)
        assert requirement is not None
        assert requirement.total == pytest.approx(2.0)
        assert requirement.distances(torch.tensor([1.0, 0.0])).tolist() == [0.0, 1.0]

    def test_every_decision_has_to_need_the_metric(self) -> None:
        decisions = {**decide(0.2), "other": decide(0.9, "max", "accuracy")["the target"]}
        assert find_requirement("loss", decisions, (0.0, math.inf), 10) is None

    def test_an_infinite_bound_proves_nothing(self) -> None:
        assert find_requirement("loss", decide(0.2), (-math.inf, math.inf), 10) is None
