"""The scored seconds of runs from start to end, for multipliers and their tests."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from harness.contract.record import Record
from harness.contract.run import RunSpec
from harness.scoring.interval_costs import arm_of, fit_costs
from harness.scoring.scored_time import describe_costs
from harness.scoring.time_to_target import IntervalSeconds, interval_seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class _CostedRun:
    """A run with the seconds of its intervals."""

    spec: RunSpec
    intervals: IntervalSeconds | None


class TableSeconds(NamedTuple):
    """The seconds of the runs of a table.

    Args:
        by_run: run ID -> seconds of the run from its start to its end.
        remarks: remarks about these seconds, to be printed below the table.
    """

    by_run: dict[str, float]
    remarks: tuple[str, ...]


def run_seconds(records: Sequence[Record], references: Collection[str]) -> TableSeconds:
    """Return the seconds of each run of a table from its start to its end.

    On a CPU, these are the run's own seconds (`CostModel.own_times_to`): a short disturbance of the machine does not
    change them, and they are corrected for the speed of the machine in each session. On other devices, they are the
    measured wall seconds. Runs whose seconds are unknown are left out.

    The table's estimates, intervals and tests all use these seconds (ADR 31).

    Args:
        records: records of one hardware class and ruleset.
        references: names of the submissions that count as the reference.
    """
    runs = {record.run_id: _CostedRun(spec=record.spec, intervals=interval_seconds(record)) for record in records}
    on_cpu = {run_id: run for run_id, run in runs.items() if run.spec.clock == "process"}
    model = fit_costs(on_cpu.values(), references)
    seconds = {}
    for run_id, run in runs.items():
        if run.intervals is None:
            continue
        if run_id in on_cpu:
            (own,) = model.own_times_to(arm_of(run.spec), run.intervals, [len(run.intervals.seconds) - 1])
        else:
            own = math.fsum(run.intervals.seconds)
        if own:
            seconds[run_id] = own
    remarks = describe_costs(model, {arm_of(run.spec) for run in on_cpu.values()})
    return TableSeconds(seconds, tuple(remarks))
