"""Finds the statement at the top of a leaderboard: who leads, by how much, and who is tied."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Final, Literal, TypeAlias

from harness.scoring.factors import Medians, TimeFactors, time_factors
from harness.scoring.scores import Table
from harness.scoring.ties import PairVerdict, Ties
from harness.scoring.time_to_target import Axis

#: Compared quantities for which a headline states ratios of examples and of scored time. For any other quantity, such
#: as steps, a headline states the ratio of this quantity.
TIME_AND_EXAMPLES: Final = ("time", "measured-time", "examples")
#: Value of `amounts` for a headline that states no amounts.
NO_AMOUNTS: Final[Mapping[str, str]] = MappingProxyType({})
#: Reasons why two leaders have no pair of studies: no workload over which the verdicts are computed has runs of both,
#: or no two of their studies have the same root seed.
NoPairs: TypeAlias = Literal["no workload", "no study"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LeadRatio:
    """Ratios of a leader to the submission with which it is compared.

    Args:
        submission: the leader.
        against: the other submission: the reference, or the second submission if there is no reference or if the
            reference leads alone.
        factors: ratios of examples, cost and time; None if there is no workload on which the two submissions reached
            the target. If the compared quantity is not in `TIME_AND_EXAMPLES`, `time` is the ratio of this quantity.
    """

    submission: str
    against: str
    factors: TimeFactors | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Headline:
    """The statement at the top of a leaderboard.

    Args:
        leaders: submissions whose best possible rank is 1. No two of them differ significantly.
        amounts: submission -> the amount by which it is ranked, such as `1.31×`; empty if the ratios are stated
            instead.
        amount_name: what the amounts are, such as `time multiplier`; empty without amounts.
        ratios: one for each leader that is not the reference. If the reference leads alone, one for the reference.
        missed: for each leader, the workloads on which its median is a miss, or that it did not run.
        tied_with_first: submissions that are tied with the only leader, but significantly slower than another
            submission, so they cannot have rank 1.
        followers: those of the other submissions whose best possible rank is smallest; only the first of them if two of
            them differ significantly.
        follower_ranks: best and worst rank of the followers; the worst rank is None if it differs between them.
        behind_some: submissions that are significantly behind a leader, but not behind all leaders.
        behind_all: submissions that are significantly behind all leaders.
        followers_undecided: whether there are too few pairs of studies for a verdict on two of the followers.
        pairs: smallest number of pairs of studies between two leaders, if it is too small for a verdict; None if it
            suffices.
        no_pairs: why there is no pair of studies; None if `pairs` is not 0.
        tested: the workloads over which the verdicts are computed.
        required_pairs: smallest number of pairs of studies with which one difference can be significant.
        required_studies: number of studies on each workload that give `required_pairs`.
        all_missed: whether no submission reached a target.
        is_tested: whether the ranks come from a test. Ranks by the metric at a budget do not come from a test.
    """

    leaders: tuple[str, ...]
    amounts: Mapping[str, str] = field(default_factory=dict)
    amount_name: str = ""
    ratios: tuple[LeadRatio, ...] = ()
    missed: tuple[tuple[str, ...], ...] = ()
    tied_with_first: tuple[str, ...] = ()
    followers: tuple[str, ...] = ()
    follower_ranks: tuple[int, int | None] = (0, None)
    followers_undecided: bool = False
    behind_some: tuple[str, ...] = ()
    behind_all: tuple[str, ...] = ()
    pairs: int | None = None
    no_pairs: NoPairs | None = None
    tested: tuple[str, ...] = ()
    required_pairs: int = 0
    required_studies: int = 0
    all_missed: bool = False
    is_tested: bool = True


def headline_of_ranks(
    order: Sequence[str],
    ties: Ties,
    tested: Sequence[str],
    amounts: Mapping[str, str] = NO_AMOUNTS,
    amount_name: str = "",
) -> Headline:
    """Return the headline of a ranking with tested ranks, without ratios.

    Args:
        order: submissions, best first.
        ties: the ranks, and the verdicts from which they are made.
        tested: workloads over which the verdicts are computed.
        amounts: submission -> the amount by which it is ranked, as text.
        amount_name: what the amounts are.
    """
    leaders = _with_best_rank(order, ties)
    followers = _with_best_rank([name for name in order if name not in leaders], ties)
    if any(pair.verdict == "faster" for pair in _among(followers, ties.verdicts)):
        followers = followers[:1]
    undecided = [len(pair.log_ratios) for pair in _among(leaders, ties.verdicts) if pair.verdict == "undecided"]
    required = ties.required_pairs
    tied_with_first = tuple(pair.b for pair in ties.verdicts if pair.a == order[0] and pair.verdict != "faster")
    ahead = {(pair.a, pair.b) for pair in ties.verdicts if pair.verdict == "faster"}
    behind = {name: sum((leader, name) in ahead for leader in leaders) for name in order if name not in leaders}
    return Headline(
        leaders=leaders,
        amounts=amounts,
        amount_name=amount_name,
        tied_with_first=tied_with_first if len(leaders) == 1 else (),
        followers=followers,
        follower_ranks=_common_ranks(followers, ties),
        followers_undecided=any(pair.verdict == "undecided" for pair in _among(followers, ties.verdicts)),
        behind_some=tuple(name for name, count in behind.items() if 0 < count < len(leaders)),
        behind_all=tuple(name for name, count in behind.items() if count == len(leaders)),
        pairs=min(undecided, default=None),
        no_pairs="no study" if min(undecided, default=None) == 0 else None,
        tested=tuple(tested),
        required_pairs=required,
        required_studies=math.ceil(required / max(1, len(tested))),
    )


def headline_of_times(
    order: Sequence[str],
    ties: Ties,
    times: Table,
    amounts: Medians,
    *,
    by: Axis,
    reference: str | None,
    workloads: Sequence[str],
    tested: Sequence[str],
) -> Headline:
    """Return the headline of a ranking by times.

    Args:
        order: submissions, best first.
        ties: the ranks, and the verdicts from which they are made.
        times: submission -> workload -> scored time; inf for a miss.
        amounts: submission -> workload -> medians of the scored time and of the examples.
        by: the compared quantity.
        reference: the submission to which the scores are relative; None without one.
        workloads: workloads of the table.
        tested: workloads over which the verdicts are computed.
    """
    headline = headline_of_ranks(order, ties, tested)
    if any(not _share_workload(times[pair.a], times[pair.b], tested) for pair in _without_pairs(headline, ties)):
        headline = replace(headline, no_pairs="no workload")
    compared = amounts if by in TIME_AND_EXAMPLES else _without_examples(times)
    return replace(
        headline,
        ratios=_lead_ratios(headline.leaders, order, compared, reference),
        missed=tuple(
            tuple(w for w in workloads if math.isinf(times[name].get(w, math.inf))) for name in headline.leaders
        ),
        all_missed=all(math.isinf(time) for row in times.values() for time in row.values()),
    )


def headline_of_metrics(order: Sequence[str], ranks: Mapping[str, tuple[int, int]]) -> Headline:
    """Return the headline of a ranking by metric at a budget, whose ranks come from no test.

    Args:
        order: submissions, best first.
        ranks: submission -> best and worst rank.
    """
    leaders = tuple(name for name in order if ranks[name][0] == 1)
    rest = [name for name in order if name not in leaders]
    followers = tuple(name for name in rest if ranks[name] == ranks[rest[0]])
    return Headline(
        leaders=leaders,
        followers=followers,
        follower_ranks=ranks[rest[0]] if rest else (0, None),
        is_tested=False,
    )


def _without_pairs(headline: Headline, ties: Ties) -> list[PairVerdict]:
    """Return the verdicts on two leaders without a pair of studies."""
    return [pair for pair in _among(headline.leaders, ties.verdicts) if not pair.log_ratios]


def _share_workload(a: Mapping[str, float], b: Mapping[str, float], tested: Sequence[str]) -> bool:
    """Return whether two submissions have times on the same workload over which verdicts are computed."""
    return any(workload in a and workload in b for workload in tested)


def _without_examples(times: Table) -> Medians:
    """Return amounts in which the compared quantity, such as steps, replaces the time and the examples."""
    return {name: {workload: (time, time) for workload, time in row.items()} for name, row in times.items()}


def _with_best_rank(names: Sequence[str], ties: Ties) -> tuple[str, ...]:
    """Return the submissions that have the smallest best rank of all given submissions."""
    best = min((ties.ranks[name][0] for name in names), default=0)
    return tuple(name for name in names if ties.ranks[name][0] == best)


def _among(names: Sequence[str], verdicts: Sequence[PairVerdict]) -> list[PairVerdict]:
    """Return the verdicts on pairs of these submissions."""
    return [pair for pair in verdicts if pair.a in names and pair.b in names]


def _common_ranks(names: Sequence[str], ties: Ties) -> tuple[int, int | None]:
    """Return the best rank of the submissions, and their worst rank if they share it."""
    if not names:
        return 0, None
    worst = {ties.ranks[name][1] for name in names}
    return ties.ranks[names[0]][0], worst.pop() if len(worst) == 1 else None


def _lead_ratios(
    leaders: Sequence[str], order: Sequence[str], amounts: Medians, reference: str | None
) -> tuple[LeadRatio, ...]:
    """Return the ratios of the leaders to the reference.

    A leader is compared with the second submission if the table has no reference, or if the leader is the reference and
    leads alone.
    """
    if len(order) < 2:
        return ()
    against = order[1] if reference is None or leaders == (reference,) else reference
    factors = time_factors(amounts, against)
    return tuple(
        LeadRatio(submission=name, against=against, factors=factors.get(name)) for name in leaders if name != against
    )
