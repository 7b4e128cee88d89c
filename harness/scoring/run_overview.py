"""The overview of one run: its best and final metric, its target, and the examples and seconds that it consumed."""

from __future__ import annotations

import math
from dataclasses import dataclass

from harness.contract.domains import HParams
from harness.contract.marks import Mark
from harness.contract.record import Record, Status
from harness.contract.run import Point
from harness.contract.workload import Target, WorkloadFacts
from harness.scoring.point_columns import PointColumns, finite_values


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOverview:
    """The fields of a run that are shown in lists of runs.

    Args:
        run_id: run ID of the record.
        submission: `name@version` of the submission.
        workload: `name@version` of the workload.
        overrides: hyperparameters set by the user, and their values.
        purpose: purpose of the trial, such as `score` or `tuning`.
        study: index of the study.
        trial: index of the trial within the study.
        root_seed: root seed, from which the seeds of the run are derived.
        status: final status of the run.
        reason: why the run ended, as in the record.
        target: primary target; on a stream, the primary target of the last stage that was evaluated. None if there is
            no target.
        best: best finite value of the target's metric; None if no value is finite.
        final: value of the target's metric at the last evaluation; None if the value is absent or not finite.
        examples: examples drawn or gradient-examples, whichever is larger, at the hit. Without a hit, at the end.
        seconds: scored seconds at the hit. Without a hit, at the end.
        hit: whether all targets were met at an evaluation within the budget.
        started: start of the run in UTC (ISO 8601).
        note: note of the user about the run; may be empty.
        mark: `doubted` or `withdrawn` with the reason; empty for a record without a mark.
    """

    run_id: str
    submission: str
    workload: str
    overrides: HParams
    purpose: str
    study: int
    trial: int
    root_seed: int
    status: Status
    reason: str
    target: Target | None
    best: float | None
    final: float | None
    examples: int
    seconds: float
    hit: bool
    started: str
    note: str = ""
    mark: str = ""


def run_overview(record: Record, note: str = "", mark: Mark | None = None) -> RunOverview:
    """Make the overview of a record, with the user's note about the run and the mark of the record."""
    spec, facts = record.spec, record.spec.workload.facts
    stage = record.points[-1].stage if record.points else 0
    target = primary_target(facts, stage)
    best, final = best_and_final(record, target, stage) if target is not None else (None, None)
    end = None
    if record.points:
        end = record.points[-1] if record.hit is None else record.points[record.hit]
    return RunOverview(
        run_id=record.run_id,
        submission=spec.submission.id,
        workload=facts.id,
        overrides={name: spec.hparams[name] for name in spec.overridden if name in spec.hparams},
        purpose=spec.purpose,
        study=spec.study,
        trial=spec.trial,
        root_seed=spec.root_seed,
        status=record.status,
        reason=record.reason,
        target=target,
        best=best,
        final=final,
        examples=end.cost if end is not None else 0,
        seconds=end.scored(spec.clock) if end is not None else 0.0,
        hit=record.hit is not None,
        started=record.started,
        note=note,
        mark=f"{mark.event}: {mark.why}" if mark else "",
    )


def primary_target(facts: WorkloadFacts, stage: int = 0) -> Target | None:
    """Return the first target of a workload or of a stage of a stream; None if there is no target."""
    targets = facts.stages[stage].targets if facts.stages else facts.targets
    return targets[0] if targets else None


def best_and_final(record: Record, target: Target, stage: int = 0) -> tuple[float | None, float | None]:
    """Return the best finite value of a metric over a run's evaluations in a stage, and its final value.

    The values include estimates from a part of the split. The best value may therefore be slightly too good. It is None
    if no value is finite. The final value is None if the last value is absent or not finite, as in a run that diverged.
    """
    values = PointColumns(record.points).values_of_stage(target.metric, stage)
    best = _best(values, target)
    return best, values[-1] if best is not None and math.isfinite(values[-1]) else None


def best_value(columns: PointColumns, target: Target, stage: int = 0) -> float | None:
    """Return the best value of a metric in a stage (see `best_and_final`)."""
    return _best(columns.values_of_stage(target.metric, stage), target)


def _best(values: list[float], target: Target) -> float | None:
    finite = finite_values(values)
    if not finite:
        return None
    return min(finite) if target.goal == "min" else max(finite)


def best_and_final_points(record: Record, target: Target, stage: int = 0) -> tuple[Point | None, Point | None]:
    """Return the evaluations with the best and the final value of a metric in a stage (see `best_and_final`)."""
    points = [point for point in record.points if point.stage == stage]
    values = [point.metrics.get(target.metric, math.nan) for point in points]
    best = _best(values, target)
    if best is None:
        return None, None
    return points[values.index(best)], points[-1] if math.isfinite(values[-1]) else None
