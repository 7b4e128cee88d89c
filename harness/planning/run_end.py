"""Decide at each evaluation whether a run is over."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from harness.contract.record import Status
from harness.contract.run import Point, RunSpec


class Verdict(NamedTuple):
    """The decision to end a run.

    Args:
        status: status of the run, for the record.
        reason: reason for the status, in one clause.
    """

    status: Status
    reason: str


#: `--prune` ends no run before this fraction of the horizon.
PRUNE_BUDGET = 0.5
#: After `PRUNE_BUDGET`, `--prune` ends a run whose best metric has covered less than this fraction of the distance from
#: the initial metric to the target.
PRUNE_PROGRESS = 0.5


def decide_end(spec: RunSpec, point: Point, stage_began: int, earlier: Sequence[Point] = ()) -> Verdict | None:
    """Return the verdict on a run at an evaluation, or None if the run is not over.

    Args:
        spec: the specification of the trial.
        point: the current evaluation. On a stream, `point.stage` is the index of the current stage.
        stage_began: number of examples that had been drawn when the current stage began; 0 on a pool.
        earlier: the earlier evaluations, beginning with the evaluation of the untrained model. Only `--prune` needs
            this argument.
    """
    facts = spec.workload.facts
    if reason := _describe_divergence(point):
        return Verdict("diverged", reason)
    # The budget is checked before the targets, because a hit outside the budget does not count.
    limit = spec.seconds_allowed
    if point.scored(spec.clock) > limit:
        return Verdict("timeout", f"the budget of {limit:g} {spec.clock} seconds is spent")
    cap = facts.budget.gradient_examples
    if point.gradient_examples > cap:
        return Verdict(
            "exhausted", f"the run used {point.gradient_examples:,} gradient-examples, the budget is {cap:,}"
        )
    if facts.stages:
        return _decide_stream_end(spec, point, stage_began) or _decide_budget_end(spec, point)
    met = all(target.met(point.metrics) for target in facts.targets)
    if spec.prune and earlier and not met and (reason := _describe_low_progress(spec, point, earlier)):
        return Verdict("pruned", reason)
    if spec.stop is None:
        return Verdict("reached", "the target is met") if met else _decide_budget_end(spec, point)
    if point.examples >= spec.stop:
        stop = f"at the stop of {spec.stop:,} examples"
        if met:
            return Verdict("reached", f"the target is met {stop}")
        return Verdict("exhausted", f"the target is not met {stop}")
    return _decide_budget_end(spec, point)


def _decide_stream_end(spec: RunSpec, point: Point, began: int) -> Verdict | None:
    """Return the verdict on a run on a stream, or None if the run is not over.

    Floors are targets for earlier tasks. They must be met at the end of the last stage. A run is over in these cases:

    - The last stage is over, and its targets and floors are met (`reached`).
    - The last stage is over in a run with a stop, and a target or floor is not met (`exhausted`).
    - A stage has used up its examples before its targets were met (`exhausted`). The last stage is also exhausted if
      only its floors are not met.
    """
    stages = spec.workload.facts.stages
    stage, is_last, is_over = stages[point.stage], point.stage + 1 == len(stages), is_stage_over(spec, point, began)
    met = all(target.met(point.metrics) for target in (*stage.targets, *stage.floors))
    if is_last and is_over and met:
        return Verdict("reached", "the targets and the floors of the last stage are met")
    if is_last and is_over and spec.stop is not None:
        return Verdict("exhausted", "a target or a floor is not met at the stop of the last stage")
    if point.examples - began >= stage.max_examples and (is_last or not is_over):
        return Verdict("exhausted", f"the stage {stage.name!r} used its budget of {stage.max_examples:,} examples")
    return None


def is_stage_over(spec: RunSpec, point: Point, began: int) -> bool:
    """Return whether the current stage of a stream is over.

    Without a stop, a stage is over when its minimum number of examples has been drawn and all its targets are met. In a
    run with a stop, the targets are ignored, and the stage is over after `max_examples * stop / horizon` examples. This
    number is rounded down to a multiple of `eval_every`.

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
    """Return a message if the run has diverged; "" otherwise.

    A run has diverged if a metric is not finite or the training loss is NaN.
    """
    for name, value in point.metrics.items():
        if not math.isfinite(value):
            return f"{name} is {value} after {point.steps} steps"
    if point.train_loss is not None and math.isnan(point.train_loss):
        return f"the training loss is NaN after {point.steps} steps"
    return ""


def _describe_low_progress(spec: RunSpec, point: Point, earlier: Sequence[Point]) -> str:
    """Return the reason to prune a run on a pool; "" if the run may continue.

    `PRUNE_PROGRESS` and `PRUNE_BUDGET` define the rule. Single evaluations are noisy, so the best value of the metric
    counts. With many schedules, the metric improves most near the end of the run. `PRUNE_PROGRESS` is therefore low:
    `--prune` would end none of the published runs that reached their target (tests/report/test_published.py).
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
    return (
        f"{target.metric} has covered {progress:.0%} of the distance to its target after {fraction:.0%} of the budget"
    )


def _decide_budget_end(spec: RunSpec, point: Point) -> Verdict | None:
    """Return the verdict if the budget of examples or of gradient-examples is spent, otherwise None."""
    budget = spec.workload.facts.budget
    if point.examples >= budget.horizon:
        return Verdict("exhausted", f"the budget of {budget.horizon:,} examples is spent")
    if point.gradient_examples >= budget.gradient_examples:
        return Verdict("exhausted", f"the budget of {budget.gradient_examples:,} gradient-examples is spent")
    return None
