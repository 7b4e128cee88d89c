"""`fixed-stop`: a stop chosen on tuning seeds, then fresh seeds run to it, and their mean must meet the target.

A first crossing rewards luck; the mean over runs that all end at a stop chosen beforehand does not.
"""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from harness.contract.record import Record, is_complete, is_finished
from harness.contract.workload import Target
from harness.scoring.result_table import NUMBER, ResultTable, split_into_tables
from harness.scoring.selection import ambiguous_names, first_of_each, qualified_id, table_key

#: The kind of stopping whose records this module scores.
STOPPING = "chosen"
#: The mean meets the target when a one-sided t test says so at this level.
LEVEL = 0.01
#: Fresh seeds below which there is no verdict.
LEAST = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class StopClaim:
    """A submission on a workload at its stop.

    Args:
        submission, workload, hardware, ruleset: as in records.
        metric, target: the metric whose mean is tested, and the value it must meet.
        stop: examples.
        n: fresh seeds, those that broke down before the stop included.
        values: the metric at the stop, of the seeds that came to it.
        seconds: scored seconds at the stop, of the same seeds.
        mean: of the values; nan without a value.
        p: of the hypothesis that the mean does not meet the target; 1.0 where a seed broke down.
        reason: why there is no verdict, or an empty string.
    """

    submission: str
    workload: str
    hardware: str
    ruleset: str
    metric: str
    target: float
    stop: int
    n: int
    values: tuple[float, ...]
    seconds: tuple[float, ...]
    mean: float
    p: float
    reason: str = ""

    @property
    def met(self) -> bool:
        """Whether the claim holds."""
        return not self.reason and self.p < LEVEL

    @property
    def time(self) -> float:
        """Median scored seconds to the stop; inf where the claim does not hold."""
        return statistics.median(self.seconds) if self.met else math.inf


