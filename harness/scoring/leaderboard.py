"""Records as leaderboards: a table per hardware class and ruleset, with ranks, scores, spreads and what is left out.

This is the only place where submissions are ranked; `harness.report` renders the ranking and never computes one.
"""

from __future__ import annotations

import dataclasses
import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import msgspec

from harness.contract.run import Clock
from harness.contract.workload import Goal, WorkloadFacts
from harness.errors import UsageError
from harness.scoring.aggregate import Aggregate, aggregate_runs
from harness.scoring.anchored_spread import anchored_spread
from harness.scoring.cells import Cell, cell_of_metrics, cell_of_times
from harness.scoring.details import WorkloadDetails, build_details
from harness.scoring.scores import (
    Anchored,
    Skipped,
    Speedup,
    anchored_scores,
    geometric_speedup,
    profile_scores,
)
from harness.scoring.selection import (
    StudyKey,
    ambiguous_names,
    describe,
    keep_newest_versions,
    select_usable,
    study_key,
    table_key,
    with_source,
)
from harness.scoring.stats import Spread
from harness.scoring.summary import LeaderboardQuery, RunSummary
from harness.scoring.throttling import throttling_note
from harness.scoring.ties import rank_ties
from harness.scoring.time_to_target import MetricAt

#: Until somebody else has evaluated or repeated a run, its record is its author's word.
SELF_REPORTED = "self-reported"
#: What a missed workload counts where submissions without a score are put in order by their total time.
_MISS = 1e18


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaderboardRow:
    """One submission.

    Args:
        submission: `name@version`.
        ranks: best and worst rank consistent with the significant pairwise differences.
        n: fewest and most studies on a workload.
        anchored, anchored_spread: primary score and its spread over studies; None without a reference.
        profile: AlgoPerf's score, which depends on the field.
        ratios: workload id -> time over the best one, as the profile takes it; inf is a miss.
        speedup: over the reference; None without one.
        place: mean place over workloads (tables of metrics only).
        cells: workload id -> cell; a workload without a run is absent.
        memory: peak bytes; 0 where unknown.
        trust: how far the records can be believed.
    """

    submission: str
    ranks: tuple[int, int]
    n: tuple[int, int]
    anchored: float | None = None
    anchored_spread: Spread | None = None
    profile: float | None = None
    ratios: Mapping[str, float] = field(default_factory=dict)
    speedup: Speedup | None = None
    place: float | None = None
    cells: Mapping[str, Cell]
    memory: int = 0
    trust: str = SELF_REPORTED


@dataclass(frozen=True, slots=True, kw_only=True)
class Leaderboard:
    """One table.

    Args:
        hardware, ruleset: what its records share.
        ranked: whether the ruleset ranks.
        clock: which seconds are scored.
        query: what was asked.
        workloads: the columns.
        anchored_workloads: ids of those in the anchored mean.
        reference: the submission that anchors; None without one.
        rows: best first.
        ties: pairs that cannot be told apart.
        details: the same rows on each workload, and the runs there that are never ranked.
        left_out: runs and workloads, and why.
        notes: what a reader should know.
    """

    hardware: str
    ruleset: str
    ranked: bool
    clock: Clock
    query: LeaderboardQuery
    workloads: tuple[WorkloadFacts, ...] = ()
    anchored_workloads: tuple[str, ...] = ()
    reference: str | None = None
    rows: tuple[LeaderboardRow, ...] = ()
    ties: tuple[tuple[str, str], ...] = ()
    details: tuple[WorkloadDetails, ...] = ()
    left_out: tuple[Skipped, ...] = ()
    notes: tuple[str, ...] = ()


def build_leaderboards(summaries: Iterable[RunSummary], query: LeaderboardQuery) -> list[Leaderboard]:
    """A table for each hardware class and ruleset, in alphabetical order."""
    groups: dict[tuple[str, str], list[RunSummary]] = {}
    for summary in summaries:
        groups.setdefault(table_key(summary), []).append(summary)
    return [_build(key, groups[key], query) for key in sorted(groups)]


