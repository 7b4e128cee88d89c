"""The rows of a leaderboard's tables for single workloads: hits, seconds, examples, steps and statuses."""

from __future__ import annotations

import math
import statistics
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from harness.contract.domains import Scalar
from harness.contract.record import Status
from harness.contract.run import Point
from harness.contract.workload import Target, WorkloadFacts
from harness.scoring.cells import Cell, cell_of_times
from harness.scoring.families import FamilyKeys, RowFamily, find_families
from harness.scoring.selection import StudyKey, study_key
from harness.scoring.summary import Level, RunSummary, targets_at

#: Key of a row: submission, overrides, and whether the runs were started with `--prune`.
_RowKey = tuple[str, tuple[tuple[str, Scalar], ...], bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class DetailRow:
    """The runs of one submission on one workload.

    Args:
        submission: `name@version`.
        overrides: hyperparameters set with `--set`, and their values; runs with overrides have no rank.
        prune: whether the runs were started with `--prune`, which ends runs that are unlikely to hit. Such runs have no
            rank.
        ranks: best and worst rank of the submission in the leaderboard; None if the runs have no rank.
        seconds: scored seconds to the target of each study's best trial.
        examples: examples to the target of each study's best trial.
        steps: steps to the target of each study's best trial.
        statuses: final status -> number of runs, all trials included.
        best: best value of the primary target's metric among the studies' best trials that missed; None if all hit.
        audit_gap: median over the hits of all runs of how much worse the primary metric is on the split `audit` than on
            `score`; None if no hit was evaluated on `audit`. A large value means that the submission fits the split on
            which its hits are decided.
        unconfirmed: number of hits that do not count, because their weights miss the target on `audit`.
        doubted: number of runs with the mark *doubted*.
        family: the family of the row; None if no other row is of the same method. A row with a rank and a row without a
            rank are never in one family.
    """

    submission: str
    overrides: Mapping[str, Scalar] = field(default_factory=dict)
    prune: bool = False
    ranks: tuple[int, int] | None
    seconds: Cell
    examples: Cell
    steps: Cell
    statuses: Mapping[Status, int]
    best: float | None = None
    audit_gap: float | None = None
    unconfirmed: int = 0
    doubted: int = 0
    family: RowFamily | None = None

    @property
    def amounts(self) -> dict[str, Cell]:
        """The cells of `seconds`, `examples` and `steps`, by name."""
        return {"seconds": self.seconds, "examples": self.examples, "steps": self.steps}


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkloadDetails:
    """The rows of one workload of a leaderboard.

    Args:
        workload: facts of the workload.
        targets: targets that a run must meet; the first one is the primary target.
        rows: ranked rows in the leaderboard's order, then rows without a rank. Submissions without a run have no row.
    """

    workload: WorkloadFacts
    targets: tuple[Target, ...]
    rows: tuple[DetailRow, ...]


def build_details(
    summaries: Iterable[RunSummary],
    ranks: Mapping[str, tuple[int, int]],
    families: FamilyKeys,
    *,
    usable: Collection[str],
    level: Level = "main",
) -> tuple[WorkloadDetails, ...]:
    """Build the rows of every workload; workloads are in alphabetical order.

    Args:
        summaries: runs of one hardware class and ruleset, with one version of each workload.
        ranks: submission -> best and worst rank, in the leaderboard's order.
        families: what identifies the code of each submission (see `family_keys`).
        usable: run_ids of the runs that the leaderboard scores.
        level: the set of targets to use, `easy`, `main` or `hard`.
    """
    ranked: dict[str, dict[_RowKey, list[RunSummary]]] = defaultdict(lambda: defaultdict(list))
    unranked: dict[str, dict[_RowKey, list[RunSummary]]] = defaultdict(lambda: defaultdict(list))
    facts: dict[str, WorkloadFacts] = {}
    for summary in summaries:
        spec = summary.spec
        groups = ranked if summary.run_id in usable and spec.submission.id in ranks else unranked
        if groups is unranked and not _is_shown_unranked(summary):
            continue
        facts[spec.workload.facts.id] = spec.workload.facts
        groups[spec.workload.facts.id][_row_key(summary)].append(summary)
    positions = {name: position for position, name in enumerate(ranks)}
    details = []
    for workload in sorted(facts):
        rows = [_row(key, runs, ranks[key[0]]) for key, runs in ranked[workload].items()]
        rows.sort(key=lambda row: positions[row.submission])
        unranked_rows = [_row(key, runs, None) for key, runs in unranked[workload].items()]
        unranked_rows.sort(key=lambda row: (row.seconds.value, -row.seconds.hits, row.submission, str(row.overrides)))
        targets = targets_at(facts[workload], level)
        details.append(
            WorkloadDetails(
                workload=facts[workload],
                targets=targets,
                rows=_add_families(rows, families) + _add_families(unranked_rows, families),
            )
        )
    return tuple(details)


def _add_families(rows: Sequence[DetailRow], keys: FamilyKeys) -> tuple[DetailRow, ...]:
    """Return the rows with their families. The ends of a family's range are median seconds."""
    families = find_families([row.submission for row in rows], [row.seconds.value for row in rows], keys)
    return tuple(replace(row, family=family) for row, family in zip(rows, families, strict=True))


def _is_shown_unranked(summary: RunSummary) -> bool:
    """Whether a run without a rank is shown.

    Runs with overrides or `--prune` are shown if their result is known. Smoke runs and profiled runs are never shown.
    """
    spec = summary.spec
    return (
        bool(spec.overridden or spec.prune) and not (spec.smoke or spec.profile) and summary.result.status != "unknown"
    )


def _row_key(summary: RunSummary) -> _RowKey:
    spec = summary.spec
    overrides = tuple((name, spec.hparams[name]) for name in spec.overridden if name in spec.hparams)
    return spec.submission.id, overrides, spec.prune


def _row(key: _RowKey, runs: Sequence[RunSummary], ranks: tuple[int, int] | None) -> DetailRow:
    """Make the row of a submission from all its runs on a workload. The best run of each study determines the cells."""
    submission, overrides, prune = key
    best_runs: dict[StudyKey, RunSummary] = {}
    for run in runs:
        study = study_key(run.spec)
        if study not in best_runs or run.result.value < best_runs[study].result.value:
            best_runs[study] = run
    gaps = [run.audit_gap for run in runs if run.audit_gap is not None]
    hits: list[Point | None] = [run.hit for run in best_runs.values()]
    return DetailRow(
        submission=submission,
        overrides=dict(overrides),
        prune=prune,
        ranks=ranks,
        seconds=cell_of_times([math.inf if run.hit is None else run.seconds for run in best_runs.values()]),
        examples=cell_of_times([math.inf if point is None else float(point.cost) for point in hits]),
        steps=cell_of_times([math.inf if point is None else float(point.steps) for point in hits]),
        statuses=dict(Counter(run.status for run in runs)),
        best=_best_of_misses(best_runs.values()),
        audit_gap=statistics.median(gaps) if gaps else None,
        unconfirmed=sum(run.is_unconfirmed for run in runs),
        doubted=sum(run.doubted for run in runs),
    )


def _best_of_misses(runs: Iterable[RunSummary]) -> float | None:
    missed = [run for run in runs if run.hit is None and run.best is not None and not run.is_unconfirmed]
    targets = missed[0].spec.workload.facts.targets if missed else ()
    if not targets:
        return None
    values = [run.best for run in missed if run.best is not None]
    return min(values) if targets[0].goal == "min" else max(values)
