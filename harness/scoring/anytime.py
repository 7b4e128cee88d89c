"""Scores of the ruleset `anytime`: the metric at stops that the submission does not know, compared with the reference.

- A run has four stops, which are fixed fractions of its budget. A stop s is a number of examples at which the weights
  are evaluated. The metric at the stop is m.
- The horizon of a run of the reference is the number of examples for which its schedule is planned. The envelope is an
  isotonic fit of the final metric as a function of the horizon. E(m) is the horizon at which it has the value m.
- The ratio of the stop is E(m) / s. The score of a study is the geometric mean of the ratios of its stops.

A score of 1 means that the submission is as good as runs of the reference that were planned for these stops.
"""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.contract.record import Record, is_finished
from harness.contract.run import STOP_FRACTIONS, RunSpec
from harness.contract.workload import Target
from harness.scoring.final_metric import final_metric
from harness.scoring.result_table import ResultTable, split_into_tables
from harness.scoring.selection import ambiguous_names, earliest_runs, qualified_id, table_key

#: The stopping rule of the records that this module scores.
STOPPING = "drawn"
#: The budget of a study is the workload's horizon times a random factor. The factor is uniform between these bounds.
BUDGET_FACTORS = (0.5, 2.0)
#: Horizons of the reference's runs as multiples of the workload's horizon. Every stop is within their range.
HORIZON_MULTIPLES = (1 / 16, 1 / 8, 1 / 4, 1 / 2, 1.0, 2.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """The final metric of the reference as a monotone function of its horizon.

    Args:
        target: target that gives the name and the direction of the metric.
        horizons: horizons in examples, increasing.
        values: metric of the reference at each horizon; a larger horizon never has a worse value.
    """

    target: Target
    horizons: tuple[float, ...]
    values: tuple[float, ...]

    def budget(self, metric: float) -> tuple[float, bool]:
        """Return the horizon at which the reference reaches a metric, and whether the metric is outside the envelope.

        Between two horizons, the logarithm of the horizon is interpolated linearly in the metric. For a metric outside
        the envelope, the smallest or largest horizon is returned.
        """
        sign = 1.0 if self.target.goal == "min" else -1.0
        losses, loss = [sign * v for v in self.values], sign * metric
        if loss >= losses[0]:
            return self.horizons[0], loss > losses[0]
        if loss < losses[-1]:
            return self.horizons[-1], True
        for i in range(1, len(losses)):
            if loss >= losses[i]:
                weight = (losses[i - 1] - loss) / (losses[i - 1] - losses[i])
                low, high = math.log(self.horizons[i - 1]), math.log(self.horizons[i])
                return math.exp(low + weight * (high - low)), False
        raise AssertionError("the values are in order")


@dataclass(frozen=True, slots=True, kw_only=True)
class AnytimeScore:
    """The score of a submission on a workload.

    Args:
        submission: `name@version`. If several sources have this name, the beginning of the source's hash is appended.
        workload: `name@version`.
        hardware: hardware class.
        ruleset: `name@version`.
        studies: score of each study; 0 if the run broke down before its last stop.
        clipped: number of stops whose metric is outside the reference's envelope.
        score: geometric mean over studies; nan if the score cannot be computed.
        reason: reason why the score cannot be computed; empty if it can be computed.
    """

    submission: str
    workload: str
    hardware: str
    ruleset: str
    studies: tuple[float, ...]
    clipped: int
    score: float
    reason: str = ""


def drawn_horizon(horizon: int, eval_every: int, u: float) -> int:
    """Return the budget of a study in examples: `horizon` times a factor in the range `BUDGET_FACTORS`.

    The budget is rounded so that an evaluation takes place at every stop.

    Args:
        horizon: the workload's horizon in examples.
        eval_every: number of examples between evaluations.
        u: uniform random number in [0, 1), from which the factor is computed.

    >>> drawn_horizon(28_672, 256, 0.0), drawn_horizon(28_672, 256, 0.2)
    (14336, 22528)
    """
    rounding_unit = eval_every * round(1 / min(STOP_FRACTIONS))
    low, high = BUDGET_FACTORS
    return max(1, round(horizon * (low + (high - low) * u) / rounding_unit)) * rounding_unit


def envelope_horizons(horizon: int, eval_every: int) -> tuple[int, ...]:
    """Return the horizons of the reference's runs in examples, rounded to multiples of the evaluation interval.

    Horizons that are equal after rounding are returned once.
    """
    return tuple(
        sorted({max(1, round(horizon * multiple / eval_every)) * eval_every for multiple in HORIZON_MULTIPLES})
    )


def fit_envelope(records: Sequence[Record]) -> Envelope:
    """Fit an isotonic envelope to the reference's final metrics, averaged over the seeds of each horizon.

    Raises:
        ValueError: fewer than six horizons have a complete run.
    """
    from scipy.optimize import isotonic_regression

    target = records[0].spec.workload.facts.targets[0]
    by_horizon: dict[int, list[float]] = defaultdict(list)
    for record in records:
        metric = final_metric(record).value
        if metric is not None:
            by_horizon[record.spec.workload.facts.budget.horizon].append(metric)
    if len(by_horizon) < len(HORIZON_MULTIPLES):
        raise ValueError(f"the reference has complete runs at {len(by_horizon)} of {len(HORIZON_MULTIPLES)} horizons")
    horizons = sorted(by_horizon)
    means = [statistics.fmean(by_horizon[h]) for h in horizons]
    fitted = isotonic_regression(means, increasing=target.goal == "max")
    return Envelope(target=target, horizons=tuple(map(float, horizons)), values=tuple(map(float, fitted.x)))


def scores(records: Iterable[Record]) -> list[AnytimeScore]:
    """Return the score of every submission on every workload. The scores of a workload are ordered from best to worst.

    Submissions with equal names and different sources are scored separately. If a seed has several runs, only the
    earliest run is scored.
    """
    drawn = [r for r in records if r.spec.ruleset.stopping == STOPPING and not (r.spec.overridden or r.spec.smoke)]
    ambiguous = ambiguous_names(record for record in drawn if record.spec.purpose == "score")
    references: dict[tuple[str, str, str], list[Record]] = defaultdict(list)
    groups: dict[tuple[str, str, str, str], list[Record]] = defaultdict(list)
    for record in earliest_runs(drawn):
        spec, ref = record.spec, record.spec.submission
        table_and_workload = (*table_key(record), spec.workload.facts.id)
        if spec.purpose == "envelope":
            references[table_and_workload].append(record)
        elif spec.purpose == "score":
            groups[(*table_and_workload, qualified_id(ref, ambiguous))].append(record)
    scored = []
    for (hardware, ruleset, workload, submission), group in groups.items():
        envelope: Envelope | None = None
        reason = "no runs of the reference"
        if reference := references.get((hardware, ruleset, workload)):
            try:
                envelope, reason = fit_envelope(reference), ""
            except ValueError as error:
                reason = str(error)
        scored.append(_score(submission, workload, hardware, ruleset, group, envelope, reason))
    return sorted(
        scored, key=lambda s: (s.hardware, s.ruleset, s.workload, math.inf if math.isnan(s.score) else -s.score)
    )


def _score(
    submission: str,
    workload: str,
    hardware: str,
    ruleset: str,
    group: Sequence[Record],
    envelope: Envelope | None,
    reason: str,
) -> AnytimeScore:
    """Score the runs (`group`) of a submission on a workload. `reason` says why there is no envelope."""
    pending = sum(not is_finished(record.status) for record in group)
    if pending:
        reason = reason or f"{pending} of {len(group)} runs are not finished"
    studies: list[float] = []
    clipped = 0
    for record in sorted(group, key=lambda r: (r.spec.root_seed, r.spec.study)):
        if envelope is None or not is_finished(record.status):
            continue
        value, outside = study_score(record, envelope)
        studies.append(value)
        clipped += outside
    score = math.nan
    if studies and not reason:
        score = 0.0 if 0.0 in studies else math.exp(statistics.fmean(map(math.log, studies)))
    return AnytimeScore(
        submission=submission,
        workload=workload,
        hardware=hardware,
        ruleset=ruleset,
        studies=tuple(studies),
        clipped=clipped,
        score=score,
        reason=reason,
    )


def study_score(record: Record, envelope: Envelope) -> tuple[float, int]:
    """Return the score of a run, and the number of stops at which its metric is outside the envelope.

    The score is the geometric mean of E(m) / s over the stops (see the module's docstring). It is 0 if the run broke
    down before its last stop.
    """
    whole_split = {point.examples: point.metrics for point in record.points if not point.screened}
    metrics = metrics_at_stops(record.spec, whole_split, envelope.target)
    if len(metrics) < len(STOP_FRACTIONS):
        return 0.0, 0
    log_ratios, clipped = [], 0
    for stop, metric in metrics.items():
        budget, outside = envelope.budget(metric)
        log_ratios.append(math.log(budget / stop))
        clipped += outside
    return math.exp(statistics.fmean(log_ratios)), clipped


def metrics_at_stops(spec: RunSpec, points: Mapping[int, Mapping[str, float]], target: Target) -> dict[int, float]:
    """Return the metric at each stop: the metric of the first evaluation at or after the stop.

    Args:
        spec: specification of the run.
        points: examples drawn -> metrics at that evaluation.
        target: target with the name of the metric.

    Returns:
        Examples drawn at the evaluation -> metric. A stop that the run did not reach has no item.
    """
    metrics = {}
    for fraction in STOP_FRACTIONS:
        stop = round(fraction * (spec.stop or 0))
        at = min((n for n in points if n >= stop and target.metric in points[n]), default=None)
        if at:
            metrics[at] = points[at][target.metric]
    return metrics


def tabulate_scores(rows: Sequence[AnytimeScore]) -> list[ResultTable]:
    """Tabulate scores, one table for each hardware class, ruleset and workload."""
    return [_tabulate(table) for table in split_into_tables(rows)]


def _tabulate(rows: Sequence[AnytimeScore]) -> ResultTable:
    first, cells = rows[0], []
    for score in rows:
        studies = f"{min(score.studies):.3f} – {max(score.studies):.3f}" if score.studies else None
        clipped = f"{score.clipped} stops outside the reference's envelope" if score.clipped else ""
        cells.append((score.submission, len(score.studies), score.score, studies, score.reason or clipped))
    return ResultTable(
        title=f"{first.workload}, {first.hardware}, {first.ruleset}: budget of the reference over the budget spent",
        heading=("submission", "n", "score", "studies", "remark"),
        formats=("", "d", ".3f", ">", ""),
        rows=tuple(cells),
        data=tuple(_score_data(score) for score in rows),
    )


def _score_data(score: AnytimeScore) -> dict[str, Any]:
    return {
        "submission": score.submission,
        "workload": score.workload,
        "hardware": score.hardware,
        "ruleset": score.ruleset,
        "score": score.score,
        "studies": list(score.studies),
        "clipped": score.clipped,
        "reason": score.reason,
    }