@dataclass(slots=True)
class _Builder:
    """A table in the making: its runs of the newest version of each workload, and those of them that count."""

    summaries: list[RunSummary]
    usable: frozenset[str] = frozenset()
    left_out: list[Skipped] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def _build(key: tuple[str, str], members: Sequence[RunSummary], query: LeaderboardQuery) -> Leaderboard:
    builder = _Builder([summary for summary in members if query.wants(summary.spec.workload.facts)])
    builder.summaries, builder.left_out = keep_newest_versions(builder.summaries)
    _name_sources(builder)
    runs, skipped = select_usable(summary.run for summary in builder.summaries)
    builder.usable = frozenset(run.run_id for run in runs)
    spec = members[0].spec
    table = Leaderboard(hardware=key[0], ruleset=key[1], ranked=spec.ruleset.ranked, clock=spec.clock, query=query)
    if runs:
        aggregate = aggregate_runs(runs, query.by, skipped)
        builder.left_out += aggregate.skipped
        slowed = throttling_note(
            ((describe(summary), summary.slowdown) for summary in builder.summaries), len(builder.summaries)
        )
        builder.notes += [slowed] if slowed else []
        facts = {run.spec.workload.facts.id: run.spec.workload.facts for run in runs}
        table = dataclasses.replace(table, workloads=tuple(facts[workload] for workload in sorted(facts)))
        table = _rank_by_metric(table, builder) if query.metric else _rank_by_time(table, builder, aggregate)
    elif builder.summaries:
        builder.left_out += skipped
        builder.notes.append("no run can be ranked")
    ranks = {row.submission: row.ranks for row in table.rows}
    details = build_details(builder.summaries, ranks, usable=builder.usable, level=query.level)
    return dataclasses.replace(table, details=details, left_out=tuple(builder.left_out), notes=tuple(builder.notes))


def _name_sources(builder: _Builder) -> None:
    """Two sources under one `name@version` are two submissions: the hash tells them apart."""
    several = ambiguous_names(builder.summaries)
    if not several:
        return
    for i, summary in enumerate(builder.summaries):
        ref = summary.spec.submission
        if ref.id in several:
            spec = msgspec.structs.replace(summary.spec, submission=with_source(ref))
            builder.summaries[i] = dataclasses.replace(summary, spec=spec)
    builder.notes.append(f"several sources under one name, told apart by their hash: {', '.join(sorted(several))}")


def _peak_memory(summaries: Iterable[RunSummary], submission: str) -> int:
    return max((summary.memory for summary in summaries if summary.spec.submission.id == submission), default=0)


# --- by time, examples or steps -------------------------------------------------------------------


def _rank_by_time(table: Leaderboard, builder: _Builder, aggregate: Aggregate) -> Leaderboard:
    """Ranks by the anchored score; by the profile score where there is no reference."""
    times, ids = aggregate.times, [facts.id for facts in table.workloads]
    reference = _find_reference(table.query.references, times)
    anchored = _anchor(reference, aggregate, ids, table.query, builder)
    counted = anchored.workloads if anchored else ()
    profiles = profile_scores(times, base=ids)
    scores = anchored.scores if anchored else {name: profile.exact for name, profile in profiles.items()}
    order = sorted(times, key=lambda s: (-scores[s], -profiles[s].exact, _total_time(times[s], ids), s))
    ties = rank_ties(aggregate.studies, order=order, workloads=counted or ids)
    if len(order) == 1:
        builder.notes.append("a single submission: its profile score says nothing")
    if all(math.isinf(time) for row in times.values() for time in row.values()):
        builder.notes.append("every submission missed every target")
    rows = []
    for name in order:
        studies = aggregate.studies[name]
        base = times[reference] if reference is not None else None
        rows.append(
            LeaderboardRow(
                submission=name,
                ranks=ties.ranks[name],
                n=(min(map(len, studies.values())), max(map(len, studies.values()))),
                anchored=anchored.scores[name] if anchored else None,
                anchored_spread=anchored_spread(studies, base, counted) if base is not None and counted else None,
                profile=profiles[name].score,
                ratios=profiles[name].ratios,
                speedup=geometric_speedup(_sorted(times[name]), _sorted(base)) if base is not None else None,
                cells={w: cell_of_times(list(studies[w].values())) for w in ids if w in studies},
                memory=_peak_memory(builder.summaries, name),
            )
        )
    return dataclasses.replace(table, anchored_workloads=counted, reference=reference, rows=tuple(rows), ties=ties.tied)


