"""The ranking of the ruleset `fixed-budget`: its cells, rows and ranks (see `multipliers`)."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from harness.contract.judging import Trust
from harness.contract.workload import Access
from harness.scoring.mean_ties import rank_mean_ties
from harness.scoring.multiplier_estimate import MultiplierEstimate, mean_estimate
from harness.scoring.scores import Skipped
from harness.scoring.selection import StudyKey
from harness.scoring.ties import Ties
from harness.scoring.tuning_cost import TuningCost


@dataclass(frozen=True, slots=True, kw_only=True)
class MultiplierCell:
    """The result of a submission on a workload.

    Args:
        submission: `name@version`. If two different sources have this name, the beginning of the code hash follows.
        workload: `name@version`.
        hardware: hardware class.
        ruleset: `name@version`.
        projected_from: hardware class of the runs, if the cost comes from `bench cost` on `hardware`; empty otherwise.
        n: number of runs.
        broken: number of runs that broke down, which have no final metric.
        compute: compute multiplier; None if it is unknown or if a run broke down.
        cost: cost per example relative to the reference; None if unknown.
        time: time multiplier; None if the compute multiplier or the cost is unknown.
        studies: study -> 1 / (time multiplier of the study's run), from the seconds of this run alone; inf if the run
            broke down. Lower is better, so paired tests use these values like times.
        envelope_deviations: for each seed of the envelope, the deviation of the mean log multiplier that this seed
            causes; empty without multipliers.
        tuning: cost of the tuning, and the effect of a wrong learning rate; None without records of tuning trials.
        remark: the most important reason why a value is missing, and warnings; empty if nothing is missing.
        unequal_tuning: how the tuning differs from that of the reference; empty if it does not.
    """

    submission: str
    workload: str
    hardware: str
    ruleset: str
    projected_from: str = ""
    n: int
    broken: int = 0
    compute: MultiplierEstimate | None = None
    cost: float | None = None
    time: MultiplierEstimate | None = None
    studies: Mapping[StudyKey, float] = field(default_factory=dict)
    envelope_deviations: tuple[float, ...] = ()
    tuning: TuningCost | None = None
    remark: str = ""
    unequal_tuning: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class MultiplierRow:
    """The row of a submission in the ranking.

    Args:
        submission: see `MultiplierCell`.
        ranks: best and worst rank consistent with the significant pairwise differences. Submissions that lack a time
            multiplier on at least one workload share the last ranks.
        compute: geometric mean of the compute multipliers over workloads. `compute`, `cost` and `time` are None unless
            every workload has a time multiplier.
        cost: geometric mean of the costs over workloads.
        time: geometric mean of the time multipliers over workloads. Submissions are ranked by it.
        workloads: number of workloads with a time multiplier.
        remark: the workloads without a time multiplier, with the reasons, and the workloads on which the submission was
            tuned otherwise than the reference; empty if there are no such workloads.
    """

    submission: str
    ranks: tuple[int, int]
    compute: MultiplierEstimate | None = None
    cost: float | None = None
    time: MultiplierEstimate | None = None
    workloads: int
    remark: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProjectedWorkload:
    """Where the values of a projected workload come from.

    Args:
        sources: hardware classes of the runs, which give the compute multipliers.
        pairs: number of pairs of `bench cost`, which give the costs.
        sessions: number of calls of `bench cost`.
    """

    sources: tuple[str, ...]
    pairs: int
    sessions: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RankWithout:
    """The rank of a submission if a workload is left out of the ranking.

    Args:
        submission: see `MultiplierCell`.
        workload: id of the workload that is left out.
        ranks: best and worst rank on the other workloads.
    """

    submission: str
    workload: str
    ranks: tuple[int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class MultiplierBoard:
    """The ranking of one hardware class, ruleset and kind of access, and the results on each workload.

    Pools and streams have separate rankings. They have different references, and most submissions run on one kind only.

    Args:
        hardware: hardware class.
        ruleset: `name@version`.
        access: how the submissions get the data of the workloads, `pool` or `stream`.
        workloads: ids of the ranked workloads: those with a usable envelope, or all if no workload has one.
        unranked: id of a workload without a usable envelope -> the reason. It is not part of the ranking.
        projected: id of a projected workload -> where its values come from; empty for a measured ranking.
        references: `name@version` of the references of the workloads' envelopes.
        missing: names of the workloads of the same tier and access that no submission ran on. If there are any, the
            ranking is partial.
        rows: rows, best first.
        ties: the ranks of the submissions with a time multiplier on every workload, and the verdicts on their pairs.
        cells: results, ordered by workload and then by time multiplier, best first.
        trust: number of scored runs with each trust level.
        public_seeds: number of scored runs whose seeds come from a public beacon.
        cost_remarks: remarks about the seconds of the runs.
        torch: the versions of torch in the records.
        skipped: records that were left out, with the reasons.
    """

    hardware: str
    ruleset: str
    access: Access
    workloads: tuple[str, ...]
    unranked: Mapping[str, str] = field(default_factory=dict)
    projected: Mapping[str, ProjectedWorkload] = field(default_factory=dict)
    references: frozenset[str] = frozenset()
    missing: tuple[str, ...] = ()
    rows: tuple[MultiplierRow, ...]
    ties: Ties
    cells: tuple[MultiplierCell, ...]
    trust: Mapping[Trust, int] = field(default_factory=dict)
    public_seeds: int = 0
    cost_remarks: tuple[str, ...] = ()
    torch: tuple[str, ...] = ()
    skipped: tuple[Skipped, ...] = ()

    @property
    def without(self) -> tuple[RankWithout, ...]:
        """The submissions whose range of ranks is completely different if one workload is left out.

        All pairs are tested again for each workload, so this is computed only for tables.
        """
        return ranks_without(self.cells, self.workloads, self.rows)

    @property
    def bounded(self) -> float:
        """Fraction of the known compute multipliers that are bounds instead of estimates; 0 if none is known."""
        known = [cell.compute for cell in self.cells if cell.compute is not None]
        return sum(estimate.bound != "" for estimate in known) / len(known) if known else 0.0


def rank_cells(cells: Sequence[MultiplierCell], workloads: Sequence[str]) -> tuple[list[MultiplierRow], Ties]:
    """Rank submissions by the geometric mean of their time multipliers over all workloads.

    Submissions that lack a time multiplier on at least one workload share the last ranks, and are ordered by name.

    Args:
        cells: the cells of one hardware class and ruleset. Those on other workloads do not count.
        workloads: ids of the ranked workloads.
    """
    by_submission: dict[str, dict[str, MultiplierCell]] = defaultdict(dict)
    for cell in cells:
        if cell.workload in workloads:
            by_submission[cell.submission][cell.workload] = cell
    rows = [_make_row(submission, row, workloads) for submission, row in by_submission.items()]
    rows.sort(key=lambda row: (row.time is None, -row.time.log if row.time else 0.0, row.submission))
    order = [row.submission for row in rows if row.time is not None]
    studies = {name: {workload: by_submission[name][workload].studies for workload in workloads} for name in order}
    bounds = {row.submission: row.time.bound for row in rows if row.time is not None}
    ties = rank_mean_ties(
        studies,
        order=order,
        workloads=workloads,
        # A multiplier with a lower bound belongs to a time with an upper bound.
        at_least=[name for name, bound in bounds.items() if bound in ("<", "~")],
        at_most=[name for name, bound in bounds.items() if bound in (">", "~")],
    )
    last = len(order) + 1, len(rows)
    return [replace(row, ranks=ties.ranks.get(row.submission, last)) for row in rows], ties


def ranks_without(
    cells: Sequence[MultiplierCell], workloads: Sequence[str], rows: Sequence[MultiplierRow]
) -> tuple[RankWithout, ...]:
    """Return the submissions whose rank depends on one workload.

    These are the submissions whose range of ranks does not overlap with that in the ranking if the workload is left
    out. With two workloads or fewer, there are none, because the rest would be a single workload.

    Args:
        cells: the cells of the ranking.
        workloads: ids of the workloads.
        rows: the rows of the ranking (see `rank_cells`).
    """
    if len(workloads) < 3:
        return ()
    ranks = {row.submission: row.ranks for row in rows if row.time is not None}
    found = []
    for left_out in workloads:
        others = [cell for cell in cells if cell.submission in ranks and cell.workload != left_out]
        for row in rank_cells(others, [workload for workload in workloads if workload != left_out])[0]:
            best, worst = ranks[row.submission]
            if row.ranks[0] > worst or row.ranks[1] < best:
                found.append(RankWithout(submission=row.submission, workload=left_out, ranks=row.ranks))
    return tuple(found)


def _make_row(submission: str, cells: Mapping[str, MultiplierCell], workloads: Sequence[str]) -> MultiplierRow:
    missing = [
        f"{workload.partition('@')[0]}: {cells[workload].remark if workload in cells else 'no run'}"
        for workload in workloads
        if workload not in cells or cells[workload].time is None
    ]
    unequal = [
        f"{workload.partition('@')[0]}: {cell.unequal_tuning}"
        for workload, cell in sorted(cells.items())
        if cell.unequal_tuning and cell.time is not None
    ]
    costs = [cell.cost for cell in cells.values() if cell.cost is not None]
    computes = [cell.compute for cell in cells.values() if cell.compute is not None]
    times = [cell.time for cell in cells.values() if cell.time is not None]
    is_complete = not missing
    return MultiplierRow(
        submission=submission,
        ranks=(0, 0),
        compute=mean_estimate(computes) if is_complete else None,
        cost=statistics.geometric_mean(costs) if is_complete else None,
        time=mean_estimate(times) if is_complete else None,
        workloads=len(times),
        remark="; ".join(missing + unequal),
    )
