"""Decides at each evaluation whether a run is over."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from harness.contract.record import Status
from harness.contract.run import Point, RunSpec


class Verdict(NamedTuple):
    """The decision to end a run.

    Args:
        status: status of the record.
        reason: reason of the status, in one sentence.
    """

    status: Status
    reason: str


#: `--prune` ends a run that has drawn `PRUNE_BUDGET` of its budget and whose target metric has covered less than
#: `PRUNE_PROGRESS` of the distance to its target. Both are fractions.
PRUNE_PROGRESS, PRUNE_BUDGET = 0.5, 0.5


def decide_end(spec: RunSpec, point: Point, stage_began: int, earlier: Sequence[Point] = ()) -> Verdict | None:
    """Return the verdict on a run at an evaluation, or None if the run is not over.

    Args:
        spec: the specification of the trial.
        point: the current evaluation; `point.stage` is the current stage.
        stage_began: number of examples that had been drawn when the current stage began.
        earlier: the earlier evaluations, the first of them of the untrained model; used for `--prune` only.
    """
    facts = spec.workload.facts
    if reason := _describe_divergence(point):
        return Verdict("diverged", reason)
    # The budget is checked before the targets, since a hit outside the budget does not count.
    limit = spec.seconds_allowed
    if point.scored(spec.clock) > limit:
        return Verdict("timeout", f"{limit:g} {spec.clock} seconds are spent")
    if not spec.allows(point):
        cap = facts.budget.gradient_examples
        return Verdict("exhausted", f"{point.gradient_examples:,} gradient-examples, the budget is {cap:,}")
    if facts.stages:
        return _decide_stream_end(spec, point, stage_began) or _decide_budget_end(spec, point)
    met = all(target.met(point.metrics) for target in facts.targets)
    if spec.prune and earlier and not met and (reason := _describe_low_progress(spec, point, earlier)):
        return Verdict("pruned", reason)
    if spec.stop is None:
        return Verdict("reached", "the target is met") if met else _decide_budget_end(spec, point)
    if point.examples >= spec.stop:
        stop = f"at its stop of {spec.stop:,} examples"
        return Verdict("reached", f"the target is met {stop}") if met else Verdict("exhausted", f"missed {stop}")
    return _decide_budget_end(spec, point)


def _decide_stream_end(spec: RunSpec, point: Point, began: int) -> Verdict | None:
    stages = spec.workload.facts.stages
    stage, is_last, is_over = stages[point.stage], point.stage + 1 == len(stages), is_stage_over(spec, point, began)
    met = all(target.met(point.metrics) for target in (*stage.targets, *stage.floors))
    if is_last and is_over and met:
        return Verdict("reached", "the last stage's targets are met and every task is above its floor")
    if is_last and is_over and spec.stop is not None:
        return Verdict("exhausted", "missed at the stop of the last stage")
    if point.examples - began >= stage.max_examples and (is_last or not is_over):
        return Verdict("exhausted", f"stage {stage.name!r} used its {stage.max_examples:,} examples")
    return None


def is_stage_over(spec: RunSpec, point: Point, began: int) -> bool:
    """Return whether the current stage of a stream is over.

    A stage is over when its minimum number of examples is drawn and all its targets are met. In a run with a stop, a
    stage is over when it has used the fraction of its cap that the stop is of the horizon, whether or not its targets
    are met.

    Args:
        spec: the specification of the trial.
        point: the current evaluation.
        began: number of examples that had been drawn when the stage began.
    """
    facts = spec.workload.facts
    stage, examples = facts.stages[point.stage], point.examples - began
    if spec.stop is not None:
        return examples >= stage.max_examples * spec.stop // facts.budget.horizon // facts.eval_every * facts.eval_every
    return examples >= stage.min_examples and all(target.met(point.metrics) for target in stage.targets)


def _describe_divergence(point: Point) -> str:
    """Return which value is not finite, or an empty string."""
    for name, value in point.metrics.items():
        if not math.isfinite(value):
            return f"{name} is {value} after {point.steps} steps"
    if point.train_loss is not None and math.isnan(point.train_loss):
        return f"the training loss is NaN after {point.steps} steps"
    return ""


def _describe_low_progress(spec: RunSpec, point: Point, earlier: Sequence[Point]) -> str:
    """Return why a run on a pool is unlikely to reach its target, or an empty string.

    Schedules improve the metric most near their end, and single evaluations are noisy. So the best value counts, and
    the thresholds are low: none of the published runs that reached their target is ended
    (tests/report/test_published.py).
    """
    facts = spec.workload.facts
    target, fraction = facts.targets[0], point.examples / facts.budget.horizon
    initial_value, *later_values = [p.metrics.get(target.metric) for p in (*earlier, point)]
    values = [value for value in later_values if value is not None]
    if fraction < PRUNE_BUDGET or initial_value is None or not values or initial_value == target.value:
        return ""
    best_value = max(values) if target.goal == "max" else min(values)
    progress = (initial_value - best_value) / (initial_value - target.value)
    if progress >= PRUNE_PROGRESS:
        return ""
    return f"{target.metric} has come {progress:.0%} of the way to its target in {fraction:.0%} of the budget"


def _decide_budget_end(spec: RunSpec, point: Point) -> Verdict | None:
    budget = spec.workload.facts.budget
    if point.examples >= budget.horizon:
        return Verdict("exhausted", f"the budget of {budget.horizon:,} examples is spent")
    if point.gradient_examples >= budget.gradient_examples:
        return Verdict("exhausted", f"the budget of {budget.gradient_examples:,} gradient-examples is spent")
    return None
