"""When a run is over, decided at each evaluation."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from harness.contract.record import Status
from harness.contract.run import Point, RunSpec


class Verdict(NamedTuple):
    """How a run ends.

    Args:
        status: of the record.
        reason: one sentence.
    """

    status: Status
    reason: str


#: A run is hopeless that has spent this share of its budget and has not come this share of the way to its target.
HOPELESS_PROGRESS, HOPELESS_BUDGET = 0.5, 0.5


def decide_end(spec: RunSpec, point: Point, stage_began: int, earlier: Sequence[Point] = ()) -> Verdict | None:
    """The verdict on a run at an evaluation, or None while it goes on.

    Args:
        point: the newest evaluation; `point.stage` is the current stage.
        stage_began: examples drawn when the current stage began.
        earlier: the evaluations before this one, beginning with the untrained model's; a hopeless run shows in them.
    """
    facts = spec.workload.facts
    if reason := _describe_divergence(point):
        return Verdict("diverged", reason)
    # Before the targets: a hit outside the budget does not count.
    limit = spec.seconds_allowed
    if point.scored(spec.clock) > limit:
        return Verdict("timeout", f"{limit:g} {spec.clock} seconds are spent")
    if not spec.allows(point):
        cap = facts.budget.gradient_examples
        return Verdict("exhausted", f"{point.gradient_examples:,} gradient-examples, the budget is {cap:,}")
    if facts.stages:
        return _decide_stream_end(spec, point, stage_began) or _decide_budget_end(spec, point)
    met = all(target.met(point.metrics) for target in facts.targets)
    if spec.prune and earlier and not met and (reason := _describe_hopelessness(spec, point, earlier)):
        return Verdict("pruned", reason)
    if spec.stop is None:
        return Verdict("reached", "the target is met") if met else _decide_budget_end(spec, point)
    if point.examples >= spec.stop:
        where = f"at its stop of {spec.stop:,} examples"
        return Verdict("reached", f"the target is met {where}") if met else Verdict("exhausted", f"missed {where}")
    return _decide_budget_end(spec, point)


def _decide_stream_end(spec: RunSpec, point: Point, began: int) -> Verdict | None:
    stages = spec.workload.facts.stages
    stage, last, ends = stages[point.stage], point.stage + 1 == len(stages), is_stage_over(spec, point, began)
    met = all(target.met(point.metrics) for target in (*stage.targets, *stage.floors))
    if last and ends and met:
        return Verdict("reached", "the last stage's targets are met and every task is above its floor")
    if last and ends and spec.stop is not None:
        return Verdict("exhausted", "missed when the last stage's share was spent")
    if point.examples - began >= stage.max_examples and (last or not ends):
        return Verdict("exhausted", f"stage {stage.name!r} used its {stage.max_examples:,} examples")
    return None


def is_stage_over(spec: RunSpec, point: Point, began: int) -> bool:
    """Whether the current stage of a stream is over.

    A stage ends when it has seen its least number of examples and all its targets are met. In a run to a stop, every
    stage lasts for the same share of its cap as the run does of the horizon, whether targets are met or not.

    Args:
        point: the newest evaluation.
        began: examples drawn when the stage began.
    """
    facts = spec.workload.facts
    stage, examples = facts.stages[point.stage], point.examples - began
    if spec.stop is not None:
        return examples >= stage.max_examples * spec.stop // facts.budget.horizon // facts.eval_every * facts.eval_every
    return examples >= stage.min_examples and all(target.met(point.metrics) for target in stage.targets)


def _describe_divergence(point: Point) -> str:
    """Which value is not finite, or an empty string."""
    for name, value in point.metrics.items():
        if not math.isfinite(value):
            return f"{name} is {value} after {point.steps} steps"
    if point.train_loss is not None and math.isnan(point.train_loss):
        return f"the training loss is NaN after {point.steps} steps"
    return ""


def _describe_hopelessness(spec: RunSpec, point: Point, earlier: Sequence[Point]) -> str:
    """Why the target is out of reach on a pool, or an empty string.

    It is cautious, since schedules gain most at their end and a single evaluation may be a bad one: the best value so
    far counts, and no published run that reached its target would have been ended (tests/report/test_published.py).
    """
    facts = spec.workload.facts
    target, share = facts.targets[0], point.examples / facts.budget.horizon
    first, *values = [p.metrics.get(target.metric) for p in (*earlier, point)]
    known = [value for value in values if value is not None]
    if share < HOPELESS_BUDGET or first is None or not known or first == target.value:
        return ""
    best = max(known) if target.goal == "max" else min(known)
    progress = (first - best) / (first - target.value)
    if progress >= HOPELESS_PROGRESS:
        return ""
    return f"{target.metric} has come {progress:.0%} of the way to its target in {share:.0%} of the budget"


def _decide_budget_end(spec: RunSpec, point: Point) -> Verdict | None:
    budget = spec.workload.facts.budget
    if point.examples >= budget.horizon:
        return Verdict("exhausted", f"the budget of {budget.horizon:,} examples is spent")
    if point.gradient_examples >= budget.gradient_examples:
        return Verdict("exhausted", f"the budget of {budget.gradient_examples:,} gradient-examples is spent")
    return None
