"""Which ranks are ties: every pair of submissions is compared study by study, and Holm corrects over all pairs.

Under the hypothesis that two submissions do not differ, the sign of each paired log ratio is a coin toss, so the exact
sign-flip test of `stats` holds, whatever the workloads' scales and spreads. What it says is about these workloads, not
about others.
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
    """What a ranking can and cannot tell apart.

    Args:
        p_values: pair, better rank first -> p-value after Holm.
        tied: pairs that cannot be told apart, and those whose seeds say the opposite of their order.
        ranks: submission -> best and worst rank that the pairs told apart leave it.
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
    """Test every pair of a ranking; two submissions are tied when they cannot be told apart after Holm.

    A score weighs workloads, the test counts pairs, and the two can disagree: one that is a little faster on most
    workloads and misses another has the lower score. A difference against the order does not support it.

    Args:
        studies: submission -> workload -> study -> time to target; inf is a miss. A workload that a submission lacks
            acts as a miss in every study; a study that one of the two lacks is not paired.
        order: submissions, best first.
        workloads: those that count.
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
    """Log ratios a/b per workload and study that both have."""
    left, right = [], []
    for workload in workloads:
        of_a, of_b = a.get(workload, {}), b.get(workload, {})
        for study in of_a if of_a else of_b:
            if (study in of_a or not of_a) and (study in of_b or not of_b):
                left.append(of_a.get(study, math.inf))
                right.append(of_b.get(study, math.inf))
    return paired_log_ratios(left, right)


def rank_ranges(order: Sequence[str], tied: Collection[tuple[str, str]]) -> dict[str, tuple[int, int]]:
    """Best and worst possible rank of each.

    Args:
        order: names, best first.
        tied: pairs (better, worse) that cannot be told apart.

    >>> rank_ranges(["a", "b", "c"], {("a", "b")})
    {'a': (1, 2), 'b': (1, 2), 'c': (3, 3)}
    """
    ranks = {}
    for i, name in enumerate(order):
        ahead = sum((other, name) not in tied for other in order[:i])
        behind = sum((name, other) not in tied for other in order[i + 1 :])
        ranks[name] = (1 + ahead, len(order) - behind)
    return ranks
