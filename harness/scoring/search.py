"""Rank the settings of a search by their metric, or by the time or examples to the target."""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from harness.contract.domains import HParams
from harness.contract.record import Record, Status, is_complete
from harness.contract.workload import Target
from harness.errors import BenchError
from harness.scoring.run_overview import run_overview

#: The quantity by which settings are ranked.
SearchBy = Literal["metric", "time", "examples"]
#: How the results of several workloads are combined. `rank` is the mean rank. `ratio` is the geometric mean of the
#: ratios to the best setting of each workload.
Combination = Literal["rank", "ratio"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchRun:
    """One run of a search.

    Args:
        run_id: run_id of the run.
        workload: `name@version`.
        target: the primary target. On a stream, this is the target of the last evaluated stage.
        status: how the run ended.
        reason: why the run ended with this status; empty if the status alone explains the end.
        best: best value of the target's metric; None if there is no finite value.
        final: last value of the target's metric; None if this value is absent or not finite.
        seconds: scored seconds to the hit, or to the end of the run if there is no hit.
        amount: examples to the hit in a ranking by examples, scored seconds to the hit in any other ranking; inf for a
            miss.
        hit: whether the target was met.
        core_seconds: (wall seconds of training, evaluation and checkpoints + processor seconds of the submission's
            import) × threads × ranks. The remaining start of the worker is not included.
    """

    run_id: str
    workload: str
    target: Target
    status: Status
    reason: str
    best: float | None
    final: float | None
    seconds: float
    amount: float
    hit: bool
    core_seconds: float

    @property
    def broke(self) -> bool:
        """Whether the run did not complete, or has no final metric. Settings with such runs are ranked last."""
        return not is_complete(self.status) or self.final is None


def summarize_run(record: Record, by: SearchBy) -> SearchRun:
    """Return the quantities of a record that a search uses.

    Raises:
        BenchError: the run was interrupted, or its workload has no target.
    """
    overview = run_overview(record)
    if record.status == "interrupted":
        raise BenchError(f"{record.run_id} was interrupted", fix="give the same command again to resume it")
    if overview.target is None:
        raise BenchError(f"{overview.workload} has no target", fix="choose a workload that has a target")
    usage = record.usage
    wall = record.counters.seconds + usage.evaluation_seconds + usage.checkpoint_seconds + usage.import_seconds
    amount = float(overview.examples) if by == "examples" else overview.seconds
    return SearchRun(
        run_id=record.run_id,
        workload=overview.workload,
        target=overview.target,
        status=record.status,
        reason=record.reason,
        best=overview.best,
        final=overview.final,
        seconds=overview.seconds,
        amount=amount if overview.hit else math.inf,
        hit=overview.hit,
        core_seconds=wall * record.spec.threads * record.spec.ranks,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkloadOutcome:
    """The runs of one setting on one workload. Each study has one run."""

    runs: tuple[SearchRun, ...]

    @property
    def workload(self) -> str:
        return self.runs[0].workload

    @property
    def target(self) -> Target:
        return self.runs[0].target

    @property
    def broken(self) -> int:
        """Number of runs that did not complete or have no final metric (see `SearchRun.broke`)."""
        return sum(run.broke for run in self.runs)

    @property
    def hits(self) -> int:
        """Number of runs that met the target."""
        return sum(run.hit for run in self.runs)

    @property
    def best(self) -> float | None:
        """Mean of the best metrics of the runs; None if a run has no best metric."""
        return _mean([run.best for run in self.runs])

    @property
    def final(self) -> float | None:
        """Mean of the final metrics of the runs; None if a run has no final metric."""
        return _mean([run.final for run in self.runs])

    @property
    def seconds(self) -> float:
        """Mean of the scored seconds of the runs."""
        return statistics.fmean(run.seconds for run in self.runs)

    def value(self, by: SearchBy) -> float:
        """Return the ranked quantity, averaged over studies; nan if a run broke.

        The average is the arithmetic mean for a metric, and the geometric mean for examples and seconds. A smaller
        value is better, except for a metric whose goal is `max`.
        """
        if self.broken:
            return math.nan
        if by == "metric":
            return math.nan if self.final is None else self.final
        amounts = [run.amount for run in self.runs]
        return math.inf if math.inf in amounts else statistics.geometric_mean(amounts)

    def sort_key(self, by: SearchBy) -> tuple[float, ...]:
        """Return a key that is smaller for a better setting.

        In a ranking by metric, settings are compared by the number of broken runs, then by the final metric. In a
        ranking by time or examples, they are compared by these values in turn:

        1. the number of broken runs,
        2. the number of misses,
        3. the time or examples; for settings with misses, the final metric.
        """
        metric = math.inf
        if self.final is not None:
            metric = self.final if self.target.goal == "min" else -self.final
        if by == "metric":
            return (self.broken, 0, metric)
        misses = len(self.runs) - self.hits
        return (self.broken, misses, metric if misses else self.value(by))

    def ratio(self, other: WorkloadOutcome, by: SearchBy) -> float | None:
        """Return how many times worse this outcome is than `other`; None if a value is not positive and finite."""
        numerator, denominator = self.value(by), other.value(by)
        if by == "metric" and self.target.goal == "max":
            numerator, denominator = denominator, numerator
        return numerator / denominator if 0 < numerator < math.inf and 0 < denominator < math.inf else None


def _mean(values: Sequence[float | None]) -> float | None:
    """Return the mean of values; None if a value is None."""
    known = [value for value in values if value is not None]
    return statistics.fmean(known) if len(known) == len(values) and known else None


@dataclass(frozen=True, slots=True, kw_only=True)
class RankedSetting:
    """A setting of a search with its rank.

    Args:
        number: number of the trial, from 0.
        point: values of the searched hyperparameters; empty for the defaults.
        outcomes: the runs of the setting, one outcome for each workload.
        rank: the rank from 1. Settings that are equally good have the same rank.
        score: mean rank over workloads, or mean ratio to the best setting of each workload (see `Combination`).
        excess: how many times worse this setting is than the winner, as a geometric mean over workloads; None if a
            ratio is unknown.
    """

    number: int
    point: HParams
    outcomes: tuple[WorkloadOutcome, ...]
    rank: int
    score: float
    excess: float | None

    @property
    def broken(self) -> int:
        """Number of runs that broke, over all workloads."""
        return sum(outcome.broken for outcome in self.outcomes)


def rank_settings(
    points: Sequence[HParams], runs: Sequence[Sequence[SearchRun]], by: SearchBy, combination: Combination = "rank"
) -> tuple[RankedSetting, ...]:
    """Return the settings from best to worst. Settings with a broken run come last.

    Args:
        points: the settings.
        runs: the runs of each setting on all workloads.
        by: the quantity by which settings are ranked.
        combination: how the results of several workloads are combined.
    """
    outcomes = [_group_by_workload(runs_of_setting) for runs_of_setting in runs]
    workload_ranks = [_ranks([setting[w].sort_key(by) for setting in outcomes]) for w in range(len(outcomes[0]))]
    mean_ranks = [statistics.fmean(ranks[i] for ranks in workload_ranks) for i in range(len(points))]
    # The best setting of each workload.
    leaders = [outcomes[ranks.index(1)][w] for w, ranks in enumerate(workload_ranks)]
    ratios = [_geometric_mean([o.ratio(leader, by) for o, leader in zip(setting, leaders, strict=True)])
              for setting in outcomes]  # fmt: skip
    ratio_scores = [math.inf if ratio is None else ratio for ratio in ratios]
    # Settings with equal scores are ranked by the score of the other combination.
    keys = []
    for i, setting in enumerate(outcomes):
        broken = float(sum(outcome.broken for outcome in setting))
        scores = (mean_ranks[i], ratio_scores[i])
        keys.append((broken, *(scores if combination == "rank" else scores[::-1])))
    final_ranks = _ranks(keys)
    order = sorted(range(len(points)), key=lambda i: (keys[i], i))
    winner = outcomes[order[0]]
    return tuple(
        RankedSetting(
            number=i,
            point=points[i],
            outcomes=outcomes[i],
            rank=final_ranks[i],
            score=keys[i][1],
            excess=_geometric_mean([o.ratio(best, by) for o, best in zip(outcomes[i], winner, strict=True)]),
        )
        for i in order
    )


def _group_by_workload(runs: Sequence[SearchRun]) -> tuple[WorkloadOutcome, ...]:
    grouped: dict[str, list[SearchRun]] = defaultdict(list)
    for run in runs:
        grouped[run.workload].append(run)
    return tuple(WorkloadOutcome(runs=tuple(group)) for group in grouped.values())


def _ranks(keys: Sequence[tuple[float, ...]]) -> list[int]:
    """Return the rank of each key from 1. Equal keys share the better rank."""
    return [1 + sum(other < key for other in keys) for key in keys]


def _geometric_mean(ratios: Sequence[float | None]) -> float | None:
    """Return the geometric mean of ratios; None if a ratio is None."""
    known = [ratio for ratio in ratios if ratio is not None]
    return statistics.geometric_mean(known) if len(known) == len(ratios) else None
