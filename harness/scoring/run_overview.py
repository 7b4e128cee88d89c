"""One run in a few numbers: its best and final metric beside the target, and what it took."""

from __future__ import annotations

import math
from dataclasses import dataclass

from harness.contract.domains import HParams
from harness.contract.record import Record, Status
from harness.contract.run import Point
from harness.contract.workload import Target, WorkloadFacts


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOverview:
    """A run as a list shows it.

    Args:
        run_id: of the record.
        submission, workload: `name@version` each.
        overrides: hyperparameters that the user set.
        purpose: purpose of the trial: `score`, `tuning` …
        study, trial, root_seed: which repetition and which setting, of which root of seeds.
        status, reason: how it ended.
        target: the primary target (on a stream: of the last stage that was evaluated).
        best, final: best and last value of its metric; None without an evaluation.
        examples, seconds: consumed at the hit, or at the end of a run without one; seconds as scored.
        hit: whether the target was met.
        started: UTC, ISO 8601.
        note: what the user wrote about it.
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


def run_overview(record: Record, note: str = "") -> RunOverview:
    """The overview of a record."""
    spec, facts = record.spec, record.spec.workload.facts
    stage = record.points[-1].stage if record.points else 0
    target = primary_target(facts, stage)
    best, final = best_and_final(record, target, stage) if target is not None else (None, None)
    end = record.points[record.hit] if record.hit is not None else record.points[-1] if record.points else None
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
    )


def primary_target(facts: WorkloadFacts, stage: int = 0) -> Target | None:
    """The target that decides: the workload's first, on a stream the first of a stage; None where there is none."""
    targets = facts.stages[stage].targets if facts.stages else facts.targets
    return targets[0] if targets else None


def best_and_final(record: Record, target: Target, stage: int = 0) -> tuple[float | None, float | None]:
    """The best and the last finite value of a metric over a run's evaluations in a stage; None without one.

    A run whose last evaluation has no finite value (it diverged) has no final one.
    """
    best, final = best_and_final_points(record, target, stage)
    return (
        None if best is None else best.metrics[target.metric],
        None if final is None else final.metrics[target.metric],
    )


def best_and_final_points(record: Record, target: Target, stage: int = 0) -> tuple[Point | None, Point | None]:
    """Return the evaluations with the best and the last value of a metric in a stage, as `best_and_final` does."""
    points = [point for point in record.points if point.stage == stage]
    finite = [point for point in points if math.isfinite(point.metrics.get(target.metric, math.nan))]
    if not finite:
        return None, None
    choose = min if target.goal == "min" else max
    best = choose(finite, key=lambda point: point.metrics[target.metric])
    return best, points[-1] if points[-1] is finite[-1] else None
