"""Records as leaderboards: a table per hardware class and ruleset, with ranks, scores, spreads and what is left out."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import msgspec

from harness.contract.run import Clock
from harness.contract.workload import Goal, WorkloadFacts
from harness.errors import UsageError
from harness.scoring.aggregate import Aggregate, StudyKey, aggregate_runs
from harness.scoring.scores import (
    Skipped,
    Speedup,
    anchored_scores,
    anchored_term,
    geometric_speedup,
    profile_scores,
    workload_time,
)
from harness.scoring.selection import ambiguous_names, describe, keep_newest_versions, select_usable, with_source
from harness.scoring.stats import Spread, median_interval, median_variance
from harness.scoring.summary import LeaderboardQuery, RunSummary
from harness.scoring.throttling import note
from harness.scoring.ties import rank_ties
from harness.scoring.time_to_target import MetricAt

#: Until somebody else has evaluated or repeated a run, its record is its author's word.
SELF_REPORTED = "self-reported"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One submission on one workload.

    Args:
        value: median over studies; inf is a miss, and in metric tables inf or -inf a run that broke.
        spread: over studies, an interval or under six a range.
        studies, hits: how many there are, and how many met the target (in metric tables: did not break).
        early: some runs had stopped at their target before the budget (metric tables only).
    """

    value: float
    spread: Spread
    studies: int
    hits: int
    early: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaderboardRow:
    """One row.

    Args:
        submission: `name@version`.
        ranks: best and worst rank that the pairs told apart leave it.
        n: fewest and most studies on a workload.
        anchored, anchored_spread: primary score and its spread over studies; None without a reference.
        profile: AlgoPerf's score, which depends on the field.
        ratios: workload id -> time over the best one, as the profile takes it; inf is a miss.
        speedup: over the reference; None without one.
        place: mean place over workloads (metric tables only).
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
        question: what was asked.
        workloads: the columns.
        counted: ids of those in the anchored mean.
        reference: the submission that anchors; None without one.
        rows: best first.
        ties: pairs that cannot be told apart.
        left_out: runs and workloads, and why.
        notes: what a reader should know.
    """

    hardware: str
    ruleset: str
    ranked: bool
    clock: Clock
    query: LeaderboardQuery
    workloads: tuple[WorkloadFacts, ...]
    counted: tuple[str, ...] = ()
    reference: str | None = None
    rows: tuple[LeaderboardRow, ...] = ()
    ties: tuple[tuple[str, str], ...] = ()
    left_out: tuple[Skipped, ...] = ()
    notes: tuple[str, ...] = ()


def build_leaderboards(summaries: Iterable[RunSummary], query: LeaderboardQuery) -> list[Leaderboard]:
    """A table for each hardware class and ruleset, in alphabetical order."""
    groups: dict[tuple[str, str], list[RunSummary]] = {}
    for one in summaries:
        spec = one.spec
        groups.setdefault((spec.hardware, f"{spec.ruleset.name}@{spec.ruleset.version}"), []).append(one)
    return [_table(key, groups[key], query) for key in sorted(groups)]


@dataclass(slots=True)
class _Builder:
    """A table in the making."""

    summaries: list[RunSummary]
    left_out: list[Skipped] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def _table(key: tuple[str, str], members: Sequence[RunSummary], query: LeaderboardQuery) -> Leaderboard:
    draft = _Builder([one for one in members if query.wants(one.spec.workload.facts)])
    draft.summaries, draft.left_out = keep_newest_versions(draft.summaries)
    _name_sources(draft)
    spec = members[0].spec
    empty = Leaderboard(
        hardware=key[0],
        ruleset=key[1],
        ranked=spec.ruleset.ranked,
        clock=spec.clock,
        query=query,
        workloads=(),
    )
    try:
        table = aggregate_runs((one.run for one in draft.summaries), query.by)
    except UsageError:
        _, skipped = select_usable(one.run for one in draft.summaries)
        return _replace(
            empty, left_out=(*draft.left_out, *skipped), notes=("no run counts",) if draft.summaries else ()
        )
    draft.left_out += table.skipped
    slowed = note(((describe(one.run), one.slowdown) for one in draft.summaries), len(draft.summaries))
    draft.notes += [slowed] if slowed else []
    facts = {one.spec.workload.facts.id: one.spec.workload.facts for one in draft.summaries}
    present = dict.fromkeys(w for row in table.times.values() for w in row)
    workloads = tuple(facts[w] for w in sorted(present))
    filled = _replace(empty, workloads=workloads)
    if query.metric is not None:
        return _by_metric(filled, draft)
    return _by_time(filled, draft, table)


def _replace(table: Leaderboard, **changes: object) -> Leaderboard:
    import dataclasses

    return dataclasses.replace(table, **changes)  # type: ignore[arg-type]  # the names are checked when it is built


