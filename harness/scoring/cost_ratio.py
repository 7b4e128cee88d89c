"""The cost per example of submissions relative to a baseline submission.

The costs are computed from runs that alternate between the submissions within one session.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from harness.contract.record import Record, is_complete
from harness.errors import UsageError
from harness.scoring.stats import Spread, hodges_lehmann, interval
from harness.scoring.time_to_target import interval_seconds

#: Key of a block: session and study. In a session, the runs of a study alternate between the submissions. A change of
#: the machine's speed therefore affects all submissions alike.
Block: TypeAlias = tuple[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class CostRatio:
    """The cost of one submission on one workload.

    Args:
        submission: `name@version`.
        workload: `name@version`.
        hardware: hardware class.
        n: number of pairs with the baseline; for the baseline, its number of runs.
        ratio: scored seconds per example, divided by the baseline's scored seconds per example (Hodges–Lehmann
            estimate).
        spread: 95 % confidence interval of the ratio; the range of the ratios if there are fewer than six pairs.
        seconds_per_example: median scored seconds per example, without the construction of the submission.
        construction_seconds: median scored seconds for the construction of the submission.
    """

    submission: str
    workload: str
    hardware: str
    n: int
    ratio: float
    spread: Spread
    seconds_per_example: float
    construction_seconds: float


def cost_ratios(records: Iterable[Record], baseline: str) -> list[CostRatio]:
    """Return the cost of each submission relative to a baseline, on each workload.

    The workloads and submissions are in the order of their first records.

    Args:
        records: complete runs of one or several sessions. Runs of the same session and study form a pair.
        baseline: name of the submission that all others are compared with.

    Raises:
        UsageError: a run failed, or the baseline or a pair is missing.
    """
    # workload -> submission -> block -> (scored seconds per example, scored seconds for the construction)
    rates: dict[str, dict[str, dict[Block, tuple[float, float]]]] = {}
    hardware: dict[str, str] = {}
    for record in records:
        spec = record.spec
        if not is_complete(record.status):
            raise UsageError(
                f"{spec.submission.name} on {spec.workload.facts.name}: {record.status}, so its cost is unknown",
                fix=f"bench show {record.run_id} shows the run",
            )
        hardware[spec.workload.facts.id] = spec.hardware
        row = rates.setdefault(spec.workload.facts.id, {}).setdefault(spec.submission.id, {})
        row[block_of(record)] = cost_rates(record)
    return [
        _compare_with_baseline(
            submission, workload, hardware[workload], rates_by_block, _find_baseline(by_submission, baseline)
        )
        for workload, by_submission in rates.items()
        for submission, rates_by_block in by_submission.items()
    ]


def block_of(record: Record) -> Block:
    """Return the key of the block of a run. If the run has several sessions, its last session counts."""
    return (record.sessions[-1].id if record.sessions else "", record.spec.study)


def cost_rates(record: Record) -> tuple[float, float]:
    """Return the scored seconds per example after the construction, and the scored seconds of the construction."""
    intervals, last = interval_seconds(record), record.points[-1] if record.points else None
    if intervals is None or last is None or last.examples <= record.points[0].examples:
        raise UsageError(
            f"{record.run_id} has fewer than two evaluations, so its cost is unknown", fix="give more --intervals"
        )
    seconds = math.fsum(intervals.seconds[1:])
    return seconds / (last.examples - record.points[0].examples), intervals.seconds[0]


def _find_baseline(
    by_submission: Mapping[str, Mapping[Block, tuple[float, float]]], baseline: str
) -> Mapping[Block, tuple[float, float]]:
    """Return the rates of the baseline's runs on one workload."""
    for submission, row in by_submission.items():
        if baseline in (submission, submission.rpartition("@")[0]):
            return row
    raise UsageError(f"there is no run of the baseline {baseline}", fix="name a submission that was run")


def _compare_with_baseline(
    submission: str,
    workload: str,
    hardware: str,
    own: Mapping[Block, tuple[float, float]],
    baseline: Mapping[Block, tuple[float, float]],
) -> CostRatio:
    """Return the cost ratio of a submission from its rates (`own`) and the baseline's rates, paired by block."""
    log_ratios = [math.log(own[block][0] / baseline[block][0]) for block in own if block in baseline]
    if not log_ratios:
        raise UsageError(
            f"{submission} and the baseline have no runs on {workload} in the same session and study",
            fix="run both submissions with one bench cost command",
        )
    ends = interval(log_ratios)
    return CostRatio(
        submission=submission,
        workload=workload,
        hardware=hardware,
        n=len(log_ratios),
        ratio=math.exp(hodges_lehmann(log_ratios)),
        spread=Spread(low=math.exp(ends.low), high=math.exp(ends.high), kind=ends.kind),
        seconds_per_example=statistics.median(rate for rate, _ in own.values()),
        construction_seconds=statistics.median(construction for _, construction in own.values()),
    )
