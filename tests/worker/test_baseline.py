"""Difference estimates: known numbers, when they are refused, and that they never exclude a target that is met."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor

from harness.contract.workload import Shard, Target
from harness.worker.baseline import FIRST_RENEWAL, RENEWAL, Baseline
from harness.worker.data.evaluation_order import evaluation_rows
from harness.worker.screening import (
    HIDDEN,
    Estimate,
    estimate_metrics,
    expect_differences,
    expect_renewal,
    is_decided,
    next_part,
    smallest_part,
)

N = 1000


def noise(seed: int, sd: float, n: int = N) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).normal(0.0, sd, n))


def draw(seed: int) -> Tensor:
    return 10.0 + noise(seed, 1.0)


def baseline_of(*evaluations: Tensor, order: str = "stored") -> Baseline:
    """The baseline after evaluations of the whole split of one task."""
    kept = Baseline()
    kept.order = order  # type: ignore[assignment]
    for values in evaluations:
        kept.renew({"loss": (values,)}, None, {"loss": "min"})
    return kept


def estimate(values: Tensor, n: int, kept: Baseline) -> Estimate:
    totals = {"loss": [len(values)]}
    return estimate_metrics({"loss": (values[:n],)}, totals, kept.of_stage(None))["loss"]


class TestEstimate:
    earlier, last = draw(1), draw(1) + noise(2, 0.1)

    def test_it_is_the_known_mean_plus_the_mean_of_the_differences(self) -> None:
        later = self.last - 0.5 + noise(3, 0.4)
        made = estimate(later, 400, baseline_of(self.earlier, self.last))
        differences = later[:400] - self.last[:400]
        assert made.uses_differences
        assert made.mean == pytest.approx(float(self.last.mean() + differences.mean()))
        assert made.se == pytest.approx(math.sqrt(float(differences.var()) / 400 * 600 / 999))
        assert made.se < estimate(later, 400, Baseline()).se / 2

    def test_it_allows_for_a_group_that_is_not_in_the_part(self) -> None:
        """All differences are equal. Of 200 examples, a group of 12 in 200 is missed with a probability of e^-12."""
        made = estimate(self.last - 0.5, 200, baseline_of(self.earlier, self.last))
        reach = float(self.last.mean() - self.last.min())
        assert 6 * made.se == pytest.approx(HIDDEN / 200 * reach * math.sqrt(800 / 999))

    def test_the_reach_is_on_the_side_of_the_goal(self) -> None:
        kept = Baseline()
        kept.order = "stored"
        kept.renew({"reward": (self.last,), "loss": (self.last,)}, None, {"reward": "max", "loss": "min"})
        (reward,), (loss,) = kept.of_stage(None)["reward"], kept.of_stage(None)["loss"]
        assert reward.reach == pytest.approx(float(self.last.max() - self.last.mean()))
        assert loss.reach == pytest.approx(float(self.last.mean() - self.last.min()))

    def test_the_mean_of_the_part_is_used_where_it_is_more_exact(self) -> None:
        unrelated = draw(9)
        made = estimate(unrelated, 200, baseline_of(self.earlier, self.last))
        assert made == estimate(unrelated, 200, Baseline())

    def test_every_task_has_its_own_estimator(self) -> None:
        kept = Baseline()
        kept.order = "stored"
        for values in (self.earlier, self.last):
            kept.renew({"loss": (values, values)}, 1, {"loss": "min"})
        tasks = [self.last - 0.5, draw(9)]
        parts = {"loss": [task[:200] for task in tasks]}
        made = estimate_metrics(parts, {"loss": [N, N]}, kept.of_stage(1))["loss"]
        assert [task.reach > 0 for task in made.tasks] == [True, False]
        assert kept.of_stage(0) == {}, "stages have different tasks"


class TestRefusal:
    earlier, last = draw(1), draw(1) + noise(2, 0.1)

    def is_used(self, *evaluations: Tensor, later: Tensor | None = None) -> bool:
        later = evaluations[-1] - 0.1 if later is None else later
        return estimate(later, 128, baseline_of(*evaluations)).uses_differences

    def test_light_tails_are_accepted(self) -> None:
        assert self.is_used(self.earlier, self.last)

    def test_one_baseline_does_not_show_how_values_change(self) -> None:
        assert not self.is_used(self.last)

    def test_accuracies_have_no_baseline(self) -> None:
        right = (self.last > 10).double()
        assert baseline_of(right, right).of_stage(None) == {}

    def test_a_baseline_with_a_value_far_from_the_mean(self) -> None:
        assert not self.is_used(self.earlier, torch.cat([self.last[:-1], torch.tensor([20.0])]))

    def test_baselines_between_which_few_examples_changed(self) -> None:
        """The values are all within 3 standard deviations, and the ones that changed are in no part."""
        clipped = self.last.clamp(7, 13)
        changed = clipped.clone()
        changed[-5:] = 7.0
        assert self.is_used(clipped, clipped - 0.1 + noise(3, 0.1))
        assert not self.is_used(clipped, changed)

    def test_a_part_in_which_one_example_changed(self) -> None:
        later = self.last - 0.1 + noise(3, 0.01)
        later[5] -= 3.0
        assert not self.is_used(self.earlier, self.last, later=later)

    def test_a_value_that_is_not_finite(self) -> None:
        later = self.last.clone()
        later[5] = math.nan
        made = estimate(later, 128, baseline_of(self.earlier, self.last))
        assert not is_decided({"loss": made}, {"hit": (Target(metric="loss", goal="min", value=1.0),)})
        later[5] = math.inf
        assert baseline_of(self.earlier, later).of_stage(None) == {}


class TestOrder:
    values = draw(1)

    def find(self, window: Tensor, whole: Tensor) -> str:
        kept = Baseline()
        kept.find_order({"loss": (window,)}, {"loss": (whole,)})
        return kept.order

    def test_the_order_is_found_from_the_values(self) -> None:
        rows = evaluation_rows(Shard(stop=64), N)
        rounding = noise(5, 0.01, 64)
        assert self.find(self.values[:64] + rounding, self.values) == "stored"
        assert self.find(self.values[rows] + rounding, self.values) == "random"
        assert self.find(self.values[100:164], self.values) == "other"

    def test_equal_values_show_no_order(self) -> None:
        constant = torch.full((N,), 3.0)
        assert self.find(constant[:64], constant) == "unknown"
        assert not Baseline().is_order_needed({"loss": (constant,), "accuracy": (self.values > 10,)})
        assert Baseline().is_order_needed({"loss": (self.values,)})

    def test_a_part_is_compared_with_its_own_examples(self) -> None:
        rows = evaluation_rows(Shard(stop=N), N)
        kept = baseline_of(self.values, self.values, order="random")
        assert estimate((self.values - 0.1)[rows], 64, kept).mean == pytest.approx(float(self.values.mean()) - 0.1)

    def test_another_order_has_no_baseline(self) -> None:
        assert baseline_of(self.values, self.values, order="other").of_stage(None) == {}


class TestRenewal:
    values = draw(1)

    def is_due(self, kept: Baseline, used: bool, excess: float = RENEWAL * N + 1) -> bool:
        kept.excess = int(excess)
        return kept.is_renewal_due(None, N, used)

    def test_after_parts_that_were_large_together(self) -> None:
        kept = baseline_of(self.values, self.values)
        assert self.is_due(kept, used=True)
        assert not self.is_due(kept, used=True, excess=RENEWAL * N)

    def test_what_did_not_help_is_not_renewed_except_the_first(self) -> None:
        assert self.is_due(baseline_of(self.values), used=False, excess=FIRST_RENEWAL * N + 1)
        assert not self.is_due(baseline_of(self.values), used=False, excess=FIRST_RENEWAL * N)
        assert self.is_due(baseline_of(torch.full((N,), 3.0)), used=False), "of an untrained model"
        assert not self.is_due(baseline_of(self.values, self.values), used=False)
        assert not self.is_due(baseline_of((self.values > 10).double()), used=False)

    def test_a_new_baseline_saves_what_large_changes_cost(self) -> None:
        """At a distance of 0.3, changes of 0.9 standard deviations need 256 examples, and new changes 64 or 128."""
        kept = baseline_of(self.values, self.values + noise(2, 0.1))
        later = self.values - 0.2 + noise(3, 0.9)
        near = {"hit": (Target(metric="loss", goal="min", value=float(later.mean()) - 0.3),)}
        estimates = {"loss": estimate(later, 320, kept)}
        assert is_decided(estimates, near)
        smallest = smallest_part(expect_renewal(estimates, kept.of_stage(None)), near)["loss"].examples
        assert smallest < smallest_part(estimates, near)["loss"].examples <= 320

    def test_a_new_baseline_starts_with_small_parts(self) -> None:
        kept = baseline_of(self.values, self.values)
        assert kept.excess == 0
        whole, totals = {"loss": estimate(self.values, N, Baseline())}, {"loss": [N]}
        near = {"hit": (Target(metric="loss", goal="min", value=float(self.values.mean()) - 0.2),)}
        expected = expect_differences(whole, kept.of_stage(None))
        assert (next_part(whole, near, totals), next_part(expected, near, totals)) == (576, 256)


def test_the_state_is_restored() -> None:
    kept = baseline_of(draw(1), draw(1) + noise(2, 0.1), order="random")
    kept.excess = 7
    restored = Baseline()
    restored.load_state_dict(kept.state_dict())
    assert (restored.order, restored.excess) == ("random", 7)
    later = draw(1)[evaluation_rows(Shard(stop=N), N)] - 0.1
    assert estimate(later, 128, restored) == estimate(later, 128, kept)
    assert estimate(later, 128, kept).uses_differences


_CHANGES: dict[str, Callable[[np.random.Generator, int], NDArray[Any]]] = {
    "none": lambda rng, n: np.zeros(n),
    "small": lambda rng, n: 0.02 * rng.normal(size=n),
    "large": lambda rng, n: 1.5 * rng.normal(size=n),
    "skewed": lambda rng, n: -rng.exponential(0.3, n),
    "heavy": lambda rng, n: 0.1 * rng.standard_t(2.0, n),
    "few": lambda rng, n: -3.0 * (rng.random(n) < 0.02),
}


@settings(max_examples=200, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    sizes=st.lists(st.sampled_from([100, 384, 1792]), min_size=1, max_size=3),
    values=st.sampled_from(["normal", "skewed", "heavy"]),
    kinds=st.tuples(*[st.sampled_from(sorted(_CHANGES))] * 2),
    offset=st.sampled_from([0.0, 1e-9, 1e-3, 0.1]),
)
def test_a_target_that_the_whole_split_meets_is_never_excluded(
    seed: int, sizes: list[int], values: str, kinds: tuple[str, str], offset: float
) -> None:
    """Every part is tried, of an evaluation at the target or better by `offset`."""
    rng = np.random.default_rng(seed)
    kept = Baseline()
    kept.order = "stored"
    draws: dict[str, Callable[[int], NDArray[Any]]] = {
        "normal": lambda n: rng.normal(5.0, 1.0, n),
        "skewed": lambda n: rng.gamma(4.0, 0.5, n),
        "heavy": lambda n: rng.lognormal(0.0, 2.0, n),
    }
    first = [draws[values](size) for size in sizes]
    last = [task - 0.3 + _CHANGES[kinds[0]](rng, len(task)) for task in first]
    later = [torch.from_numpy(task - 0.1 + _CHANGES[kinds[1]](rng, len(task))) for task in last]
    for tasks in (first, last):
        kept.renew({"loss": [torch.from_numpy(task) for task in tasks]}, None, {"loss": "min"})
    mean = float(np.mean([task.mean() for task in later]))
    decisions = {"hit": (Target(metric="loss", goal="min", value=mean + offset),)}
    for part in range(64, max(sizes), 64):
        estimates = estimate_metrics({"loss": [task[:part] for task in later]}, {"loss": sizes}, kept.of_stage(None))
        assert not is_decided(estimates, decisions)
