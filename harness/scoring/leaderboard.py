"""Builds a leaderboard for each hardware class and ruleset.

A leaderboard contains ranks, scores and intervals, and the reasons for omissions. `harness.report` renders it.
"""

from __future__ import annotations

import dataclasses
import math
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce
from typing import NamedTuple

from harness.contract.judging import Trust
from harness.contract.run import Clock
from harness.contract.sandbox import weaker_sandbox
from harness.contract.workload import WorkloadFacts
from harness.errors import UsageError
from harness.scoring.aggregate import Aggregate, aggregate_runs
from harness.scoring.anchored_spread import anchored_spread
from harness.scoring.cells import Cell, cell_of_times
from harness.scoring.details import WorkloadDetails, build_details
from harness.scoring.factors import Medians, TimeFactors, describe_order, median_amounts, time_factors
from harness.scoring.families import FamilyKeys, RowFamily, family_keys, find_families
from harness.scoring.headline import Headline, headline_of_metrics, headline_of_times
from harness.scoring.interval_costs import arm_of
from harness.scoring.metric_cells import mean_rank, metric_cells
from harness.scoring.reference_times import anchor_times, describe_own_times, find_reference
from harness.scoring.scored_time import cost_summaries, describe_costs
from harness.scoring.scores import (
    Anchored,
    Profile,
    Skipped,
    Speedup,
    Table,
    anchored_scores,
    geometric_speedup,
    profile_scores,
)
from harness.scoring.selection import (
    describe,
    describe_root_seeds,
    held_out_variants,
    keep_newest_versions,
    select_usable,
    table_key,
)
from harness.scoring.stats import Spread
from harness.scoring.summary import LeaderboardQuery, RunSummary, distinguish_sources
from harness.scoring.throttling import throttling_note
from harness.scoring.ties import PairVerdict, rank_ties
from harness.scoring.trust import lowest_level

#: Time that stands for a miss in a submission's total time. Submissions with equal scores are ordered by total time.
_TIME_OF_MISS = 1e18


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaderboardRow:
    """The row of one submission.

    Args:
        submission: `name@version`.
        ranks: best and worst rank consistent with the significant pairwise differences. In tables of metrics, the ranks
            follow from `mean_rank`.
        n: smallest and largest number of studies on a workload.
        anchored: anchored score, the primary score; None if there is no reference, or if every workload is coarse or
            was missed by the reference.
        anchored_spread: 95 % interval of the anchored score; with fewer than six studies, its range (see
            `anchored_spread`). None if there is no anchored score.
        profile: AlgoPerf's profile score, which depends on the other submissions of the table; None in tables of
            metrics.
        ratios: workload id -> time divided by the best time on this workload in the table; inf is a miss, also a miss
            by the rules of the profile score. A variant has no item if its base workload is in the table.
        speedup: speed-up over the reference; None if there is no reference.
        factors: ratios to the reference in examples, cost per example and time. None if there is no workload on which
            the reference and the submission reached the target.
        mean_rank: mean of the ranks on the workloads (tables of metrics only).
        cells: workload id -> cell; a workload without a run has no item.
        memory: peak memory in bytes; 0 where unknown.
        trust: the lowest trust level of the usable records.
        sandbox: the weakest sandbox of the runs; empty if it is unknown.
        doubted: number of usable records that somebody doubts.
        family: the family of the row; None if no other row is of the same method.
    """

    submission: str
    ranks: tuple[int, int]
    n: tuple[int, int]
    anchored: float | None = None
    anchored_spread: Spread | None = None
    profile: float | None = None
    ratios: Mapping[str, float] = field(default_factory=dict)
    speedup: Speedup | None = None
    factors: TimeFactors | None = None
    mean_rank: float | None = None
    cells: Mapping[str, Cell]
    memory: int = 0
    trust: Trust = "self-reported"
    sandbox: str = ""
    doubted: int = 0
    family: RowFamily | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Leaderboard:
    """The leaderboard of one hardware class and ruleset.

    Args:
        hardware: hardware class.
        ruleset: `name@version`.
        ranked: whether the ruleset ranks submissions.
        clock: clock of the scored seconds.
        query: query that the leaderboard answers.
        workloads: facts of the workloads. Each workload is a column.
        anchor_times: id of each workload that counts in the anchored score -> time of the reference, to which the score
            is relative.
        reference: name of the submission to which the scores are relative; None if there is no such submission.
        rows: rows, the best first.
        headline: who leads, by how much, and who is tied; None without a row.
        verdicts: verdict of the test on each pair of submissions. The ranks follow from the verdicts. Empty in tables
            of metrics, which are ranked without a test.
        details: rows of each workload, including rows of runs that are never ranked.
        left_out: runs and workloads that were left out, with the reasons.
        notes: remarks for the reader.
    """

    hardware: str
    ruleset: str
    ranked: bool
    clock: Clock
    query: LeaderboardQuery
    workloads: tuple[WorkloadFacts, ...] = ()
    anchor_times: Mapping[str, float] = field(default_factory=dict)
    reference: str | None = None
    rows: tuple[LeaderboardRow, ...] = ()
    headline: Headline | None = None
    verdicts: tuple[PairVerdict, ...] = ()
    details: tuple[WorkloadDetails, ...] = ()
    left_out: tuple[Skipped, ...] = ()
    notes: tuple[str, ...] = ()


