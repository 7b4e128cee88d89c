"""How a run ends, from its newest evaluation alone."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from harness.contract.run import Point, RunSpec
from harness.contract.workload import Budget, Stage, Target
from harness.planning.run_end import decide_end, is_stage_over
from harness.scoring import time_to_target
from tests.scoring import builders

UNTRAINED = Point(examples=0, gradient_examples=0, steps=0, seconds=0.0, process_seconds=0.0, metrics={"loss": 5.0})


def at(examples: int, loss: float, stage: int = 0, **metrics: float) -> Point:
    more = {"loss": loss, **metrics}
    return msgspec.structs.replace(UNTRAINED, examples=examples, gradient_examples=examples, metrics=more, stage=stage)


def pool(**changes: Any) -> RunSpec:
    return builders.spec(**changes)


def test_a_run_to_a_stop_goes_past_its_target() -> None:
    spec = pool(stop=80)
    assert decide_end(spec, at(40, 0.5), 0) is None
    end = decide_end(spec, at(80, 0.5), 0)
    assert end is not None
    assert end.status == "reached"
    missed = decide_end(spec, at(80, 1.5), 0)
    assert missed is not None
    assert (missed.status, "80 examples" in missed.reason) == ("exhausted", True)


def test_a_hit_outside_the_budget_is_none() -> None:
    """One step may make many passes; what it met with more than everybody has is no hit, for the tables neither."""
    tight = builders.facts(budget=Budget(horizon=100, gradient_examples=50, seconds={"default": 1.0}))
    spec = pool(workload=tight)
    within = decide_end(spec, at(50, 0.5), 0)
    assert within is not None
    assert within.status == "reached"
    beyond = msgspec.structs.replace(at(50, 0.5), gradient_examples=51)
    end = decide_end(spec, beyond, 0)
    assert end is not None
    assert (end.status, "51 gradient-examples, the budget is 50" in end.reason) == ("exhausted", True)
    late = msgspec.structs.replace(at(50, 0.5), process_seconds=1.5, seconds=1.5)
    for point, status in ((beyond, "exhausted"), (late, "timeout")):
        record = builders.record(spec, [0.5], points=(point,), hit=None, status=status)
        assert time_to_target.target_result(record).status == "miss"


def test_a_stop_does_not_lift_the_budget() -> None:
    tight = builders.facts(budget=Budget(horizon=100, gradient_examples=50, seconds={"default": 1.0}))
    end = decide_end(builders.spec(workload=tight, stop=80), at(50, 0.5), 0)
    assert end is not None
    assert end.status == "exhausted"


@pytest.mark.parametrize(
    ("examples", "loss", "pruned"),
    [(40, 4.9, False), (50, 4.9, True), (50, 3.01, True), (50, 2.99, False), (50, 0.9, False), (60, 6.0, True)],
)
def test_hopeless_is_less_than_half_of_the_way_in_half_of_the_budget(examples: int, loss: float, pruned: bool) -> None:
    # The untrained model is at 5, the target at 1: half of the way is 3.
    end = decide_end(pool(prune=True), at(examples, loss), 0, [UNTRAINED])
    assert (end is not None and end.status == "pruned") == pruned
    assert decide_end(pool(), at(examples, loss), 0, [UNTRAINED]) is None or loss <= 1.0


def test_one_bad_evaluation_is_not_hopeless() -> None:
    assert decide_end(pool(prune=True), at(50, 4.9), 0, [UNTRAINED, at(40, 2.9)]) is None


STAGE = Stage(name="one", targets=(Target(metric="loss", goal="min", value=1.0),), max_examples=50, min_examples=20)


def stream(**changes: Any) -> RunSpec:
    facts = builders.facts(
        access="stream",
        stages=(STAGE, STAGE),
        budget=Budget(horizon=100, gradient_examples=999, seconds={"default": 9.0}),
    )
    return builders.spec(workload=facts, **changes)


def test_a_stage_lasts_for_its_least_number_of_examples() -> None:
    assert not is_stage_over(stream(), at(10, 0.5), 0)
    assert is_stage_over(stream(), at(20, 0.5), 0)
    assert not is_stage_over(stream(), at(40, 0.5, stage=1), 30)
    end = decide_end(stream(), at(50, 0.5, stage=1), 30)
    assert end is not None
    assert end.status == "reached"


def test_in_a_run_to_a_stop_all_stages_last_for_the_same_share() -> None:
    spec = stream(stop=80)
    assert not is_stage_over(spec, at(30, 0.5), 0)
    assert is_stage_over(spec, at(40, 9.9), 0)
    end = decide_end(spec, at(80, 9.9, stage=1), 40)
    assert end is not None
    assert end.status == "exhausted"
    met = decide_end(spec, at(80, 0.5, stage=1), 40)
    assert met is not None
    assert met.status == "reached"
