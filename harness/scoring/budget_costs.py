"""The scored seconds of runs from start to end: typical seconds for estimates, and own seconds for paired tests."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from harness.contract.record import Record
from harness.contract.run import RunSpec
from harness.scoring.interval_costs import Arm, arm_of, fit_costs
from harness.scoring.time_to_target import IntervalSeconds, interval_seconds


class RunSeconds(NamedTuple):
    """The scored seconds of a run from its start to its end.

    Args:
        typical: one estimate for all runs of the same submission and setting (an `Arm`). On a CPU, it is the sum of the
            costs of all intervals (see `interval_costs`). On other devices, it is the median of the measured seconds.
        own: estimate for this run alone. Its error is independent of the errors of other runs, as paired tests require.
    """

    typical: float
    own: float


@dataclass(frozen=True, slots=True, kw_only=True)
class _CostedRun:
    """A run with the seconds of its intervals."""

    spec: RunSpec
    intervals: IntervalSeconds | None


def run_seconds(records: Sequence[Record], references: Collection[str]) -> dict[str, RunSeconds]:
    """Return the seconds of the runs of a table, by run ID. Runs whose seconds are unknown are left out.

    On a CPU, both estimates are computed from the costs of the intervals (`CostModel`), which are corrected for the
    speed of the machine in each session. On other devices, a run's own seconds are its measured wall seconds, and the
    typical seconds are their median over the runs of the arm.

    Args:
        records: records of one hardware class and ruleset.
        references: names of the submissions that count as the reference.
    """
    runs = {record.run_id: _CostedRun(spec=record.spec, intervals=interval_seconds(record)) for record in records}
    on_cpu = {run_id: run for run_id, run in runs.items() if run.spec.clock == "process"}
    model = fit_costs(on_cpu.values(), references)
    seconds = {}
    for run_id, run in on_cpu.items():
        if run.intervals is None:
            continue
        arm, last = arm_of(run.spec), len(run.intervals.seconds) - 1
        typical, (own,) = model.time_to(arm, last), model.own_times_to(arm, run.intervals, [last])
        if typical and own:
            seconds[run_id] = RunSeconds(typical, own)
    measured: dict[Arm, dict[str, float]] = defaultdict(dict)
    for run_id, run in runs.items():
        if run_id not in on_cpu and run.intervals is not None and (total := sum(run.intervals.seconds)) > 0:
            measured[arm_of(run.spec)][run_id] = total
    for totals in measured.values():
        typical = statistics.median(totals.values())
        seconds |= {run_id: RunSeconds(typical, own) for run_id, own in totals.items()}
    return seconds