def build_leaderboards(
    summaries: Iterable[RunSummary], query: LeaderboardQuery, installed: Sequence[WorkloadFacts] = ()
) -> list[Leaderboard]:
    """Build one leaderboard for each hardware class and ruleset, sorted, with the targets of `installed` workloads."""
    groups: dict[tuple[str, str], list[RunSummary]] = {}
    for summary in summaries:
        groups.setdefault(table_key(summary), []).append(summary)
    return [_build(key, groups[key], query, installed) for key in sorted(groups)]


@dataclass(slots=True)
class _Builder:
    """Intermediate state of one leaderboard.

    Args:
        summaries: runs of the newest version of each workload.
        usable: run_ids of the runs that are scored.
        left_out: runs and workloads that were left out, with the reasons.
        notes: remarks for the reader.
    """

    summaries: list[RunSummary]
    usable: frozenset[str] = frozenset()
    left_out: list[Skipped] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def _build(
    key: tuple[str, str], summaries: Sequence[RunSummary], query: LeaderboardQuery, installed: Sequence[WorkloadFacts]
) -> Leaderboard:
    """Build the leaderboard of one hardware class and ruleset, which are the `key`."""
    builder = _Builder([summary for summary in summaries if query.wants(summary.spec.workload.facts)])
    builder.summaries, builder.left_out = keep_newest_versions(builder.summaries, installed)
    builder.summaries, ambiguous = distinguish_sources(builder.summaries)
    if ambiguous:
        names = ", ".join(sorted(ambiguous))
        builder.notes.append(f"several sources with one name, each listed with its hash: {names}")
    builder.summaries, costs = cost_summaries(builder.summaries, query.by, query.references)
    runs, skipped = select_usable(builder.summaries)
    builder.usable = frozenset(run.run_id for run in runs)
    spec = summaries[0].spec
    table = Leaderboard(hardware=key[0], ruleset=key[1], ranked=spec.ruleset.ranked, clock=spec.clock, query=query)
    if runs:
        aggregate = aggregate_runs(runs, query.by, skipped)
        builder.left_out += aggregate.skipped
        slowdowns = ((describe(summary), summary.slowdown) for summary in builder.summaries)
        note = throttling_note(slowdowns, len(builder.summaries))
        builder.notes += filter(None, (note, describe_root_seeds(runs)))
        if spec.clock == "process" and query.by != "measured-time":
            builder.notes += describe_costs(costs, {arm_of(summary.spec) for summary in builder.summaries})
        facts = {run.spec.workload.facts.id: run.spec.workload.facts for run in runs}
        table = dataclasses.replace(table, workloads=tuple(facts[workload] for workload in sorted(facts)))
        table = _rank_by_metric(table, builder) if query.metric_budget else _rank_by_time(table, builder, aggregate)
    elif builder.summaries:
        builder.left_out += skipped
        builder.notes.append("no run can be ranked")
    families = family_keys(summary.spec.submission for summary in builder.summaries)
    ranks = {row.submission: row.ranks for row in table.rows}
    details = build_details(builder.summaries, ranks, families, usable=builder.usable, level=query.level)
    rows = _add_families(table.rows, families)
    return dataclasses.replace(
        table, rows=rows, details=details, left_out=tuple(builder.left_out), notes=tuple(builder.notes)
    )


