"""What a part of a split decides: known numbers, and that it decides as the whole split does."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import ClassVar

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import hypergeom

from harness.contract.workload import Target
from harness.worker.screening import (
    FIRST_PART,
    LARGEST_SHARE,
    Estimate,
    TaskSample,
    estimate_metrics,
    find_bias,
    is_decided,
    next_part,
)

#: Largest probability that a part misses an accuracy that the whole split reaches; 6e-9 was the largest found.
ERROR_OF_ACCURACIES = 1e-8


def target(value: float, goal: str = "max", metric: str = "m") -> Target:
    return Target(metric=metric, goal=goal, value=value)  # type: ignore[arg-type]


def of(*values: float, total: int = 1000) -> Estimate:
    return estimate_metrics({"m": [torch.tensor(values)]}, {"m": [total]})["m"]


class TestEstimate:
    def test_the_mean_has_the_error_of_a_sample_without_replacement(self) -> None:
        estimate = of(1.5, 2.5, 3.5, 4.5, total=11)
        assert estimate.mean == 3.0
        # The variance is 5/3; of 11 examples 4 were seen, so that 7/10 of the variance is left.
        assert estimate.se == pytest.approx(math.sqrt(5 / 3 / 4 * 0.7))

    def test_all_wrong_is_not_certain(self) -> None:
        estimate = of(*[0.0] * 64, total=10**9)
        assert estimate.mean == 0.0
        assert estimate.se == pytest.approx(math.sqrt((1 / 66) * (65 / 66) / 64))
        assert of(*[1.0] * 64, total=10**9).se == pytest.approx(estimate.se)

    def test_all_examples_are_certain(self) -> None:
        assert of(0.0, 1.0, total=2).se == 0.0

    def test_one_example_says_nothing(self) -> None:
        assert of(0.3).se == math.inf

    def test_tasks_have_equal_weights(self) -> None:
        tasks = [torch.tensor([0.25, 0.75]), torch.tensor([2.0, 2.5, 3.0, 2.5])]
        estimate = estimate_metrics({"m": tasks}, {"m": [100, 100]})["m"]
        assert estimate.mean == pytest.approx((0.5 + 2.5) / 2)
        errors = [torch.var(task).item() / len(task) * (100 - len(task)) / 99 for task in tasks]
        assert estimate.se == pytest.approx(math.sqrt(sum(errors)) / 2)
        assert estimate.examples == 6

    def test_a_low_accuracy_is_compared_with_the_error_at_the_value(self) -> None:
        """64 wrong answers are no proof against an accuracy of 5 %, where the count plus one alone would be at 7 %."""
        estimate = of(*[0.0] * 64, total=10**6)
        assert estimate.distance(target(0.07)) < 1
        assert estimate.distance(target(0.5)) > 1


class TestDecision:
    unmet = of(*np.linspace(2.0, 2.1, 64).tolist())

    def test_one_missed_target_excludes_a_conjunction(self) -> None:
        estimates = {"m": self.unmet, "n": self.unmet}
        far, near = target(1.0, "min"), target(2.05, "min", "n")
        assert is_decided(estimates, {"hit": (far, near)})
        assert not is_decided(estimates, {"hit": (far,), "easy": (near,)})
        assert not is_decided(estimates, {"hit": (near,)})

    def test_what_is_met_is_left_to_the_whole_split(self) -> None:
        assert not is_decided({"m": self.unmet}, {"hit": (target(10.0, "min"),)})

    def test_a_metric_without_values_excludes_nothing(self) -> None:
        assert not is_decided({"m": self.unmet}, {"hit": (target(1.0, "min", "other"),)})
        assert is_decided({"m": self.unmet}, {"hit": (target(1.0, "min", "other"), target(1.0, "min"))})

    @pytest.mark.parametrize("value", [math.nan, math.inf])
    def test_a_value_that_is_not_finite_decides_nothing(self, value: float) -> None:
        estimate = of(*[2.0] * 63, value)
        assert not is_decided({"m": estimate}, {})
        assert not is_decided({"m": estimate}, {"hit": (target(1.0, "min"),)})

    def test_without_a_decision_any_part_suffices(self) -> None:
        assert is_decided({"m": self.unmet}, {})


class TestNextPart:
    totals: ClassVar = {"m": [1000]}

    def test_the_first_has_64_of_every_task(self) -> None:
        assert next_part({}, {}, self.totals) == FIRST_PART
        assert next_part({}, {}, {"m": [500, 30]}) == FIRST_PART

    def test_parts_grow_by_a_quarter_up_to_two_thirds(self) -> None:
        sizes, size = [], 0
        while (larger := next_part({}, {}, self.totals, size)) is not None:
            sizes.append(size := larger)
        assert sizes == [64, 128, 192, 256, 320, 448, 576]
        assert sizes[-1] <= LARGEST_SHARE * 1000

    def test_parts_that_can_be_completed_grow_by_small_steps_until_64_examples_are_left(self) -> None:
        near = {"hit": (target(1.99, "min"),)}
        for total, step in ((1000, 64), (4000, 128)):
            sizes, size = [], 0
            while (larger := next_part({}, near, {"m": [total]}, size, completes=True)) is not None:
                sizes.append(size := larger)
            assert sizes[0] == FIRST_PART
            assert {b - a for a, b in pairwise(sizes)} == {step}
            assert sizes[-1] <= total - FIRST_PART < sizes[-1] + step

    def test_a_small_split_is_whole(self) -> None:
        assert next_part({}, {}, {"m": [90]}) is None

    def test_the_size_that_will_decide_is_measured_at_once(self) -> None:
        """The standard deviation is 1: at a distance of 0.8, 64 examples have 6.4 · sqrt(1000/936) standard errors."""
        latest = {"m": Estimate((TaskSample(1000, 1000, 2.0, 1.0, False),))}
        assert next_part(latest, {"hit": (target(0.5, "min"),)}, self.totals) == 64
        assert next_part(latest, {"hit": (target(1.2, "min"),)}, self.totals) == 128
        assert next_part(latest, {"hit": (target(1.6, "min"),)}, self.totals) == 256
        assert next_part(latest, {"hit": (target(1.99, "min"),)}, self.totals) is None


def test_a_sorted_split_is_found_out() -> None:
    whole = {"m": 0.5}
    assert find_bias({"m": of(*[1.0] * 64)}, whole) == "m"
    assert find_bias({"m": of(*[0.0, 1.0] * 32)}, whole) == ""


@pytest.mark.slow
@pytest.mark.parametrize("total", [97, 100, 1000, 4000])
def test_accuracies_are_decided_alike(total: int) -> None:
    """Exact for every accuracy at the target: the probability of the parts that would exclude the target."""
    part = 0
    while (larger := next_part({}, {}, {"m": [total]}, part)) is not None:
        part = larger
        for right in sorted({*range(1, total + 1, max(1, total // 24)), total}):
            reached = target(right / total)
            samples = [Estimate((TaskSample(part, total, k / part, 0.0, True),)) for k in range(part + 1)]
            excluded = [sample.distance(reached) > 1 for sample in samples]
            error = hypergeom(total, right, part).pmf(np.arange(part + 1))[excluded].sum()
            assert error <= ERROR_OF_ACCURACIES, (part, right, error)


def decide_by_parts(tasks: Sequence[torch.Tensor], goal: Target) -> bool:
    """Whether growing parts exclude the target before the whole split is measured."""
    totals = {"m": [len(task) for task in tasks]}
    size, estimates = 0, dict[str, Estimate]()
    completes = len(tasks) == 1
    while (larger := next_part(estimates, {"hit": (goal,)}, totals, size, completes=completes)) is not None:
        size = larger
        estimates = estimate_metrics({"m": [task[:size] for task in tasks]}, totals)
        if is_decided(estimates, {"hit": (goal,)}):
            return True
    return False


@settings(max_examples=150, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    sizes=st.lists(st.sampled_from([100, 108, 539, 1792]), min_size=1, max_size=5),
    kind=st.sampled_from(["accuracy", "certain", "normal", "heavy", "outliers"]),
    offset=st.sampled_from([0.0, 1e-9, 1e-3, 1e-2, 0.1, 1.0]),
)
def test_a_target_that_the_whole_split_meets_is_never_excluded(
    seed: int, sizes: list[int], kind: str, offset: float
) -> None:
    """The whole split is at the target or better by `offset`; losses have heavy tails on the bad side."""
    rng = np.random.default_rng(seed)
    tasks = []
    for size in sizes:
        draws: dict[str, Callable[[int], NDArray[np.float64]]] = {
            "accuracy": lambda n: np.asarray(rng.random(n) < rng.random(), dtype=float),
            "certain": lambda n: np.full(n, float(rng.integers(2))),
            "normal": lambda n: rng.normal(2.0, 1.0, n),
            "heavy": lambda n: rng.lognormal(0.0, 2.0, n),
            "outliers": lambda n: np.where(rng.random(n) < 0.01, 100.0, 1.0),
        }
        tasks.append(torch.from_numpy(rng.permutation(draws[kind](size))))
    mean = float(np.mean([task.mean() for task in tasks]))
    sign, goal = (1, "max") if kind in ("accuracy", "certain") else (-1, "min")
    assert not decide_by_parts(tasks, target(mean - sign * offset, goal))


@settings(max_examples=100, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), sizes=st.lists(st.sampled_from([539, 1792]), min_size=1, max_size=3))
def test_a_target_far_away_is_excluded(seed: int, sizes: list[int]) -> None:
    rng = np.random.default_rng(seed)
    tasks = [torch.from_numpy(rng.normal(2.0, 0.3, size)) for size in sizes]
    assert decide_by_parts(tasks, target(1.5, "min"))
