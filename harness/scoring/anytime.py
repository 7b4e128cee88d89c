"""`anytime`: how good the weights are at stops unknown to the submission, against a reference tuned for each horizon.

At a stop s the metric is m. The reference, which knows its horizon, reaches m with a budget E(m), read off an isotonic
envelope over its horizons; the stop's ratio is E(m) / s, and a study's score the geometric mean over its stops.
A score of 1 is as good as knowing the budget.
"""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.contract.record import Record, is_complete, is_finished
from harness.contract.run import RunSpec
from harness.contract.workload import Target
from harness.scoring.result_table import ResultTable, split_into_tables
from harness.scoring.selection import ambiguous_names, first_of_each, qualified_id, table_key

#: The kind of stopping whose records this module scores.
STOPPING = "drawn"
#: Shares of the drawn budget at which the weights are evaluated.
STOPS = (1 / 8, 1 / 4, 1 / 2, 1.0)
#: The budget is drawn uniformly between the workload's budget times these two factors.
DRAWN = (0.5, 2.0)
#: The reference's horizons as shares of the workload's: they span every stop that can be drawn.
HORIZONS = (1 / 16, 1 / 8, 1 / 4, 1 / 2, 1.0, 2.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """The metric that the reference reaches, by horizon: increasing horizons, metrics that never get worse.

    Args:
        target: names the metric and its better side.
        horizons: examples.
        values: the metric.
    """

    target: Target
    horizons: tuple[float, ...]
    values: tuple[float, ...]

    def budget(self, metric: float) -> tuple[float, bool]:
        """The horizon at which the reference reaches a metric, linear in its logarithm; and whether it is clipped.

        A metric outside the envelope counts as its nearest end.
        """
        sign = 1.0 if self.target.goal == "min" else -1.0
        losses, loss = [sign * v for v in self.values], sign * metric
        if loss >= losses[0]:
            return self.horizons[0], loss > losses[0]
        if loss < losses[-1]:
            return self.horizons[-1], True
        for i in range(1, len(losses)):
            if loss >= losses[i]:
                share = (losses[i - 1] - loss) / (losses[i - 1] - losses[i])
                low, high = math.log(self.horizons[i - 1]), math.log(self.horizons[i])
                return math.exp(low + share * (high - low)), False
        raise AssertionError("the values are in order")


@dataclass(frozen=True, slots=True, kw_only=True)
class AnytimeScore:
    """A submission on a workload.

    Args:
        submission, workload, hardware, ruleset: as in records.
        studies: the score of each; 0 where training broke down.
        clipped: stops whose metric lies outside the reference's envelope.
        score: the geometric mean over studies; nan without an envelope.
        reason: why there is no score, or an empty string.
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
    """The budget that a study draws: `horizon` times a factor uniform in `DRAWN`, at u in [0, 1).

    Rounded so that every one of `STOPS` falls on an evaluation.

    >>> drawn_horizon(28_672, 256, 0.0), drawn_horizon(28_672, 256, 0.2)
    (14336, 22528)
    """
    unit = eval_every * round(1 / min(STOPS))
    low, high = DRAWN
    return max(1, round(horizon * (low + (high - low) * u) / unit)) * unit


def envelope_horizons(horizon: int, eval_every: int) -> tuple[int, ...]:
    """The horizons of the reference's runs, each a whole number of evaluations."""
    return tuple(max(1, round(horizon * share / eval_every)) * eval_every for share in HORIZONS)


def envelope(records: Sequence[Record]) -> Envelope:
    """The isotonic envelope over the reference's runs, the mean over seeds at each horizon.

    Raises:
        ValueError: fewer than six horizons.
    """
    from scipy.optimize import isotonic_regression

    target = records[0].spec.workload.facts.targets[0]
    by_horizon: dict[int, list[float]] = defaultdict(list)
    for record in records:
        if is_complete(record.status) and target.metric in record.points[-1].metrics:
            by_horizon[record.spec.workload.facts.budget.horizon].append(record.points[-1].metrics[target.metric])
    if len(by_horizon) < len(HORIZONS):
        raise ValueError(f"{len(by_horizon)} of {len(HORIZONS)} horizons of the reference")
    horizons = sorted(by_horizon)
    means = [statistics.fmean(by_horizon[h]) for h in horizons]
    fitted = isotonic_regression(means, increasing=target.goal == "max")
    return Envelope(target=target, horizons=tuple(map(float, horizons)), values=tuple(map(float, fitted.x)))


def scores(records: Iterable[Record]) -> list[AnytimeScore]:
    """Every submission on every workload, the best first.

    Two sources under one name are two submissions; of several runs of one seed the earliest counts.
    """
    drawn = [r for r in records if r.spec.ruleset.stopping == STOPPING and not (r.spec.overridden or r.spec.smoke)]
    ambiguous = ambiguous_names(record for record in drawn if record.spec.purpose == "score")
    references: dict[tuple[str, str, str], list[Record]] = defaultdict(list)
    groups: dict[tuple[str, str, str, str], list[Record]] = defaultdict(list)
    for record in first_of_each(drawn):
        spec, ref = record.spec, record.spec.submission
        place = (*table_key(record), spec.workload.facts.id)
        if spec.purpose == "envelope":
            references[place].append(record)
        elif spec.purpose == "score":
            groups[(*place, qualified_id(ref, ambiguous))].append(record)
    scored = []
    for (hardware, ruleset, workload, submission), group in groups.items():
        curve: Envelope | None = None
        reason = "no runs of the reference"
        if reference := references.get((hardware, ruleset, workload)):
            try:
                curve, reason = envelope(reference), ""
            except ValueError as error:
                reason = str(error)
        scored.append(_score(submission, workload, hardware, ruleset, group, curve, reason))
    return sorted(
        scored, key=lambda s: (s.hardware, s.ruleset, s.workload, math.inf if math.isnan(s.score) else -s.score)
    )


def _score(
    submission: str,
    workload: str,
    hardware: str,
    ruleset: str,
    group: Sequence[Record],
    curve: Envelope | None,
    reason: str,
) -> AnytimeScore:
    pending = sum(not is_finished(record.status) for record in group)
    if pending:
        reason = reason or f"{pending} of {len(group)} runs are not finished"
    studies: list[float] = []
    clipped = 0
    for record in sorted(group, key=lambda r: (r.spec.root_seed, r.spec.study)):
        if curve is None or not is_finished(record.status):
            continue
        value, outside = study_score(record, curve)
        studies.append(value)
        clipped += outside
    known = not reason and bool(studies)
    score = 0.0 if 0.0 in studies else math.exp(statistics.fmean(map(math.log, studies))) if known else math.nan
    return AnytimeScore(
        submission=submission,
        workload=workload,
        hardware=hardware,
        ruleset=ruleset,
        studies=tuple(studies),
        clipped=clipped,
        score=score if known else math.nan,
        reason=reason,
    )


def study_score(record: Record, curve: Envelope) -> tuple[float, int]:
    """The geometric mean over a run's stops of E(m) / s, and how many lay outside the envelope.

    It is 0 for a run that broke down before its last stop.
    """
    at = metrics_at_stops(record.spec, {p.examples: p.metrics for p in record.points}, curve.target)
    if len(at) < len(STOPS):
        return 0.0, 0
    ratios, clipped = [], 0
    for stop, metric in at.items():
        budget, outside = curve.budget(metric)
        ratios.append(math.log(budget / stop))
        clipped += outside
    return math.exp(statistics.fmean(ratios)), clipped


def metrics_at_stops(spec: RunSpec, points: Mapping[int, Mapping[str, float]], target: Target) -> dict[int, float]:
    """The metric at each stop: at the first evaluation that is not before it."""
    metrics = {}
    for share in STOPS:
        stop = round(share * (spec.stop or 0))
        at = min((n for n in points if n >= stop and target.metric in points[n]), default=None)
        if at:
            metrics[at] = points[at][target.metric]
    return metrics


def tabulate_scores(rows: Sequence[AnytimeScore]) -> list[ResultTable]:
    """Scores as one table for each hardware class, ruleset and workload."""
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
