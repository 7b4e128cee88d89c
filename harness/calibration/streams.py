"""Computes the targets of a stream's stages, and the tolerance factor, from new seeds of a tuned reference."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterable, Sequence

import msgspec

from harness.calibration.curves import (
    loosen_value,
    metric_errors,
    round_to_easier_side,
    span_of_error,
    value_at_fraction,
    value_reached,
)
from harness.calibration.pools import SEED_FRACTION
from harness.calibration.results import Calibration, StageLevel
from harness.contract.record import Record
from harness.contract.workload import Stage, Target, WorkloadFacts

#: Tolerance factors in the order in which they are tried. The stages' errors are multiplied by the selected factor.
TOLERANCE_FACTORS = (1.0, 1.02, 1.05, 1.1, 1.15, 1.2, 1.3, 1.4, 1.5, 1.75, 2.0, 2.5, 3.0)


def calibrate_stream(base: Calibration, facts: WorkloadFacts, best_runs: Sequence[Record]) -> Calibration:
    """Compute the values of a stream's stages.

    Args:
        base: calibration without stages.
        facts: facts of the workload.
        best_runs: runs of the best reference on new seeds, which ignore the targets of the stages.

    Returns:
        The calibration with the stages. If too few runs have an evaluation in a stage, this stage and all later stages
        are listed in `uncalibrated`.
    """
    stage_levels = []
    for index, stage in enumerate(facts.stages):
        target = stage.targets[0]
        value = value_reached(best_runs, target, SEED_FRACTION, math.inf, index)
        if value is None:
            break
        value = _with_error(round_to_easier_side(value, target), target, best_runs, index)
        floors = {floor.metric: _final_value(best_runs, floor) for floor in stage.floors}
        stage_levels.append(StageLevel(name=stage.name, value=round_to_easier_side(value, target), floors=floors))
    primary = facts.targets[0]
    return msgspec.structs.replace(
        base,
        metric=primary.metric,
        goal=primary.goal,
        stages=tuple(stage_levels),
        uncalibrated=tuple(stage.name for stage in facts.stages[len(stage_levels) :]),
    )


def _with_error(value: float, target: Target, runs: Sequence[Record], stage: int) -> float:
    """Return a value whose error is not 0, because no tolerance factor could make another value easier.

    If the value is the best possible one, such as an accuracy of 1, the result is the next easier value that occurs in
    the stage. If no other value occurs, the result is the value itself.
    """
    if loosen_value(value, target, 2.0) != value:
        return value
    points = [point for run in runs for point in run.points if point.stage == stage and not point.screened]
    metrics = [point.metrics.get(target.metric, math.nan) for point in points]
    easier = [metric for metric in metrics if target.better(value, metric)]
    return (max if target.goal == "max" else min)(easier, default=value)


def loosen_targets(calibration: Calibration, stages: Sequence[Stage], tolerance_factor: float) -> tuple[Stage, ...]:
    """Return the stages with new targets: the values of a calibration, loosened by a factor.

    The factor multiplies the error (see `loosen_value`). The other fields of the stages are unchanged.
    """
    return tuple(
        msgspec.structs.replace(
            stage,
            targets=(
                msgspec.structs.replace(
                    stage.targets[0], value=loosen_value(level.value, stage.targets[0], tolerance_factor)
                ),
            ),
        )
        for stage, level in zip(stages, calibration.stages, strict=True)
    )


def add_tolerance(calibration: Calibration, tolerance_factor: float | None, checks: Sequence[Record]) -> Calibration:
    """Add the tolerance factor to a calibration, and the resolution of the runs with the loosened targets.

    Args:
        calibration: calibration without a tolerance factor.
        tolerance_factor: the factor; None if no factor suffices.
        checks: runs of new seeds at the loosened targets.
    """
    if tolerance_factor is None:
        return calibration
    evaluations = [_useful_evaluations(record) for record in checks if record.status == "reached"]
    return msgspec.structs.replace(
        calibration,
        slack=tolerance_factor,
        checks=tuple(record.run_id for record in checks),
        evaluations=statistics.median(evaluations) if evaluations else None,
        resolution=stream_resolution(checks),
    )


def _useful_evaluations(record: Record) -> float:
    """Return the number of a run's evaluations after the minimum numbers of examples of the stages.

    A stage cannot end before its minimum number of examples, so earlier evaluations are not counted. The evaluation
    exactly at the minimum may end its stage, but is not counted either: every run has it, so it separates no runs. A
    run that ends every stage at the minimum has 0 evaluations by which it could differ from another run.
    """
    facts = record.spec.workload.facts
    min_examples = sum(stage.min_examples for stage in facts.stages)
    return (record.points[-1].examples - min_examples) / facts.eval_every


def stream_resolution(checks: Iterable[Record]) -> float | None:
    """Return the resolution of a stream: the fraction by which one standard error of the metric changes a run's length.

    1. If the targets and floors of a stage were one standard error easier, the stage would end earlier. The difference
       in examples is the delay of the stage.
    2. The delays of all stages are added, because the errors of the stages may have the same sign: all stages are
       evaluated on the same held-out examples.
    3. The resolution of a run is this sum divided by the run's length in examples. The result is the median over runs.

    Args:
        checks: runs with the loosened targets, which must report the standard error `se` of the target metric. Runs
            that do not reach the end are left out. If a run does not report the standard error `se/<k>` of a floor on
            stage k, 0 is used.

    Returns:
        The resolution; None if it cannot be computed for any run.
    """
    fractions = []
    for record in checks:
        delays = [_stage_delay(record, index) for index in range(len(record.spec.workload.facts.stages))]
        known_delays = [delay for delay in delays if delay is not None]
        if record.status == "reached" and len(known_delays) == len(delays):
            fractions.append(sum(known_delays) / record.points[-1].examples)
    return float(f"{statistics.median(fractions):.2g}") if fractions else None


def _stage_delay(record: Record, index: int) -> float | None:
    """Return the delay of a stage in examples (see `stream_resolution`).

    The result is None if the standard error of the target is unknown or the run does not meet the target.
    """
    stage = record.spec.workload.facts.stages[index]
    begin = max((p.examples for p in record.points if p.stage < index), default=0)
    earliest_end = float(begin + stage.min_examples)
    spans = [span_of_error(record, condition, index) for condition in (*stage.targets, *stage.floors)]
    if spans[0] is None or not metric_errors(record, stage.targets[0], index):
        return None
    known_spans = [span for span in spans if span is not None]
    return max(earliest_end, *(late for _, late in known_spans)) - max(
        earliest_end, *(early for early, _ in known_spans)
    )


def least_tolerance(holds: Callable[[float], bool]) -> float | None:
    """Return the first of `TOLERANCE_FACTORS` for which `holds` returns True; None if it returns False for all of them.

    All factors are tried in order. Bisection is not valid, because `holds` may be True for a factor and False for a
    larger factor: the stages then end earlier, so the floors must be met after less training.
    """
    return next((factor for factor in TOLERANCE_FACTORS if holds(factor)), None)


def _final_value(records: Sequence[Record], floor: Target) -> float:
    """Return the strictest value of a floor that the fraction `SEED_FRACTION` of the runs meets at the end.

    The result is NaN if fewer runs report the metric.
    """
    finals = [record.points[-1].metrics.get(floor.metric, math.nan) for record in records if record.points]
    value = value_at_fraction([final for final in finals if not math.isnan(final)], floor, SEED_FRACTION, len(records))
    return math.nan if value is None else round_to_easier_side(value, floor)
