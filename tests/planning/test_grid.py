"""Grids: every combination of values is a setting, planned as it would be alone; mistakes name both values."""

from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

import harness
from harness.errors import UsageError
from harness.planning.grid import expand_grid
from harness.planning.rulesets import ruleset
from harness.plugins.registry import load_registry
from harness.storage.layout import run_id

REGISTRY = load_registry()


@given(
    st.dictionaries(
        st.text("abc", min_size=1, max_size=3),
        st.lists(st.floats(0, 1), min_size=1, max_size=4, unique_by=float),
        max_size=3,
    )
)
def test_a_grid_is_the_product_of_its_values(grid: dict[str, list[float]]) -> None:
    points = expand_grid(grid)
    assert len(points) == math.prod(len(values) for values in grid.values())
    assert points == [dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())]


def test_text_is_one_value_and_equal_numbers_are_refused() -> None:
    assert expand_grid({"shape": "linear"}) == [{"shape": "linear"}]
    with pytest.raises(UsageError, match=r"1e-3 and 0\.001 are equal"):
        expand_grid({"lr": ("1e-3", "0.001")})
    with pytest.raises(UsageError, match="lr has an empty list"):
        expand_grid({"lr": []})


def test_a_point_of_a_grid_is_the_run_that_it_would_be_alone() -> None:
    """So a grid uses the runs of earlier commands, and all points share the seeds of a study."""
    specs = list(harness.plan("wsd", "lm-tiny", overrides={"lr": [1e-3, 3e-3], "warmup": [0.1]}, studies=2))
    alone = [
        spec
        for lr in (1e-3, 3e-3)
        for spec in harness.plan("wsd", "lm-tiny", overrides={"lr": lr, "warmup": 0.1}, studies=2)
    ]
    assert {run_id(spec) for spec in specs} == {run_id(spec) for spec in alone}
    assert [(spec.study, spec.hparams["lr"]) for spec in specs] == [(0, 1e-3), (0, 3e-3), (1, 1e-3), (1, 3e-3)]
    assert specs[0].seeds == specs[1].seeds
    assert {spec.overridden for spec in specs} == {("lr", "warmup")}


def test_a_bad_point_is_named_before_anything_runs() -> None:
    with pytest.raises(UsageError, match=r"^lr=0.001 warmup=0.9: these hyperparameters are inconsistent"):
        harness.plan("wsd", "lm-tiny", overrides={"lr": [1e-3], "warmup": [0.1, 0.9]})
    with pytest.raises(UsageError, match=r"^lr=-1: lr=-1 is out of range"):
        harness.plan("wsd", "lm-tiny", overrides={"lr": [1e-3, -1]})


def test_a_stop_is_chosen_from_the_tuning_runs_of_the_same_point() -> None:
    plan = harness.plan("wsd", "resnet-digits", ruleset="fixed-stop", overrides={"lr": [1e-3, 3e-3]})
    assert len(plan.pending_pairs) == 2
    assert len(plan) == 2 * ruleset("fixed-stop").tuning_studies


def test_an_envelope_is_the_references_own_whatever_the_user_sets() -> None:
    plan = harness.plan("schedule-free-adamw", "resnet-digits", ruleset="anytime", overrides={"lr": [1e-3, 3e-3]})
    envelope = [spec for spec in plan if spec.purpose == "envelope"]
    assert envelope
    assert not any(spec.overridden for spec in envelope)
