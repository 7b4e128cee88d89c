"""Targets from runs of tuned references: the rule, applied to records.

A value is what at least 90 % of fresh seeds of a tuned reference reach by 80 % of the budget, rounded to three digits,
to the easier side. The target is the value of the reference that anchors the scores, at its best setting, so that
scores have a time to be measured in; the value of the best of all references is the `hard` level (ADR 0006).

On a stream the rule is applied to every stage: in the runs from which its values come, all stages last equally long,
whether their targets are met or not. But runs at such targets advance as soon as they may, with less training before
the next stage, and have five chances to miss. So all stages are made easier together, by the least tolerance factor at
which enough fresh seeds reach the end.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence

from harness.calibration.curves import best_value
from harness.calibration.pools import calibrate_pool
from harness.calibration.results import Calibration, TunedSetting
from harness.calibration.streams import calibrate_stream
from harness.contract.record import Record, is_complete


def rank_settings(records: Iterable[Record]) -> tuple[TunedSetting, ...]:
    """The settings tried on tuning seeds, best first."""
    tuned = [_tuned_setting(record) for record in records]
    goals = {record.spec.workload.facts.targets[0].goal for record in records if record.spec.workload.facts.targets}
    sign = -1.0 if goals == {"max"} else 1.0

    def rank(setting: TunedSetting) -> tuple[bool, float]:
        return setting.value is None, 0.0 if setting.value is None else sign * setting.value

    return tuple(sorted(tuned, key=rank))


def _tuned_setting(record: Record) -> TunedSetting:
    facts = record.spec.workload.facts
    values: list[float | None] = []
    if is_complete(record.status):
        stages = range(len(facts.stages)) if facts.stages else [None]
        values = [best_value(record, facts.targets[0], facts.budget.horizon, stage) for stage in stages]
    complete = [value for value in values if value is not None]
    return TunedSetting(
        submission=record.spec.submission.id,
        hparams=record.spec.hparams,
        value=statistics.fmean(complete) if complete and len(complete) == len(values) else None,
        examples=record.counters.examples,
        run=record.run_id,
    )


def calibrate(tuning: Sequence[TunedSetting], best: Sequence[Record], anchor: Sequence[Record] = ()) -> Calibration:
    """The calibration from records of fresh seeds.

    Args:
        tuning: all settings tried, best first.
        best: records of the best setting on one workload, on seeds of their own; not empty.
        anchor: the same of the best setting of the submission that anchors the scores; empty where that is the best
            one, or where it cannot meet any target (streams, whose floors need replay).
    """
    spec, facts = best[0].spec, best[0].spec.workload.facts
    common = Calibration(
        workload=facts.id,
        hardware=spec.hardware,
        torch=best[0].environment.torch if best[0].environment else "",
        settings=tuple(tuning),
        best=spec.submission.id,
        anchor=(anchor or best)[0].spec.submission.id,
        horizon=facts.budget.horizon,
        runs=tuple(record.run_id for record in (*anchor, *best)),
    )
    return (
        calibrate_stream(common, facts, best) if facts.stages else calibrate_pool(common, facts, best, anchor or best)
    )
