"""When a run is over, decided from its newest point alone."""

from __future__ import annotations

import math
from typing import NamedTuple

from harness.types import Point, RunSpec, Stage, Status


class Verdict(NamedTuple):
    """How a run ends, and why in one sentence."""

    status: Status
    reason: str


def judge(spec: RunSpec, point: Point, stage_began: int) -> Verdict | None:
    """The verdict on a run at an evaluation, or None while it goes on.

    Args:
        point: the newest evaluation; `point.stage` is the current stage.
        stage_began: examples drawn when the current stage began.
    """
    facts = spec.workload.facts
    if reason := _diverged(point):
        return Verdict("diverged", reason)
    # Before the targets: a hit outside the budget is none.
    limit = spec.seconds_allowed
    if point.scored(spec.clock) > limit:
        return Verdict("timeout", f"{limit:g} {spec.clock} seconds are spent")
    if facts.stages:
        stage = facts.stages[point.stage]
        last, ends = point.stage + 1 == len(facts.stages), stage_ends(stage, point, stage_began)
        if last and ends and all(floor.met(point.metrics) for floor in stage.floors):
            return Verdict("reached", "the last stage's targets are met and every task is above its floor")
        if point.examples - stage_began >= stage.max_examples and (last or not ends):
            return Verdict("exhausted", f"stage {stage.name!r} used its {stage.max_examples:,} examples")
        return _spent(spec, point)
    met = all(target.met(point.metrics) for target in facts.targets)
    if spec.stop is None:
        return Verdict("reached", "the target is met") if met else _spent(spec, point)
    if point.examples >= spec.stop:
        where = f"at its stop of {spec.stop:,} examples"
        return Verdict("reached", f"the target is met {where}") if met else Verdict("exhausted", f"missed {where}")
    return _spent(spec, point)


def stage_ends(stage: Stage, point: Point, began: int) -> bool:
    """Whether a stage that began after so many examples has seen enough of them and its targets are all met."""
    return point.examples - began >= stage.min_examples and all(target.met(point.metrics) for target in stage.targets)


def _diverged(point: Point) -> str:
    for name, value in point.metrics.items():
        if not math.isfinite(value):
            return f"{name} is {value} after {point.steps} steps"
    if point.train_loss is not None and math.isnan(point.train_loss):
        return f"the training loss is NaN after {point.steps} steps"
    return ""


def _spent(spec: RunSpec, point: Point) -> Verdict | None:
    budget = spec.workload.facts.budget
    if point.examples >= budget.horizon:
        return Verdict("exhausted", f"the budget of {budget.horizon:,} examples is spent")
    if point.gradient_examples >= budget.gradient_examples:
        return Verdict("exhausted", f"the budget of {budget.gradient_examples:,} gradient-examples is spent")
    return None
