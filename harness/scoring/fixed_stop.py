"""Claims of the ruleset `fixed-stop`. A claim states that the mean metric of new seeds meets the target at the stop.

The stop is a number of examples that is chosen with other seeds, the tuning seeds. A time to target is the first time
at which a noisy metric meets the target, so noise makes it too small. The mean at a stop that is chosen beforehand does
not have this bias.
"""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from harness.contract.record import Record, is_complete, is_finished
from harness.contract.workload import Target
from harness.scoring.final_metric import final_metric
from harness.scoring.result_table import NUMBER, ResultTable, split_into_tables
from harness.scoring.selection import ambiguous_names, earliest_runs, qualified_id, table_key

#: The stopping rule of the records that this module scores.
STOPPING = "chosen"
#: Significance level of the one-sided t test that the mean meets the target.
SIGNIFICANCE_LEVEL = 0.01
#: Smallest number of new seeds for a verdict.
MIN_SEEDS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class StopClaim:
    """The claim of a submission on a workload at its stop.

    Args:
        submission: `name@version`. If two different sources have this name, the beginning of the source's hash follows.
        workload: `name@version`.
        hardware: hardware class.
        ruleset: `name@version`.
        metric: name of the tested metric.
        target: value that the mean must meet.
        stop: examples drawn at the stop.
        n: number of new seeds, including seeds whose runs broke down before the stop.
        values: metric of the whole split at the stop, one value for each seed that reached it. A metric that is absent
            or not finite is left out.
        seconds: scored seconds at the stop for the same seeds.
        mean: mean of `values`; nan without a value.
        p: p-value of the hypothesis that the mean does not meet the target; 1.0 if a run has no value, or if there are
            fewer than two values.
        reason: reason why there is no verdict; empty if there is a verdict.
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
        return not self.reason and self.p < SIGNIFICANCE_LEVEL

    @property
    def time(self) -> float:
        """Median of the scored seconds at the stop; inf if the claim does not hold."""
        return statistics.median(self.seconds) if self.met else math.inf


def choose_stop(records: Sequence[Record], studies: int) -> int:
    """Return the stop: the examples at the first evaluation at which the claim is expected to hold for new seeds.

    Let s be the standard deviation of the metric over the tuning seeds. At the stop, the mean of the tuning seeds is
    better than the target by at least the sum of two terms:

    - the distance from the target that the t test requires of new seeds whose standard deviation is s,
    - the standard error of the mean of the tuning seeds.

    If no evaluation satisfies this condition, the stop is the end of the budget. The claim may then fail, and its
    failure is reported.

    Args:
        records: runs of one setting on tuning seeds over the whole budget; not empty.
        studies: number of new seeds that will be run.
    """
    from scipy.special import stdtrit  # The import of scipy.stats takes several times as long.

    facts = records[0].spec.workload.facts
    target, n = facts.targets[0], len(records)
    curves: dict[int, list[float]] = defaultdict(list)
    for record in records:
        for point in record.points[1:]:
            if target.metric in point.metrics and not point.screened:
                curves[point.examples].append(point.metrics[target.metric])
    quantile = float(stdtrit(studies - 1, 1 - SIGNIFICANCE_LEVEL)) if studies > 1 else 0.0
    sign = 1.0 if target.goal == "min" else -1.0
    for examples, values in sorted(curves.items()):
        if len(values) < n:
            continue
        sd = statistics.stdev(values) if n > 1 else 0.0
        margin = sd * (quantile / math.sqrt(studies) + 1 / math.sqrt(n))
        if sign * (statistics.fmean(values) - target.value) + margin <= 0:
            return math.ceil(examples / facts.eval_every) * facts.eval_every
    return facts.budget.horizon


def claims(records: Iterable[Record]) -> list[StopClaim]:
    """Return one claim for each submission, workload, hardware class, ruleset and stop.

    Within a workload, the claims are in the order of their times. Submissions with equal names and different sources
    have separate claims. If a seed has several runs, only the earliest run counts.
    """
    scored = [
        record
        for record in records
        if record.spec.ruleset.stopping == STOPPING
        and record.spec.purpose == "score"
        and not (record.spec.overridden or record.spec.smoke)
    ]
    ambiguous = ambiguous_names(scored)
    groups: dict[tuple[str, str, str, str, int], list[Record]] = defaultdict(list)
    for record in earliest_runs(scored):
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
    measured = [(record, metric) for record in ended if (metric := _metric_at_stop(record)) is not None]
    values = tuple(metric for _, metric in measured)
    broken = len(group) - len(measured) - pending
    reason = ""
    if pending:
        reason = f"{pending} of {len(group)} runs are not finished"
    elif len(group) < MIN_SEEDS:
        reason = f"{len(group)} new seeds, {MIN_SEEDS} are needed"
    elif len(measured) < len(ended):
        reason = (
            f"{len(ended) - len(measured)} of {len(group)} runs have no {target.metric} of the whole split at the stop"
        )
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
        seconds=tuple(record.points[-1].scored(record.spec.clock) for record, _ in measured),
        mean=statistics.fmean(values) if values else math.nan,
        # A run that broke down has no value. The mean of only the other runs would be too good.
        p=1.0 if broken or len(values) < 2 else one_sided_p(values, target),
        reason=reason,
    )


def _metric_at_stop(record: Record) -> float | None:
    """Return the primary metric at the last evaluation; None if it is screened, or if the metric is not finite."""
    return None if record.points[-1].screened else final_metric(record).value


def one_sided_p(values: Sequence[float], target: Target) -> float:
    """Return the p-value of Student's one-sided t test of the hypothesis that the mean does not meet the target.

    >>> round(one_sided_p([1.9, 2.1, 1.8, 2.0], Target(metric="loss", goal="min", value=2.0)), 4)
    0.2475
    """
    from scipy.special import stdtr  # The import of scipy.stats takes several times as long.

    if len(set(values)) == 1:
        return 0.0 if target.met({target.metric: values[0]}) else 1.0
    error = statistics.stdev(values) / math.sqrt(len(values))
    t = (statistics.fmean(values) - target.value) / error
    return float(stdtr(len(values) - 1, t if target.goal == "min" else -t))


def tabulate_claims(rows: Sequence[StopClaim]) -> list[ResultTable]:
    """Tabulate claims, one table for each hardware class, ruleset and workload."""
    return [_tabulate(table) for table in split_into_tables(rows)]


def _tabulate(rows: Sequence[StopClaim]) -> ResultTable:
    first, cells = rows[0], []
    for claim in rows:
        sd = f" ± {statistics.stdev(claim.values):.2g}" if len(claim.values) > 1 else ""
        mean = None if math.isnan(claim.mean) else f"{claim.mean:.4f}{sd}"
        seconds = statistics.median(claim.seconds) if claim.seconds else None
        verdict = claim.reason or ("met" if claim.met else "not met")
        cells.append((claim.submission, claim.n, claim.stop, seconds, mean, claim.p, verdict))
    return ResultTable(
        title=f"{first.workload}, {first.hardware}, {first.ruleset}: mean {first.metric} at a chosen stop, "
        f"target {first.target:.3g}, one-sided p < {SIGNIFICANCE_LEVEL:g}",
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
