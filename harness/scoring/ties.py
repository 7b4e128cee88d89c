"""Which ranks are ties: every pair of submissions is compared study by study, and Holm corrects over all pairs.

Under the hypothesis that two submissions do not differ, the sign of each paired log ratio is a coin toss, so the exact
sign-flip test of `stats` holds, whatever the workloads' scales and spreads. It says nothing about other workloads.
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
        p_values: pair, better rank first -> p-value after Holm.
        tied: pairs without a significant difference, and pairs whose difference contradicts their order.
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
    """Test every pair of a ranking; two submissions are tied unless their difference is significant after Holm.

    A score weighs workloads, the test counts pairs, and the two can disagree: a submission that is a little faster on
    most workloads and misses another has the lower score. A difference that contradicts the order is a tie, too.

    Args:
        studies: submission -> workload -> study -> time to target; inf is a miss. A workload that a submission lacks
            acts as a miss in every study; a study that one submission of a pair lacks is not paired.
        order: submissions, best first.
        workloads: the workloads that count.
        alpha: level after Holm.
    """
    columns = tuple(workloads)
    raw, against = {}, set()
    for a, b in itertools.combinations(order, 2):
        differences = study_differences(studies[a], studies[b], columns)
        enough = len(differences) >= MIN_PAIRS
        raw[a, b] = sign_flip_test(differences).p if enough else 1.0
        if raw[a, b] <= alpha and hodges_lehmann(differences) >= 0:
            against.add((a, b))
    adjusted = dict(zip(raw, holm(list(raw.values())), strict=True))
    tied = tuple(pair for pair, p in adjusted.items() if p > alpha or pair in against)
    return Ties(p_values=adjusted, tied=tied, ranks=rank_ranges(order, frozenset(tied)))


def study_differences(
    a: Mapping[str, Mapping[K, float]], b: Mapping[str, Mapping[K, float]], workloads: Iterable[str]
) -> list[float]:
    """Log ratios a/b, one for each workload and study that both have; a workload that one lacks is its miss."""
    times_a, times_b = [], []
    for workload in workloads:
        studies_a, studies_b = a.get(workload, {}), b.get(workload, {})
        for study in studies_a if studies_a else studies_b:
            if (study in studies_a or not studies_a) and (study in studies_b or not studies_b):
                times_a.append(studies_a.get(study, math.inf))
                times_b.append(studies_b.get(study, math.inf))
    return paired_log_ratios(times_a, times_b)


def rank_ranges(order: Sequence[str], tied: Collection[tuple[str, str]]) -> dict[str, tuple[int, int]]:
    """Best and worst possible rank of each name.

    Args:
        order: names, best first.
        tied: pairs (better, worse) without a significant difference.

    >>> rank_ranges(["a", "b", "c"], {("a", "b")})
    {'a': (1, 2), 'b': (1, 2), 'c': (3, 3)}
    """
    ranks = {}
    for i, name in enumerate(order):
        ahead = sum((other, name) not in tied for other in order[:i])
        behind = sum((name, other) not in tied for other in order[i + 1 :])
        ranks[name] = (1 + ahead, len(order) - behind)
    return ranks
