"""Finds ties in a ranking: every pair of submissions is tested over paired studies, with Holm's correction.

If two submissions do not differ, each paired log ratio is positive with probability ½. The exact sign-flip test of
`stats` is therefore valid even if the workloads have different scales and variances. The result holds for the workloads
of the table only.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from harness.scoring.stats import MIN_PAIRS, hodges_lehmann, holm, paired_log_ratios, sign_flip_test

K = TypeVar("K", bound=Hashable)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ties:
    """The ties in a ranking.

    Args:
        p_values: pair of submissions -> p-value after Holm's correction. The submission with the better rank is first.
        tied: pairs without a significant difference, and pairs whose significant difference contradicts their order.
        ranks: submission -> best and worst rank consistent with the significant pairwise differences.
    """

    p_values: Mapping[tuple[str, str], float]
    tied: tuple[tuple[str, str], ...]
    ranks: Mapping[str, tuple[int, int]]


def rank_ties(
    studies: Mapping[str, Mapping[str, Mapping[K, float]]],
    *,
    order: Sequence[str],
    workloads: Iterable[str],
    alpha: float = 0.05,
) -> Ties:
    """Test every pair of submissions of a ranking. A pair is tied unless its difference is significant.

    A score gives equal weight to workloads, whereas the test gives equal weight to pairs of studies. The score and the
    test can therefore disagree. For example, a submission that is slightly faster on most workloads and misses one
    target has the lower score. A significant difference that contradicts the order counts as a tie.

    Args:
        studies: submission -> workload -> study -> time to target; inf is a miss. A workload that a submission did not
            run counts as a miss in every study. If only one submission of a pair ran a study, the study is not paired.
        order: submissions, best first.
        workloads: workloads to test over.
        alpha: significance level after Holm's correction.
    """
    columns = tuple(workloads)
    uncorrected, contradictory = {}, set()
    for a, b in itertools.combinations(order, 2):
        differences = study_differences(studies[a], studies[b], columns)
        uncorrected[a, b] = sign_flip_test(differences).p if len(differences) >= MIN_PAIRS else 1.0
        if uncorrected[a, b] <= alpha and hodges_lehmann(differences) >= 0:
            contradictory.add((a, b))
    adjusted = dict(zip(uncorrected, holm(list(uncorrected.values())), strict=True))
    tied = tuple(pair for pair, p in adjusted.items() if p > alpha or pair in contradictory)
    return Ties(p_values=adjusted, tied=tied, ranks=rank_ranges(order, frozenset(tied)))


def study_differences(
    a: Mapping[str, Mapping[K, float]], b: Mapping[str, Mapping[K, float]], workloads: Iterable[str]
) -> list[float]:
    """Return the log ratios a/b over all workloads and over the studies that both submissions ran.

    If one submission did not run a workload, every study of this workload counts as a miss of that submission.
    """
    times_a, times_b = [], []
    for workload in workloads:
        studies_a, studies_b = a.get(workload, {}), b.get(workload, {})
        for study in studies_a if studies_a else studies_b:
            if (study in studies_a or not studies_a) and (study in studies_b or not studies_b):
                times_a.append(studies_a.get(study, math.inf))
                times_b.append(studies_b.get(study, math.inf))
    return paired_log_ratios(times_a, times_b)


def rank_ranges(order: Sequence[str], tied: Collection[tuple[str, str]]) -> dict[str, tuple[int, int]]:
    """Return the best and worst possible rank of each submission.

    Args:
        order: submissions, best first.
        tied: tied pairs, better rank first.

    >>> rank_ranges(["a", "b", "c"], {("a", "b")})
    {'a': (1, 2), 'b': (1, 2), 'c': (3, 3)}
    """
    ranks = {}
    for i, name in enumerate(order):
        ahead = sum((other, name) not in tied for other in order[:i])
        behind = sum((name, other) not in tied for other in order[i + 1 :])
        ranks[name] = (1 + ahead, len(order) - behind)
    return ranks