def _name_sources(draft: _Builder) -> None:
    """Two sources under one `name@version` are two submissions: the hash tells them apart."""
    several = ambiguous_names(draft.summaries)
    if not several:
        return
    import dataclasses

    for i, one in enumerate(draft.summaries):
        ref = one.spec.submission
        if ref.id in several:
            spec = msgspec.structs.replace(one.spec, submission=with_source(ref))
            draft.summaries[i] = dataclasses.replace(one, spec=spec)
    draft.notes.append(f"several sources under one name, told apart by their hash: {', '.join(sorted(several))}")


# --- by time, examples or steps -------------------------------------------------------------------


def _by_time(empty: Leaderboard, draft: _Builder, table: Aggregate) -> Leaderboard:
    ids = [facts.id for facts in empty.workloads]
    reference = _reference(empty.query.references, table.times)
    anchored, counted = None, list[str]()
    if reference is None:
        asked = ", ".join(empty.query.references) or "no submission is tagged as one"
        draft.notes.append(f"no anchored score and no speed-up: no run of the reference ({asked})")
    else:
        try:
            anchored = anchored_scores(table.times, table.times[reference], workloads=ids, coarse=table.coarse)
        except UsageError:
            why = "every workload is coarse or was missed by the reference"
            draft.notes.append(f"no anchored score: {why} ({reference})")
        else:
            counted = list(anchored.workloads)
            draft.left_out += [Skipped(what=f"anchored score/{s.what}", why=s.why) for s in anchored.left_out]
    profiles = profile_scores(table.times, base=ids)
    scores = anchored.scores if anchored else {name: p.exact for name, p in profiles.items()}
    order = sorted(table.times, key=lambda s: (-scores[s], -profiles[s].exact, _total_time(table.times[s], ids), s))
    ties = rank_ties(table.studies, order=order, workloads=counted or ids)
    if len(order) == 1:
        draft.notes.append("a single submission: its profile score says nothing")
    if all(math.isinf(t) for row in table.times.values() for t in row.values()):
        draft.notes.append("every submission missed every target")
    rows = []
    for name in order:
        by_study = table.studies[name]
        base = table.times[reference] if reference is not None else None
        rows.append(
            LeaderboardRow(
                submission=name,
                ranks=ties.ranks[name],
                n=(min(map(len, by_study.values())), max(map(len, by_study.values()))),
                anchored=anchored.scores[name] if anchored else None,
                anchored_spread=anchored_spread(by_study, base, counted) if base is not None and counted else None,
                profile=profiles[name].score,
                ratios=profiles[name].ratios,
                speedup=geometric_speedup(_only(table.times[name], ids), _only(base, ids))
                if base is not None
                else None,
                cells={w: _cell(list(by_study[w].values())) for w in ids if w in by_study},
                memory=_memory(draft.summaries, name),
            )
        )
    return _replace(
        empty,
        counted=tuple(counted),
        reference=reference,
        rows=tuple(rows),
        ties=ties.tied,
        left_out=tuple(draft.left_out),
        notes=tuple(draft.notes),
    )


def _only(times: Mapping[str, float], workloads: Sequence[str]) -> dict[str, float]:
    return {w: times[w] for w in workloads if w in times}


def _total_time(times: Mapping[str, float], workloads: Sequence[str]) -> float:
    """Sum of times, to order what no score tells apart."""
    return math.fsum(times.get(w, 1e18) if math.isfinite(times.get(w, math.inf)) else 1e18 for w in workloads)


def _reference(names: Sequence[str], times: Mapping[str, object]) -> str | None:
    """The first of these names in the table, of several versions or sources the last."""
    for name in names:
        found = sorted(s for s in times if name in (s, s.rpartition("@")[0]))
        if found:
            return found[-1]
    return None


