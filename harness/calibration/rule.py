"""Applies the calibration rule to runs of tuned references.

A reference is run at its best setting on new seeds. The rule takes the best value that at least 90 % of the seeds reach
within 80 % of the budget, and rounds it to three digits in the direction of the easier target.

On a pool, the value of the *anchor*, the reference with the tag `reference`, is the target. The anchor therefore
reaches the target. The value of the best reference is the level `hard` (ADR 0006). If too few further seeds of the
anchor reach the target, all levels are loosened by a tolerance factor.

On a stream, the rule is applied to every stage, with runs that ignore the targets of the stages. In a scored run, in
contrast, the next stage begins as soon as the targets of the current stage are met. A scored run therefore has less
training before the next stage, and may miss the target of any stage. For this reason, the targets of all stages are
loosened by a tolerance factor. It is the smallest factor with which enough new seeds reach the end of the stream.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from harness.calibration.curves import best_value
from harness.calibration.pools import calibrate_pool
from harness.calibration.results import Calibration, TunedSetting
from harness.calibration.streams import calibrate_stream
from harness.contract.record import Record, is_complete


def rank_settings(records: Sequence[Record]) -> tuple[TunedSetting, ...]:
    """Return the settings of runs on tuning seeds, best first."""
    by_setting: dict[tuple[str, str], list[Record]] = {}
    for record in records:
        setting = record.spec.submission.id, repr(sorted(record.spec.hparams.items()))
        by_setting.setdefault(setting, []).append(record)
    goals = {record.spec.workload.facts.targets[0].goal for record in records if record.spec.workload.facts.targets}
    sign = -1.0 if goals == {"max"} else 1.0

    def rank(setting: TunedSetting) -> tuple[bool, float]:
        return setting.value is None, 0.0 if setting.value is None else sign * setting.value

    return tuple(sorted((_tuned_setting(runs) for runs in by_setting.values()), key=rank))


def _tuned_setting(records: Sequence[Record]) -> TunedSetting:
    """Return the setting of tuning runs, with its best value (see `TunedSetting`)."""
    values = [_best_value(record) for record in records]
    known = [value for value in values if value is not None]
    spec = records[0].spec
    return TunedSetting(
        submission=spec.submission.id,
        hparams=spec.hparams,
        value=statistics.fmean(known) if len(known) == len(values) else None,
        examples=sum(record.counters.examples for record in records),
        run=records[0].run_id,
    )


def _best_value(record: Record) -> float | None:
    """Return the best value of the primary metric, or the mean of those of all stages; None if the run broke down."""
    facts = record.spec.workload.facts
    if not is_complete(record.status):
        return None
    stages = range(len(facts.stages)) if facts.stages else [None]
    values = [best_value(record, facts.targets[0], facts.budget.horizon, stage) for stage in stages]
    known = [value for value in values if value is not None]
    return statistics.fmean(known) if known and len(known) == len(values) else None


def calibrate(
    tuning: Sequence[TunedSetting], best_runs: Sequence[Record], anchor_runs: Sequence[Record] = ()
) -> Calibration:
    """Calibrate a workload from records of new seeds.

    Args:
        tuning: all settings that were tried, best first.
        best_runs: runs of the best setting on new seeds; not empty.
        anchor_runs: runs of the anchor's best setting on new seeds. Empty if this setting is also the best of all. Also
            empty on variants, and on streams: without replay, the anchor cannot meet their floors.
    """
    spec, facts = best_runs[0].spec, best_runs[0].spec.workload.facts
    base = Calibration(
        workload=facts.id,
        hardware=spec.hardware,
        torch=best_runs[0].environment.torch if best_runs[0].environment else "",
        settings=tuple(tuning),
        best=spec.submission.id,
        anchor=(anchor_runs or best_runs)[0].spec.submission.id,
        horizon=facts.budget.horizon,
        runs=tuple(record.run_id for record in (*anchor_runs, *best_runs)),
    )
    if facts.stages:
        return calibrate_stream(base, facts, best_runs)
    return calibrate_pool(base, facts, best_runs, anchor_runs or best_runs)
