"""When a run is over, decided from its newest point alone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from harness.contract.record import Status
from harness.contract.run import Point, RunSpec


class Verdict(NamedTuple):
    """How a run ends, and why in one sentence."""

    status: Status
    reason: str


#: A run that is not this share of the way to its target after this share of its budget is hopeless.
HOPELESS_WAY, HOPELESS_BUDGET = 0.5, 0.5


def decide_end(spec: RunSpec, point: Point, stage_began: int, earlier: Sequence[Point] = ()) -> Verdict | None:
    """The verdict on a run at an evaluation, or None while it goes on.

    Args:
        point: the newest evaluation; `point.stage` is the current stage.
        stage_began: examples drawn when the current stage began.
        earlier: the evaluations before this one, from the untrained model on, by which a hopeless run is told.
    """
    facts = spec.workload.facts
    if reason := _find_divergence(point):
        return Verdict("diverged", reason)
    # Before the targets: a hit outside the budget is none.
    limit = spec.seconds_allowed
    if point.scored(spec.clock) > limit:
        return Verdict("timeout", f"{limit:g} {spec.clock} seconds are spent")
    if not spec.allows(point):
        cap = facts.budget.gradient_examples
        return Verdict("exhausted", f"{point.gradient_examples:,} gradient-examples, the budget is {cap:,}")
    if facts.stages:
        return _decide_stage_end(spec, point, stage_began) or _budget_spent(spec, point)
    met = all(target.met(point.metrics) for target in facts.targets)
    if spec.prune and earlier and not met and (reason := _find_hopeless(spec, point, earlier)):
        return Verdict("pruned", reason)
    if spec.stop is None:
        return Verdict("reached", "the target is met") if met else _budget_spent(spec, point)
    if point.examples >= spec.stop:
        where = f"at its stop of {spec.stop:,} examples"
        return Verdict("reached", f"the target is met {where}") if met else Verdict("exhausted", f"missed {where}")
    return _budget_spent(spec, point)


def _decide_stage_end(spec: RunSpec, point: Point, began: int) -> Verdict | None:
    stages = spec.workload.facts.stages
    stage, last, ends = stages[point.stage], point.stage + 1 == len(stages), is_stage_over(spec, point, began)
    kept = all(target.met(point.metrics) for target in (*stage.targets, *stage.floors))
    if last and ends and kept:
        return Verdict("reached", "the last stage's targets are met and every task is above its floor")
    if last and ends and spec.stop is not None:
        return Verdict("exhausted", "missed when the last stage's share was spent")
    if point.examples - began >= stage.max_examples and (last or not ends):
        return Verdict("exhausted", f"stage {stage.name!r} used its {stage.max_examples:,} examples")
    return None


def is_stage_over(spec: RunSpec, point: Point, began: int) -> bool:
    """Whether a stream goes on to its next stage, its present one having begun after so many examples.

    A stage ends when it has seen enough examples and its targets are all met. In a run to a stop it lasts for the
    same share of its cap as the run does of the horizon, targets or not.
    """
    facts = spec.workload.facts
    stage, seen = facts.stages[point.stage], point.examples - began
    if spec.stop is not None:
        return seen >= stage.max_examples * spec.stop // facts.budget.horizon // facts.eval_every * facts.eval_every
    return seen >= stage.min_examples and all(target.met(point.metrics) for target in stage.targets)


def _find_divergence(point: Point) -> str:
    for name, value in point.metrics.items():
        if not math.isfinite(value):
            return f"{name} is {value} after {point.steps} steps"
    if point.train_loss is not None and math.isnan(point.train_loss):
        return f"the training loss is NaN after {point.steps} steps"
    return ""


def _find_hopeless(spec: RunSpec, point: Point, earlier: Sequence[Point]) -> str:
    """Why the target is out of reach on a pool, or an empty string.

    Cautious, since schedules win most at their end and a single evaluation may be a bad one: the best so far counts,
    and none of the published runs that reached would have been ended (tests/report/test_published.py).
    """
    facts = spec.workload.facts
    target, share = facts.targets[0], point.examples / facts.budget.horizon
    first, *values = [p.metrics.get(target.metric) for p in (*earlier, point)]
    known = [value for value in values if value is not None]
    if share < HOPELESS_BUDGET or first is None or not known or first == target.value:
        return ""
    best = max(known) if target.goal == "max" else min(known)
    way = (first - best) / (first - target.value)
    if way >= HOPELESS_WAY:
        return ""
    return f"{target.metric} has come {way:.0%} of the way to its target in {share:.0%} of the budget"


def _budget_spent(spec: RunSpec, point: Point) -> Verdict | None:
    budget = spec.workload.facts.budget
    if point.examples >= budget.horizon:
        return Verdict("exhausted", f"the budget of {budget.horizon:,} examples is spent")
    if point.gradient_examples >= budget.gradient_examples:
        return Verdict("exhausted", f"the budget of {budget.gradient_examples:,} gradient-examples is spent")
    return None
