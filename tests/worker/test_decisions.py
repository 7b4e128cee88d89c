"""What an evaluation has to decide, and which evaluations have to be whole."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from harness.contract.run import Point, RunSpec
from harness.contract.workload import Target
from harness.planning.rulesets import ruleset
from harness.worker.decisions import describe_decisions, list_decisions, may_screen
from tests import micro
from tests.helpers import spec_of, submission

POOL = spec_of(
    submission("tests.submissions_for_tests:Base"),
    facts={"levels": {"easy": (Target(metric="loss", goal="min", value=0.9),)}},
)
STREAM = spec_of(submission("tests.submissions_for_tests:Base"), micro.STREAM_ENTRY)
EVERY = micro.FACTS.eval_every


def point(evaluations: int, metrics: dict[str, float] | None = None, **fields: Any) -> Point:
    n = evaluations * EVERY
    defaults = {"gradient_examples": n, "steps": evaluations, "seconds": 0.1, "process_seconds": 0.1}
    return Point(examples=n, metrics=metrics or {}, **(defaults | fields))


FIRST = point(0, {"loss": 1.1})


def decisions(spec: RunSpec, now: Point, *earlier: Point, began: int = 0) -> dict[str, tuple[Target, ...]] | None:
    return list_decisions(spec, now, began, earlier or (FIRST,))


def changed(spec: RunSpec, **fields: Any) -> RunSpec:
    return msgspec.structs.replace(spec, **fields)


def test_targets_and_open_levels_are_decided() -> None:
    found = decisions(POOL, point(1))
    assert found == {"the target": POOL.workload.facts.targets, "the easy level": POOL.workload.facts.levels["easy"]}


def test_a_level_is_decided_until_a_whole_evaluation_meets_it() -> None:
    met = point(1, {"loss": 0.8})
    assert "the easy level" in (decisions(POOL, point(2), FIRST, changed_point(met, evaluated_examples=64)) or {})
    assert "the easy level" not in (decisions(POOL, point(2), FIRST, met) or {})


def test_an_untrained_model_that_meets_the_target_does_not_decide_it() -> None:
    """No run ends at the untrained model. The hit is a later evaluation, which must use the whole split."""
    untrained = point(0, {"loss": 0.0})
    assert "the target" in (decisions(POOL, point(1), untrained) or {})


def changed_point(old: Point, **fields: Any) -> Point:
    return msgspec.structs.replace(old, **fields)


def test_pruning_is_a_value_that_is_decided() -> None:
    spec = changed(POOL, prune=True)
    found = decisions(spec, point(1))
    assert found is not None
    (threshold,) = found["the pruning threshold"]
    goal = spec.workload.facts.targets[0].value
    assert threshold.value == pytest.approx(1.1 - 0.5 * (1.1 - goal))


@pytest.mark.parametrize(
    ("spec", "now", "began"),
    [
        (POOL, point(micro.FACTS.budget.horizon // EVERY), 0),
        (POOL, point(1, process_seconds=1e9), 0),
        (POOL, point(1, gradient_examples=micro.FACTS.budget.gradient_examples), 0),
        (POOL, point(1, train_loss=float("nan")), 0),
        (changed(POOL, stop=8 * EVERY), point(8), 0),
        (changed(POOL, stop=8 * EVERY), point(4), 0),
        (changed(POOL, screening=False), point(1), 0),
        (changed(POOL, purpose="target"), point(1), 0),
        (changed(POOL, purpose="gate-envelope"), point(1), 0),
        (changed(POOL, purpose="tuning", stop=8 * EVERY), point(3), 0),
        (STREAM, point(STREAM.workload.facts.stages[0].max_examples // EVERY), 0),
        (changed(STREAM, stop=3200), point(1600 // EVERY), 0),
    ],
    ids=[
        *("end", "seconds", "gradients", "nan", "stop", "half", "option", "target", "gate", "tuning"),
        *("cap", "stage stop"),
    ],
)
def test_what_ends_a_run_or_a_stage_is_whole(spec: RunSpec, now: Point, began: int) -> None:
    earlier = point(now.examples // EVERY - 1, {"loss": 1.0})
    assert decisions(spec, now, FIRST, earlier, began=began) is None


def test_the_untrained_model_is_evaluated_on_the_whole_split() -> None:
    assert list_decisions(POOL, point(0), 0, ()) is None


def test_a_stage_decides_its_targets_and_the_last_one_its_floors() -> None:
    first, last = STREAM.workload.facts.stages
    assert decisions(STREAM, point(1)) == {"the end of stage first": first.targets}
    assert decisions(STREAM, point(9, stage=1), began=8 * EVERY) == {
        "the end of the last stage": (*last.targets, *last.floors)
    }


def test_before_its_minimum_a_stage_decides_nothing() -> None:
    stages = tuple(msgspec.structs.replace(stage, min_examples=640) for stage in STREAM.workload.facts.stages)
    facts = msgspec.structs.replace(STREAM.workload.facts, stages=stages)
    spec = changed(STREAM, workload=msgspec.structs.replace(STREAM.workload, facts=facts))
    assert decisions(spec, point(1)) == {}


def test_tuning_runs_to_a_hit_may_screen() -> None:
    assert may_screen(changed(POOL, purpose="tuning"))


def test_runs_of_which_only_the_last_evaluation_counts_may_screen() -> None:
    assert may_screen(changed(POOL, purpose="envelope", stop=8 * EVERY))
    at_the_end = changed(POOL, purpose="tuning", stop=8 * EVERY, ruleset=ruleset("fixed-budget"))
    assert may_screen(at_the_end)
    assert decisions(at_the_end, point(8), FIRST, point(7, {"loss": 1.0})) is None


def test_decisions_are_described_for_comparison() -> None:
    missed, met = (describe_decisions(POOL, point(1, {"loss": value}), 0, (FIRST,)) for value in (1.0, 0.0))
    assert missed == {"the run": "goes on", "the target": "is not met", "the easy level": "is not met"}
    assert met == {"the run": "ends (reached)", "the target": "is met", "the easy level": "is met"}