def _add_families(rows: Sequence[LeaderboardRow], keys: FamilyKeys) -> tuple[LeaderboardRow, ...]:
    """Return the rows with their families. Each family gets the range of the scores of its rows."""
    scores = [row.anchored if row.anchored is not None else row.profile for row in rows]
    values = [score if score is not None else row.mean_rank for score, row in zip(scores, rows, strict=True)]
    families = find_families(
        [row.submission for row in rows], [math.nan if value is None else value for value in values], keys
    )
    return tuple(dataclasses.replace(row, family=family) for row, family in zip(rows, families, strict=True))


class _RunTraits(NamedTuple):
    """Memory, sandbox, trust and doubts of a submission's runs; `LeaderboardRow` describes the fields."""

    memory: int
    sandbox: str
    trust: Trust
    doubted: int


def _run_traits(builder: _Builder) -> dict[str, _RunTraits]:
    """Return the traits of each submission's runs. Trust level and doubts refer to the usable runs only."""
    runs_of: dict[str, list[RunSummary]] = defaultdict(list)
    for summary in builder.summaries:
        runs_of[summary.spec.submission.id].append(summary)
    return {
        name: _RunTraits(
            memory=max(run.memory for run in runs),
            sandbox=reduce(weaker_sandbox, dict.fromkeys(run.sandbox for run in runs)),
            trust=lowest_level(list({run.trust for run in runs if run.run_id in builder.usable})),
            doubted=sum(run.doubted for run in runs if run.run_id in builder.usable),
        )
        for name, runs in runs_of.items()
    }


# --- by time, examples or steps -------------------------------------------------------------------


def _rank_by_time(table: Leaderboard, builder: _Builder, aggregate: Aggregate) -> Leaderboard:
    """Rank by the anchored score. If there is no anchored score, rank by the profile score."""
    amounts = median_amounts(summary for summary in builder.summaries if summary.run_id in builder.usable)
    times, ids = _scored_times(aggregate, amounts), [facts.id for facts in table.workloads]
    reference = find_reference(table.query.references, times)
    anchored = _anchored_scores(reference, times, amounts, aggregate.coarse, table, builder)
    counted = anchored.workloads if anchored else ()
    profiles = _profile_scores(times, table.workloads, builder)
    scores = anchored.scores if anchored else {name: profile.exact for name, profile in profiles.items()}
    order = sorted(times, key=lambda s: (-scores[s], -profiles[s].exact, _total_time(times[s], ids), s))
    ties = rank_ties(aggregate.studies, order=order, workloads=counted or ids)
    if len(order) == 1:
        builder.notes.append("a single submission: its profile score has no meaning")
    if all(math.isinf(time) for row in times.values() for time in row.values()):
        builder.notes.append("every submission missed every target")
    factors, traits = _ratios_to(reference, amounts, builder), _run_traits(builder)
    rows = []
    for name in order:
        studies = aggregate.studies[name]
        reference_times = times[reference] if reference is not None else None
        rows.append(
            LeaderboardRow(
                submission=name,
                ranks=ties.ranks[name],
                n=(min(map(len, studies.values())), max(map(len, studies.values()))),
                anchored=anchored.scores[name] if anchored else None,
                anchored_spread=anchored_spread(studies, anchored.reference, counted) if anchored else None,
                profile=profiles[name].score,
                ratios=profiles[name].ratios,
                speedup=geometric_speedup(dict(sorted(times[name].items())), dict(sorted(reference_times.items())))
                if reference_times is not None
                else None,
                factors=factors.get(name),
                cells={w: cell_of_times(list(studies[w].values()), times[name][w]) for w in ids if w in studies},
                **traits[name]._asdict(),
            )
        )
    headline = headline_of_times(
        order, ties, times, amounts, by=table.query.by, reference=reference, workloads=ids, tested=counted or ids
    )
    return dataclasses.replace(
        table,
        anchor_times={w: anchored.reference[w] for w in counted} if anchored else {},
        reference=reference,
        headline=headline,
        rows=tuple(rows),
        verdicts=ties.verdicts,
    )


def _scored_times(aggregate: Aggregate, amounts: Medians) -> Table:
    """Return submission -> workload -> median over studies of the compared quantity.

    With the quantity `time`, a run has two times:

    - The *scored time* determines the scores. Its medians are in `amounts`.
    - The *own time* (see `interval_costs`) has errors that are independent between runs, as intervals and tests need.
      `aggregate` contains it.
    """
    if aggregate.by != "time":
        return aggregate.times
    return {name: {workload: amounts[name][workload][0] for workload in row} for name, row in aggregate.times.items()}


