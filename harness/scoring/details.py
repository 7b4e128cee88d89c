"""The rows of a leaderboard's table for one workload: hits, seconds, examples, steps, statuses."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from harness.contract.domains import Scalar
from harness.contract.record import Status
from harness.contract.run import Point
from harness.contract.workload import Target, WorkloadFacts
from harness.scoring.cells import Cell, cell_of_times
from harness.scoring.selection import StudyKey, study_key
from harness.scoring.summary import Level, RunSummary, targets_at

#: Submission, its overrides, and whether hopeless runs were ended early: runs that share it share a row.
_Variant = tuple[str, tuple[tuple[str, Scalar], ...], bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class DetailRow:
    """One submission on one workload.

    Args:
        submission: `name@version`.
        overrides: hyperparameters that `--set` changed, with their values; such runs explore and have no rank.
        prune: hopeless runs were ended early, so these have no rank either.
        ranks: best and worst rank, those of the leaderboard; None where the runs are never ranked.
        seconds, examples, steps: to the target, of the best trial of each study; seconds are those of the scored clock.
        statuses: how the runs ended -> how many did, all trials counted.
    """

    submission: str
    overrides: Mapping[str, Scalar] = field(default_factory=dict)
    prune: bool = False
    ranks: tuple[int, int] | None
    seconds: Cell
    examples: Cell
    steps: Cell
    statuses: Mapping[Status, int]

    @property
    def amounts(self) -> dict[str, Cell]:
        """What was consumed on the way to the target, by name."""
        return {"seconds": self.seconds, "examples": self.examples, "steps": self.steps}


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkloadDetails:
    """One workload of a leaderboard.

    Args:
        workload: its facts.
        targets: those that the times are to; the first is the primary one.
        rows: in the order of the leaderboard, those without a rank last; a submission without a run is absent.
    """

    workload: WorkloadFacts
    targets: tuple[Target, ...]
    rows: tuple[DetailRow, ...]


def build_details(
    summaries: Iterable[RunSummary],
    ranks: Mapping[str, tuple[int, int]],
    *,
    usable: Collection[str],
    level: Level = "main",
) -> tuple[WorkloadDetails, ...]:
    """The details of every workload, in alphabetical order.

    Args:
        summaries: runs of one hardware class and ruleset, of one version of each workload.
        ranks: submission -> best and worst rank, in the leaderboard's order.
        usable: run_ids of the runs that the leaderboard counts.
        level: which of a workload's targets.
    """
    ranked: dict[str, dict[_Variant, list[RunSummary]]] = defaultdict(lambda: defaultdict(list))
    unranked: dict[str, dict[_Variant, list[RunSummary]]] = defaultdict(lambda: defaultdict(list))
    facts: dict[str, WorkloadFacts] = {}
    for summary in summaries:
        spec = summary.spec
        groups = ranked if summary.run_id in usable and spec.submission.id in ranks else unranked
        if groups is unranked and not _explores(summary):
            continue
        facts[spec.workload.facts.id] = spec.workload.facts
        groups[spec.workload.facts.id][_variant(summary)].append(summary)
    places = {name: place for place, name in enumerate(ranks)}
    details = []
    for workload in sorted(facts):
        rows = [_row(variant, runs, ranks[variant[0]]) for variant, runs in ranked[workload].items()]
        rows.sort(key=lambda row: places[row.submission])
        exploring = [_row(variant, runs, None) for variant, runs in unranked[workload].items()]
        exploring.sort(key=lambda row: (row.seconds.value, -row.seconds.hits, row.submission, str(row.overrides)))
        targets = targets_at(facts[workload], level)
        details.append(WorkloadDetails(workload=facts[workload], targets=targets, rows=(*rows, *exploring)))
    return tuple(details)


def _explores(summary: RunSummary) -> bool:
    """Whether a run that is never ranked is shown without a rank: it explores, and its result is known."""
    spec = summary.spec
    return (
        bool(spec.overridden or spec.prune) and not (spec.smoke or spec.profile) and summary.result.status != "unknown"
    )


def _variant(summary: RunSummary) -> _Variant:
    spec = summary.spec
    overrides = tuple((name, spec.hparams[name]) for name in spec.overridden if name in spec.hparams)
    return spec.submission.id, overrides, spec.prune


def _row(variant: _Variant, runs: Sequence[RunSummary], ranks: tuple[int, int] | None) -> DetailRow:
    submission, overrides, prune = variant
    best: dict[StudyKey, RunSummary] = {}
    for run in runs:
        study = study_key(run.spec)
        if study not in best or run.result.value < best[study].result.value:
            best[study] = run
    hits: list[Point | None] = [run.hit for run in best.values()]
    clock = runs[0].spec.clock
    return DetailRow(
        submission=submission,
        overrides=dict(overrides),
        prune=prune,
        ranks=ranks,
        seconds=cell_of_times([math.inf if point is None else point.scored(clock) for point in hits]),
        examples=cell_of_times([math.inf if point is None else float(point.cost) for point in hits]),
        steps=cell_of_times([math.inf if point is None else float(point.steps) for point in hits]),
        statuses=dict(Counter(run.status for run in runs)),
    )
