"""Rank the settings of a search by what their runs reached: a metric at a budget, or time or examples to a target."""

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

#: What settings are ranked by.
SearchBy = Literal["metric", "time", "examples"]
#: How several workloads are combined: the mean rank, or the geometric mean of the ratio to the best setting.
Combination = Literal["rank", "ratio"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchRun:
    """One run of a search.

    Args:
        run_id: the run.
        workload: `name@version`.
        target: the primary target (on a stream: of the last evaluated stage).
        status, reason: how the run ended.
        best, final: best and last value of the target's metric; None without one.
        seconds: scored seconds to the hit, or to the end.
        amount: what the run is ranked by unless that is the metric: scored seconds or examples to the hit; inf for a
            miss.
        hit: whether the target was met.
        core_seconds: wall seconds of training, evaluation and checkpoints × cores.
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
        """Whether the run did not come to its end, so that its metric counts for nothing."""
        return not is_complete(self.status) or self.final is None


def summarize_run(record: Record, by: SearchBy) -> SearchRun:
    """Return what a search takes from a record.

    Raises:
        BenchError: the run was interrupted, or its workload has no target.
    """
    overview = run_overview(record)
    if record.status == "interrupted":
        raise BenchError(f"{record.run_id} was interrupted", fix="give the same command again to resume it")
    if overview.target is None:
        raise BenchError(f"{overview.workload} has no target", fix="choose a workload that has a metric to rank by")
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
    """The runs of one setting on one workload, one per study."""

    runs: tuple[SearchRun, ...]

    @property
    def workload(self) -> str:
        return self.runs[0].workload

    @property
    def target(self) -> Target:
        return self.runs[0].target

    @property
    def broken(self) -> int:
        """Number of runs that broke."""
        return sum(run.broke for run in self.runs)

    @property
    def hits(self) -> int:
        """Number of runs that met the target."""
        return sum(run.hit for run in self.runs)

    @property
    def best(self) -> float | None:
        """Mean of the runs' best metrics; None if a run has none."""
        return _mean([run.best for run in self.runs])

    @property
    def final(self) -> float | None:
        """Mean of the runs' last metrics; None if a run has none."""
        return _mean([run.final for run in self.runs])

    @property
    def seconds(self) -> float:
        """Mean of the runs' scored seconds."""
        return statistics.fmean(run.seconds for run in self.runs)

    def value(self, by: SearchBy) -> float:
        """Return the number that is ranked, of which smaller is better except for a metric to maximise; nan without.

        A metric is the mean over studies, an amount the geometric mean.
        """
        if self.broken:
            return math.nan
        if by == "metric":
            return math.nan if self.final is None else self.final
        amounts = [run.amount for run in self.runs]
        return math.inf if math.inf in amounts else statistics.geometric_mean(amounts)

    def sort_key(self, by: SearchBy) -> tuple[float, ...]:
        """Return a key that is smaller for a better setting: broken runs last, then misses, then the value."""
        signed = math.inf if self.final is None else self.final if self.target.goal == "min" else -self.final
        if by == "metric":
            return (self.broken, 0, signed)
        misses = len(self.runs) - self.hits
        return (self.broken, misses, signed if misses else self.value(by))

    def ratio(self, other: WorkloadOutcome, by: SearchBy) -> float | None:
        """Return how many times worse this is than another outcome; None where the two cannot be divided."""
        mine, theirs = self.value(by), other.value(by)
        if by == "metric" and self.target.goal == "max":
            mine, theirs = theirs, mine
        return mine / theirs if 0 < mine < math.inf and 0 < theirs < math.inf else None


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.fmean(known) if len(known) == len(values) and known else None


@dataclass(frozen=True, slots=True, kw_only=True)
class RankedSetting:
    """A setting of a search with its place.

    Args:
        number: number of the trial, from 0.
        point: the searched hyperparameters that differ from the defaults' setting; empty for the defaults.
        outcomes: its runs, one entry per workload.
        rank: its place, from 1; settings that are equally good share one.
        score: what several workloads are combined to: the mean rank, or the mean ratio to the best setting.
        excess: how many times worse than the winner it is, the geometric mean over workloads; None where unknown.
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
    """Rank settings, the best first; a setting with a run that broke comes after all others.

    Args:
        points: the settings.
        runs: the runs of each setting, on every workload.
        by: what is ranked.
        combination: how several workloads are combined.
    """
    outcomes = [_by_workload(group) for group in runs]
    places = [_places([setting[w].sort_key(by) for setting in outcomes]) for w in range(len(outcomes[0]))]
    mean_ranks = [statistics.fmean(place[i] for place in places) for i in range(len(points))]
    leaders = [outcomes[place.index(1)][w] for w, place in enumerate(places)]
    ratios = [_geometric_mean([o.ratio(leader, by) for o, leader in zip(setting, leaders, strict=True)])
              for setting in outcomes]  # fmt: skip
    ratio_scores = [math.inf if ratio is None else ratio for ratio in ratios]
    keys = []
    for i, setting in enumerate(outcomes):
        broken = float(sum(outcome.broken for outcome in setting))
        pair = (mean_ranks[i], ratio_scores[i])
        keys.append((broken, *(pair if combination == "rank" else pair[::-1])))
    ranks = _places(keys)
    order = sorted(range(len(points)), key=lambda i: (keys[i], i))
    winner = outcomes[order[0]]
    return tuple(
        RankedSetting(
            number=i,
            point=points[i],
            outcomes=outcomes[i],
            rank=ranks[i],
            score=keys[i][1],
            excess=_geometric_mean([o.ratio(best, by) for o, best in zip(outcomes[i], winner, strict=True)]),
        )
        for i in order
    )


def _by_workload(runs: Sequence[SearchRun]) -> tuple[WorkloadOutcome, ...]:
    grouped: dict[str, list[SearchRun]] = defaultdict(list)
    for run in runs:
        grouped[run.workload].append(run)
    return tuple(WorkloadOutcome(runs=tuple(group)) for group in grouped.values())


def _places(keys: Sequence[tuple[float, ...]]) -> list[int]:
    """Return the place of each key, from 1; equal keys share the better place."""
    return [1 + sum(other < key for other in keys) for key in keys]


def _geometric_mean(ratios: Sequence[float | None]) -> float | None:
    known = [ratio for ratio in ratios if ratio is not None]
    return statistics.geometric_mean(known) if len(known) == len(ratios) else None