def _ratios_to(reference: str | None, amounts: Medians, builder: _Builder) -> dict[str, TimeFactors]:
    """Return the ratios to the reference. Add a note if the order by examples differs from the order by time."""
    if reference is None:
        return {}
    factors = time_factors(amounts, reference)
    remark = describe_order(factors)
    builder.notes += [remark] if remark else []
    return factors


def _anchored_scores(
    reference: str | None,
    times: Table,
    amounts: Medians,
    coarse: Collection[str],
    table: Leaderboard,
    builder: _Builder,
) -> Anchored | None:
    """Return the anchored scores. If there are none, return None and add a note with the reason."""
    if reference is None:
        names = ", ".join(table.query.references) or "no submission has the tag reference"
        builder.notes.append(
            f"no anchored score and no speed-up, because the table has no run of the reference ({names})"
        )
        return None
    query, ids = table.query, [facts.id for facts in table.workloads]
    frozen = query.frozen if query.level == "main" else {}
    anchors = anchor_times(reference, times[reference], amounts, query.by, table.workloads, frozen)
    try:
        anchored = anchored_scores(times, anchors.times, workloads=ids, coarse=coarse)
    except UsageError:
        reason = "every workload is coarse or was missed by the reference"
        builder.notes.append(f"no anchored score: {reason} ({reference})")
        return None
    builder.left_out += [Skipped(item=f"anchored score/{s.item}", reason=s.reason) for s in anchored.left_out]
    builder.notes += describe_own_times({w: anchors.own[w] for w in anchored.workloads if w in anchors.own})
    return anchored


def _profile_scores(times: Table, workloads: Sequence[WorkloadFacts], builder: _Builder) -> dict[str, Profile]:
    """Return the profile scores. Variants are held out or left out (see `held_out_variants`)."""
    held_out, left_out = held_out_variants(workloads, list(times.values()))
    reason = "some submissions on the base workload have no run on this variant"
    builder.left_out += [Skipped(item=f"profile score/{variant}", reason=reason) for variant in left_out]
    if held_out:
        builder.notes.append(f"profile score: whoever misses a variant misses its base workload: {', '.join(held_out)}")
    base = [facts.id for facts in workloads if facts.id not in (*held_out, *left_out)]
    return profile_scores(times, base=base, held_out=held_out)


def _total_time(times: Mapping[str, float], workloads: Sequence[str]) -> float:
    """Return the sum of times, by which submissions with equal scores are ordered."""
    return math.fsum(min(times.get(workload, _TIME_OF_MISS), _TIME_OF_MISS) for workload in workloads)


# --- by metric at a budget ------------------------------------------------------------------------


def _rank_by_metric(table: Leaderboard, builder: _Builder) -> Leaderboard:
    """Rank by the mean of the ranks on the workloads, because metrics of different workloads have no common unit."""
    goals = {facts.id: facts.targets[0].goal for facts in table.workloads if facts.targets}
    usable = (summary for summary in builder.summaries if summary.run_id in builder.usable)
    cells = metric_cells(usable, goals)
    mean_ranks = {name: mean_rank(name, cells, goals) for name in cells}
    order = sorted(mean_ranks, key=lambda name: (mean_ranks[name], name))
    traits = _run_traits(builder)
    rows = [
        LeaderboardRow(
            submission=name,
            ranks=_shared_ranks(name, mean_ranks),
            n=(min(c.studies for c in cells[name].values()), max(c.studies for c in cells[name].values())),
            mean_rank=mean_ranks[name],
            cells=cells[name],
            **traits[name]._asdict(),
        )
        for name in order
    ]
    builder.notes.append("submissions are ordered by mean rank, without a test")
    if any(cell.early for row in rows for cell in row.cells.values()):
        builder.notes.append("*: some runs stopped at their target before this budget")
    headline = headline_of_metrics(order, {row.submission: row.ranks for row in rows}) if rows else None
    return dataclasses.replace(table, headline=headline, rows=tuple(rows))


def _shared_ranks(name: str, mean_ranks: Mapping[str, float]) -> tuple[int, int]:
    """Return the best and worst rank of a submission. Submissions with equal mean ranks share their ranks."""
    own = mean_ranks[name]
    return 1 + sum(other < own for other in mean_ranks.values()), sum(other <= own for other in mean_ranks.values())