def _anchor(
    reference: str | None, aggregate: Aggregate, ids: Sequence[str], query: LeaderboardQuery, builder: _Builder
) -> Anchored | None:
    """The anchored scores; None, with a note that says why, where the reference anchors no workload."""
    if reference is None:
        names = ", ".join(query.references) or "no submission is tagged as one"
        builder.notes.append(f"no anchored score and no speed-up: no run of the reference ({names})")
        return None
    try:
        anchored = anchored_scores(aggregate.times, aggregate.times[reference], workloads=ids, coarse=aggregate.coarse)
    except UsageError:
        reason = "every workload is coarse or was missed by the reference"
        builder.notes.append(f"no anchored score: {reason} ({reference})")
        return None
    builder.left_out += [Skipped(item=f"anchored score/{s.item}", reason=s.reason) for s in anchored.left_out]
    return anchored


def _sorted(times: Mapping[str, float]) -> dict[str, float]:
    return dict(sorted(times.items()))


def _total_time(times: Mapping[str, float], workloads: Sequence[str]) -> float:
    """Sum of times, to order what no score tells apart."""
    return math.fsum(min(times.get(workload, _MISS), _MISS) for workload in workloads)


def _find_reference(names: Sequence[str], times: Mapping[str, object]) -> str | None:
    """The first of these names in the table, of several versions or sources the last."""
    for name in names:
        matches = sorted(s for s in times if name in (s, s.rpartition("@")[0]))
        if matches:
            return matches[-1]
    return None


# --- by metric at a budget ------------------------------------------------------------------------


def _rank_by_metric(table: Leaderboard, builder: _Builder) -> Leaderboard:
    """Ranks by the mean of the places on each workload: metrics at a budget have no common unit."""
    goals = {facts.id: facts.targets[0].goal for facts in table.workloads if facts.targets}
    cells = _metric_cells(builder, goals)
    places = {name: _mean_place(name, cells, goals) for name in cells}
    order = sorted(places, key=lambda name: (places[name], name))
    rows = [
        LeaderboardRow(
            submission=name,
            ranks=(1 + sum(places[o] < places[name] for o in order), sum(places[o] <= places[name] for o in order)),
            n=(min(c.studies for c in cells[name].values()), max(c.studies for c in cells[name].values())),
            place=places[name],
            cells=cells[name],
            memory=_peak_memory(builder.summaries, name),
        )
        for name in order
    ]
    builder.notes.append("ranks are mean places, without a test")
    if any(cell.early for row in rows for cell in row.cells.values()):
        builder.notes.append("*: some runs had stopped at their target before this budget")
    return dataclasses.replace(table, rows=tuple(rows))


def _metric_cells(builder: _Builder, goals: Mapping[str, Goal]) -> dict[str, dict[str, Cell]]:
    """Submission -> workload -> the best trial's metric of each study."""
    best: dict[str, dict[str, dict[StudyKey, MetricAt]]] = {}
    for summary in builder.summaries:
        spec, metric = summary.spec, summary.metric
        workload = spec.workload.facts.id
        if summary.run_id not in builder.usable or metric is None or workload not in goals:
            continue
        by_study = best.setdefault(spec.submission.id, {}).setdefault(workload, {})
        study = study_key(spec)
        if study not in by_study or _is_better(metric.value, by_study[study].value, goals[workload]):
            by_study[study] = metric
    return {name: {w: cell_of_metrics(list(by.values())) for w, by in row.items()} for name, row in best.items()}


def _is_better(a: float, b: float, goal: Goal) -> bool:
    return a < b if goal == "min" else a > b


def _mean_place(name: str, cells: Mapping[str, Mapping[str, Cell]], goals: Mapping[str, Goal]) -> float:
    """Mean over workloads of 1 + the number of better submissions; without a run, the place behind all."""
    places = []
    for workload, goal in goals.items():
        values = [row[workload].value for row in cells.values() if workload in row]
        cell = cells[name].get(workload)
        better = len(values) if cell is None else sum(_is_better(value, cell.value, goal) for value in values)
        places.append(1 + better)
    return statistics.fmean(places)