def choose_stop(records: Sequence[Record], studies: int) -> int:
    """The first evaluation at which `studies` fresh seeds can be expected to meet the target in the mean.

    The mean of the tuning seeds must lie beyond the target by the margin that the test will demand of the fresh mean,
    at the tuning seeds' spread, and by one standard error of their mean. Where no evaluation suffices the stop is the
    end of the budget, so that the claim is made and fails in public.

    Args:
        records: runs of one setting over the whole budget, on tuning seeds.
        studies: fresh seeds that will be run.
    """
    from scipy import stats

    facts = records[0].spec.workload.facts
    target, n = facts.targets[0], len(records)
    curves: dict[int, list[float]] = defaultdict(list)
    for record in records:
        for point in record.points[1:]:
            if target.metric in point.metrics:
                curves[point.examples].append(point.metrics[target.metric])
    quantile = float(stats.t.ppf(1 - LEVEL, studies - 1)) if studies > 1 else 0.0
    sign = 1.0 if target.goal == "min" else -1.0
    for examples, values in sorted(curves.items()):
        if len(values) < n:
            continue
        spread = statistics.stdev(values) if n > 1 else 0.0
        margin = spread * (quantile / math.sqrt(studies) + 1 / math.sqrt(n))
        if sign * (statistics.fmean(values) - target.value) + margin <= 0:
            return -(-examples // facts.eval_every) * facts.eval_every
    return facts.budget.horizon


def claims(records: Iterable[Record]) -> list[StopClaim]:
    """One claim for each submission, workload, hardware class, ruleset and stop, the quickest first.

    Two sources under one name are two submissions; of several runs of one seed the earliest counts.
    """
    chosen = [
        record
        for record in records
        if record.spec.ruleset.stopping == STOPPING
        and record.spec.purpose == "score"
        and not (record.spec.overridden or record.spec.smoke)
    ]
    ambiguous = ambiguous_names(chosen)
    groups: dict[tuple[str, str, str, str, int], list[Record]] = defaultdict(list)
    for record in first_of_each(chosen):
        spec, ref = record.spec, record.spec.submission
        groups[(*table_key(record), spec.workload.facts.id, qualified_id(ref, ambiguous), spec.stop or 0)].append(
            record
        )
    stop_claims = [_claim(key, group) for key, group in groups.items()]
    return sorted(stop_claims, key=lambda c: (c.hardware, c.ruleset, c.workload, c.time, c.p))


def _claim(key: tuple[str, str, str, str, int], group: Sequence[Record]) -> StopClaim:
    hardware, ruleset, workload, submission, stop = key
    facts = group[0].spec.workload.facts
    target = facts.targets[0]
    pending = sum(not is_finished(record.status) for record in group)
    ended = [record for record in group if is_complete(record.status) and record.counters.examples >= stop]
    values = tuple(record.points[-1].metrics.get(target.metric, math.nan) for record in ended)
    broken = len(group) - len(ended) - pending
    reason = ""
    if pending:
        reason = f"{pending} of {len(group)} runs are not finished"
    elif len(group) < LEAST:
        reason = f"{len(group)} fresh seeds, {LEAST} are needed"
    return StopClaim(
        submission=submission,
        workload=workload,
        hardware=hardware,
        ruleset=ruleset,
        metric=target.metric,
        target=target.value,
        stop=stop,
        n=len(group),
        values=values,
        seconds=tuple(record.points[-1].scored(record.spec.clock) for record in ended),
        mean=statistics.fmean(values) if values else math.nan,
        # A run that broke down has no value to average, and a mean over the rest would reward breaking down.
        p=1.0 if broken or len(values) < 2 else one_sided(values, target),
        reason=reason,
    )


def one_sided(values: Sequence[float], target: Target) -> float:
    """p of Student's t test that the mean of `values` does not meet the target.

    >>> round(one_sided([1.9, 2.1, 1.8, 2.0], Target(metric="loss", goal="min", value=2.0)), 4)
    0.2475
    """
    from scipy import stats

    if len(set(values)) == 1:
        return 0.0 if target.met({target.metric: values[0]}) else 1.0
    side: Literal["less", "greater"] = "less" if target.goal == "min" else "greater"
    return float(stats.ttest_1samp(values, target.value, alternative=side).pvalue)


def tabulate_claims(rows: Sequence[StopClaim]) -> list[ResultTable]:
    """Claims as one table for each hardware class, ruleset and workload."""
    return [_tabulate(table) for table in split_into_tables(rows)]


def _tabulate(rows: Sequence[StopClaim]) -> ResultTable:
    first, cells = rows[0], []
    for claim in rows:
        spread = f" ± {statistics.stdev(claim.values):.2g}" if len(claim.values) > 1 else ""
        mean = None if math.isnan(claim.mean) else f"{claim.mean:.4f}{spread}"
        seconds = statistics.median(claim.seconds) if claim.seconds else None
        verdict = claim.reason or ("met" if claim.met else "not met")
        cells.append((claim.submission, claim.n, claim.stop, seconds, mean, claim.p, verdict))
    return ResultTable(
        title=f"{first.workload}, {first.hardware}, {first.ruleset}: mean {first.metric} at a chosen stop, "
        f"target {first.target:.3g}, one-sided p < {LEVEL:g}",
        heading=("submission", "n", "examples", "seconds", "mean ± sd", "p", "target"),
        formats=("", "d", ",d", NUMBER, ">", ".2g", ""),
        rows=tuple(cells),
        data=tuple(_claim_data(claim) for claim in rows),
    )


def _claim_data(claim: StopClaim) -> dict[str, Any]:
    return {
        "submission": claim.submission,
        "workload": claim.workload,
        "hardware": claim.hardware,
        "ruleset": claim.ruleset,
        "metric": claim.metric,
        "target": claim.target,
        "stop": claim.stop,
        "n": claim.n,
        "values": list(claim.values),
        "mean": claim.mean,
        "p": claim.p,
        "met": claim.met,
        "seconds": claim.time,
        "reason": claim.reason,
    }
