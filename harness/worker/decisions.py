"""Lists the decisions that depend on an evaluation, and determines which evaluations must use the whole split."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from harness.contract.run import WHOLE_PURPOSES, Point, RunSpec
from harness.contract.workload import Target
from harness.planning.run_end import PRUNE_PROGRESS, decide_end, is_stage_over
from harness.planning.stopping_rules import stopping_rule


def may_screen(spec: RunSpec) -> bool:
    """Return whether a run may have screened evaluations.

    A screened evaluation uses only a part of the score split. The following runs must not have screened evaluations,
    because the metrics of all their evaluations may be used later:

    * runs from which targets are set;
    * runs to which the envelope of a gate is fitted;
    * tuning runs with a stop. (Exception: tuning runs from which a setting is chosen, as under `fixed-budget`. They are
      compared only by their final metric.)
    """
    # A ruleset that chooses a setting compares the tuning runs only by their final metric.
    chooses_setting = stopping_rule(spec.ruleset.stopping).chooses_setting
    uses_curve = spec.purpose == "tuning" and spec.stop is not None and not chooses_setting
    return spec.screening and spec.purpose not in WHOLE_PURPOSES and not uses_curve


def list_decisions(
    spec: RunSpec, point: Point, stage_began: int, earlier: Sequence[Point]
) -> dict[str, tuple[Target, ...]] | None:
    """Return the decisions that an evaluation may trigger, by name; None if the evaluation must use the whole split.

    A decision is triggered if all its targets are met. On a pool, decisions whose targets were met at an earlier
    evaluation of the whole split are left out. The evaluation of the untrained model leaves nothing out, because no run
    ends at it. The evaluation must use the whole split in three cases:

    - The run may not have screened evaluations.
    - The evaluation is the first one of the run, or is at a scored stop.
    - The run or a stage ends at the evaluation, whatever the metrics are.

    The first evaluation of a stage also uses the whole split. `Evaluator` ensures this.

    Args:
        spec: the specification of the trial.
        point: the evaluation, without its metrics.
        stage_began: number of examples that had been drawn when the current stage began.
        earlier: the earlier evaluations.
    """
    facts = spec.workload.facts
    if not may_screen(spec) or not earlier:
        return None
    if spec.passes_scored_stop(earlier[-1].examples, point.examples):
        return None
    if decide_end(spec, point, stage_began, earlier) is not None:
        return None
    if facts.stages:
        return None if is_stage_over(spec, point, stage_began) else _stage_decision(spec, point, stage_began)
    decisions = {"the target": facts.targets, **{f"the {level} level": t for level, t in facts.levels.items()}}
    if spec.prune:
        decisions["the pruning threshold"] = _prune_threshold(spec, earlier[0])
    on_whole_split = [earlier_point for earlier_point in earlier[1:] if not earlier_point.screened]
    return {
        name: targets
        for name, targets in decisions.items()
        if targets and not any(all(target.met(p.metrics) for target in targets) for p in on_whole_split)
    }


def _stage_decision(spec: RunSpec, point: Point, stage_began: int) -> dict[str, tuple[Target, ...]]:
    """Return the end of the current stage as a decision, or an empty dict if metrics cannot end the stage.

    Metrics cannot end a stage before its minimum number of examples, or in a run with a fixed number of examples.
    """
    stages = spec.workload.facts.stages
    stage = stages[point.stage]
    if spec.stop is not None or point.examples - stage_began < stage.min_examples:
        return {}
    if point.stage + 1 < len(stages):
        return {f"the end of stage {stage.name}": stage.targets}
    return {"the end of the last stage": (*stage.targets, *stage.floors)}


def _prune_threshold(spec: RunSpec, first_point: Point) -> tuple[Target, ...]:
    """Return a target for the primary metric. `--prune` does not end a run that has met this target."""
    target = spec.workload.facts.targets[0]
    initial_value = first_point.metrics.get(target.metric)
    if initial_value is None:
        return ()
    value = initial_value - PRUNE_PROGRESS * (initial_value - target.value)
    return (msgspec.structs.replace(target, value=value),)


def describe_decisions(spec: RunSpec, point: Point, stage_began: int, earlier: Sequence[Point]) -> dict[str, str]:
    """Return everything that is decided at a point, by name, as short texts. Equal decisions have equal texts.

    The arguments are those of `list_decisions`, but the point has its metrics.
    """
    verdict = decide_end(spec, point, stage_began, earlier)
    described = {"the run": "goes on" if verdict is None else f"ends ({verdict.status})"}
    facts = spec.workload.facts
    if facts.stages:
        stage = facts.stages[point.stage]
        described["the stage"] = "is over" if is_stage_over(spec, point, stage_began) else "goes on"
        if point.stage + 1 == len(facts.stages) and described["the stage"] == "is over":
            described["the floors"] = _met(stage.floors, point)
        return described
    for name, targets in (list_decisions(spec, _without_metrics(point), stage_began, earlier) or {}).items():
        described[name] = _met(targets, point)
    return described


def _met(targets: Sequence[Target], point: Point) -> str:
    return "is met" if all(target.met(point.metrics) for target in targets) else "is not met"


def _without_metrics(point: Point) -> Point:
    return msgspec.structs.replace(point, metrics={})