def anchored_spread(
    studies: Mapping[str, Mapping[StudyKey, float]], reference: Mapping[str, float], counted: Sequence[str]
) -> Spread | None:
    """Spread of an anchored score over the submission's studies; the reference's times count as known.

    With six studies on every workload it is an interval. On one workload it is that of the median. On several, the
    variances of the medians add (the seeds of two workloads have nothing in common), and Student's t has the degrees of
    freedom that Welch and Satterthwaite give the sum; joining the workloads' own intervals instead would allow for the
    worst of each at once. With fewer studies it is the range from every workload's worst study to every workload's
    best. A workload without a study adds no spread.

    Args:
        studies: workload -> study -> time, inf for a miss.
        reference: workload -> time of the reference.
        counted: workloads of the score.

    Source: A Method of Estimating the Variance of the Sample Median, Maritz and Jarrett 1978, equation 1
    Source: An Approximate Distribution of Estimates of Variance Components, Satterthwaite 1946, equation 17
    """
    have = [w for w in counted if studies.get(w)]
    if not have:
        return None
    middle, below, above, intervals = [], [], [], True
    for w in have:
        values = list(studies[w].values())
        ends = median_interval(values)
        intervals &= ends.kind == "interval"
        term = anchored_term(workload_time(values), reference[w])
        middle.append(term)
        # The slow end of the times is the low end of the score.
        below.append(term - anchored_term(ends.high, reference[w]))
        above.append(anchored_term(ends.low, reference[w]) - term)
    score, n = math.fsum(middle), len(counted)
    if not intervals:
        return Spread(low=(score - math.fsum(below)) / n, high=(score + math.fsum(above)) / n, kind="range")
    if len(have) > 1:
        half = _half_width([[anchored_term(t, reference[w]) for t in studies[w].values()] for w in have])
        return Spread(low=max(0.0, score - half) / n, high=min(n, score + half) / n, kind="interval")
    return Spread(low=(score - below[0]) / n, high=(score + above[0]) / n, kind="interval")


def _half_width(terms: Sequence[Sequence[float]]) -> float:
    """Half the width of a 95 % interval for a sum of medians, one per list of terms."""
    from scipy.stats import t

    variances = [(median_variance(values), len(values) - 1) for values in terms]
    total = math.fsum(v for v, _ in variances)
    if not total:
        return 0.0
    freedom = total**2 / math.fsum(v * v / n for v, n in variances)
    return float(t.ppf(0.975, freedom)) * math.sqrt(total)


def _cell(values: Sequence[float]) -> Cell:
    return Cell(
        value=workload_time(values),
        spread=median_interval(values),
        studies=len(values),
        hits=sum(map(math.isfinite, values)),
    )


def _memory(summaries: Iterable[RunSummary], submission: str) -> int:
    return max((one.memory for one in summaries if one.spec.submission.id == submission), default=0)


# --- by metric at a budget ------------------------------------------------------------------------


def _by_metric(empty: Leaderboard, draft: _Builder) -> Leaderboard:
    """Metrics at a budget have no common unit: workloads are joined by the mean of the places on each."""
    kept, _ = select_usable(one.run for one in draft.summaries)
    counts = {run.run_id for run in kept}
    values: dict[str, dict[str, dict[StudyKey, MetricAt]]] = {}
    goals = {facts.id: facts.targets[0].goal for facts in empty.workloads if facts.targets}
    for one in draft.summaries:
        facts = one.spec.workload.facts
        if one.run_id not in counts or one.metric is None or facts.id not in goals:
            continue
        by_study = values.setdefault(one.spec.submission.id, {}).setdefault(facts.id, {})
        key = (one.spec.root_seed, one.spec.study)
        if key not in by_study or _better(one.metric.value, by_study[key].value, goals[facts.id]):
            by_study[key] = one.metric
    cells = {s: {w: _metric_cell(list(by.values())) for w, by in row.items()} for s, row in values.items()}
    places = {s: _mean_rank(s, cells, goals) for s in cells}
    order = sorted(places, key=lambda s: (places[s], s))
    rows = [
        LeaderboardRow(
            submission=name,
            ranks=(1 + sum(places[o] < places[name] for o in order), sum(places[o] <= places[name] for o in order)),
            n=(min(c.studies for c in cells[name].values()), max(c.studies for c in cells[name].values())),
            place=places[name],
            cells=cells[name],
            memory=_memory(draft.summaries, name),
        )
        for name in order
    ]
    notes = (*draft.notes, "ranks are mean places, without a test")
    if any(cell.early for row in rows for cell in row.cells.values()):
        notes = (*notes, "*: some runs had stopped at their target before this budget")
    return _replace(empty, rows=tuple(rows), left_out=tuple(draft.left_out), notes=notes)


def _better(a: float, b: float, goal: Goal) -> bool:
    return a < b if goal == "min" else a > b


def _metric_cell(values: Sequence[MetricAt]) -> Cell:
    numbers = [v.value for v in values]
    return Cell(
        value=statistics.median(numbers),
        spread=median_interval(numbers),
        studies=len(numbers),
        hits=sum(map(math.isfinite, numbers)),
        early=any(v.stopped_early for v in values),
    )


def _mean_rank(name: str, cells: Mapping[str, Mapping[str, Cell]], goals: Mapping[str, Goal]) -> float:
    """Mean over workloads of 1 + those that are better; without a run, the place behind all."""
    places = []
    for workload, goal in goals.items():
        others = [row[workload].value for row in cells.values() if workload in row]
        mine = cells[name].get(workload)
        places.append(1 + (len(others) if mine is None else sum(_better(o, mine.value, goal) for o in others)))
    return statistics.fmean(places)
