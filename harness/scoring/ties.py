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
from typing import Literal, TypeVar

from harness.scoring.stats import MIN_PAIRS, hodges_lehmann, holm, paired_log_ratios, sign_flip_test

K = TypeVar("K", bound=Hashable)
#: Significance level after Holm's correction.
ALPHA = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class PairVerdict:
    """The verdict on two submissions of a ranking. The ranks are made from these verdicts.

    Args:
        a: the submission that is first in the order of the ranking.
        b: the other submission.
        verdict: `faster` if A is significantly faster. `tied` if the difference is not significant, if it contradicts
            the order, or if the time of A or B is a bound that allows the opposite. `undecided` if the difference is
            not significant, and there are fewer pairs than `pairs_for_verdict` returns.
        log_ratios: log of (time of A / time of B) for each pair of studies, over all workloads; inf if only A missed,
            -inf if only B missed.
        p: p-value of the test after Holm's correction.
        mean: the log ratio that was tested, if it is a mean over workloads (see `mean_ties`); None if it is the
            Hodges–Lehmann estimate of `log_ratios`.
        error: standard error of `mean`; None if `mean` is None.
    """

    a: str
    b: str
    verdict: Literal["faster", "tied", "undecided"]
    log_ratios: tuple[float, ...]
    p: float
    mean: float | None = None
    error: float | None = None

    @property
    def ratio(self) -> float:
        """The estimate of the time of A over the time of B.

        The ratio is 0 if B missed too often for an estimate, inf if A missed too often, and nan if there is no pair.
        """
        if not self.log_ratios:
            return math.nan
        return math.inf if self._centre > 700 else math.exp(self._centre)

    @property
    def _centre(self) -> float:
        return hodges_lehmann(self.log_ratios) if self.mean is None else self.mean

    @property
    def contradicts_order(self) -> bool:
        """Whether the difference is significant after the correction, but B is the faster submission."""
        return self.verdict == "tied" and self.p <= ALPHA and self._centre >= 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Ties:
    """The ties in a ranking.

    Args:
        verdicts: one verdict for each pair of submissions.
        ranks: submission -> best and worst rank consistent with the significant pairwise differences.
        required_pairs: smallest number of pairs of studies with which a difference can be significant.
    """

    verdicts: tuple[PairVerdict, ...]
    ranks: Mapping[str, tuple[int, int]]
    required_pairs: int = MIN_PAIRS

    @property
    def tied(self) -> tuple[tuple[str, str], ...]:
        """The pairs without a significant difference, and those whose difference contradicts their order."""
        return tuple((pair.a, pair.b) for pair in self.verdicts if pair.verdict != "faster")


def rank_ties(
    studies: Mapping[str, Mapping[str, Mapping[K, float]]],
    *,
    order: Sequence[str],
    workloads: Iterable[str],
) -> Ties:
    """Test every pair of submissions of a ranking. A pair is tied unless its difference is significant.

    A score gives equal weight to workloads, whereas the test gives equal weight to pairs of studies. The score and the
    test can therefore disagree. For example, a submission that is slightly faster on most workloads and misses one
    target has the lower score. A significant difference that contradicts the order counts as a tie.

    Args:
        studies: submission -> workload -> study -> time to target; inf is a miss. For missing studies, see
            `study_differences`.
        order: submissions, best first.
        workloads: workloads to test over.
    """
    columns = tuple(workloads)
    pairs = list(itertools.combinations(order, 2))
    differences = [study_differences(studies[a], studies[b], columns) for a, b in pairs]
    uncorrected = [sign_flip_test(logs).p if len(logs) >= MIN_PAIRS else 1.0 for logs in differences]
    required = pairs_for_verdict(len(pairs))
    verdicts = []
    for (a, b), logs, p in zip(pairs, differences, holm(uncorrected), strict=True):
        verdict: Literal["faster", "tied", "undecided"] = "tied" if len(logs) >= required else "undecided"
        if p <= ALPHA:
            verdict = "faster" if hodges_lehmann(logs) < 0 else "tied"
        verdicts.append(PairVerdict(a=a, b=b, verdict=verdict, log_ratios=tuple(logs), p=p))
    tied = frozenset((pair.a, pair.b) for pair in verdicts if pair.verdict != "faster")
    return Ties(verdicts=tuple(verdicts), ranks=rank_ranges(order, tied), required_pairs=required)


def pairs_for_verdict(comparisons: int) -> int:
    """Return the smallest number of pairs of studies with which a difference can be significant after the correction.

    The smallest p-value of n pairs is 2^(1-n). Holm's procedure multiplies the smallest p-value of a table by the
    number of comparisons.

    >>> pairs_for_verdict(1), pairs_for_verdict(66)
    (6, 12)
    """
    return max(MIN_PAIRS, 1 + math.ceil(math.log2(max(1, comparisons) / ALPHA)))


def study_differences(
    a: Mapping[str, Mapping[K, float]], b: Mapping[str, Mapping[K, float]], workloads: Iterable[str]
) -> list[float]:
    """Return the log ratios a/b of the paired studies of all workloads.

    If both submissions ran studies of a workload, the studies that both ran are paired. If one submission ran no study
    of a workload, each study of the other submission is paired with a miss.
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
