"""Targets of a stream's stages from fresh seeds of a tuned reference, and the factor that loosens them together."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterable, Sequence

import msgspec

from harness.calibration.curves import metric_errors, round_to_easier_side, span_of_error, value_at_fraction, value_reached
from harness.calibration.pools import SEED_FRACTION
from harness.calibration.results import Calibration, StageLevel
from harness.contract.record import Record
from harness.contract.workload import Stage, Target, WorkloadFacts

#: Factors by which the errors at a stream's stages may be multiplied, in the order of trying; see `loosen_targets`.
TOLERANCE_FACTORS = (1.0, 1.02, 1.05, 1.1, 1.15, 1.2, 1.3, 1.4, 1.5, 1.75, 2.0, 2.5, 3.0)


def calibrate_stream(common: Calibration, facts: WorkloadFacts, fresh: Sequence[Record]) -> Calibration:
    levels = []
    for index, stage in enumerate(facts.stages):
        target = stage.targets[0]
        value = value_reached(fresh, target, SEED_FRACTION, math.inf, index)
        if value is None:
            break
        floors = {floor.metric: _final_value(fresh, floor) for floor in stage.floors}
        levels.append(StageLevel(name=stage.name, value=round_to_easier_side(value, target), floors=floors))
    return msgspec.structs.replace(
        common, metric=facts.targets[0].metric, goal=facts.targets[0].goal, stages=tuple(levels)
    )


def loosen_targets(calibration: Calibration, stages: Sequence[Stage], tolerance_factor: float) -> tuple[Stage, ...]:
    """Stages with a calibration's values, loosened by a factor, as targets; caps and floors stay.

    The factor multiplies the error: the distance from 1 of a metric to be maximised (all of them are shares), any other
    metric itself.
    """
    return tuple(
        msgspec.structs.replace(
            stage,
            targets=(
                msgspec.structs.replace(
                    stage.targets[0], value=_loosen(level.value, stage.targets[0], tolerance_factor)
                ),
            ),
        )
        for stage, level in zip(stages, calibration.stages, strict=True)
    )


def add_tolerance(calibration: Calibration, tolerance_factor: float | None, checks: Sequence[Record]) -> Calibration:
    """A calibration completed by its tolerance factor and by the resolution of the runs at the loosened targets.

    Args:
        calibration: without them.
        tolerance_factor: None where no factor holds.
        checks: fresh seeds that went through the stream at the loosened targets.
    """
    if tolerance_factor is None:
        return calibration
    ends = [_useful_evaluations(record) for record in checks if record.status == "reached"]
    return msgspec.structs.replace(
        calibration,
        slack=tolerance_factor,
        checks=tuple(record.run_id for record in checks),
        evaluations=statistics.median(ends) if ends else None,
        resolution=stream_resolution(checks),
    )


def _useful_evaluations(record: Record) -> float:
    """Evaluations of a run through a stream, less those before the fewest examples that its stages last."""
    facts = record.spec.workload.facts
    least = sum(stage.min_examples for stage in facts.stages)
    return (record.points[-1].examples - least) / facts.eval_every


def stream_resolution(checks: Iterable[Record]) -> float | None:
    """One standard error at every stage, as a share of the examples to the end of the last; the median over runs.

    Added up over the stages: how many more examples a stage lasts than if its target and floors were each one standard
    error easier. All stages are evaluated on the same held-out examples, so their errors need not cancel. Needs `se`
    beside the target metric, and `se/<k>` beside a floor on `<metric>/<k>`, which counts as exact otherwise.

    Args:
        checks: runs through the stream; those that do not reach its end are left out.
    """
    shares = []
    for record in checks:
        delays = [_stage_delay(record, index) for index in range(len(record.spec.workload.facts.stages))]
        known = [delay for delay in delays if delay is not None]
        if record.status == "reached" and len(known) == len(delays):
            shares.append(sum(known) / record.points[-1].examples)
    return float(f"{statistics.median(shares):.2g}") if shares else None


def _stage_delay(record: Record, index: int) -> float | None:
    """How many more examples a stage lasts than at values one standard error easier."""
    stage = record.spec.workload.facts.stages[index]
    begin = max((p.examples for p in record.points if p.stage < index), default=0)
    least = float(begin + stage.min_examples)
    spans = [span_of_error(record, condition, index) for condition in (*stage.targets, *stage.floors)]
    if spans[0] is None or not metric_errors(record, stage.targets[0], index):
        return None
    known = [span for span in spans if span is not None]
    return max(least, *(late for _, late in known)) - max(least, *(early for early, _ in known))


def _loosen(value: float, target: Target, factor: float) -> float:
    return round_to_easier_side(1 - factor * (1 - value) if target.goal == "max" else factor * value, target)


def least_tolerance(holds: Callable[[float], bool]) -> float | None:
    """The least of `TOLERANCE_FACTORS` that holds; None if none does.

    Tried in order and not by bisection: an easier stage ends earlier, which leaves less training for the floors of the
    last one, so that a larger factor may fail where a smaller one holds.
    """
    return next((factor for factor in TOLERANCE_FACTORS if holds(factor)), None)


def _final_value(fresh: Sequence[Record], floor: Target) -> float:
    """The value of a floor's metric that enough runs end above."""
    ends = [record.points[-1].metrics.get(floor.metric, math.nan) for record in fresh]
    value = value_at_fraction([end for end in ends if not math.isnan(end)], floor, SEED_FRACTION, len(fresh))
    return math.nan if value is None else round_to_easier_side(value, floor)
