"""Computes the verdict of a gate over several workloads.

The differences of each seed are averaged over the workloads, and the averages are tested. The outcome `better` also
requires that A is not worse on any workload.

Source: A Simple Sequentially Rejective Multiple Test Procedure, Holm 1979
Source: E-values: Calibration, Combination and Applications, Vovk and Wang 2021, arXiv 1912.06116 (an e-value e gives
    the p-value min(1, 1/e))
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from harness.scoring.sample_size import MIN_EFFECT
from harness.scoring.sequential.differences import mean_over_workloads
from harness.scoring.sequential.verdict import ALPHA, GateVerdict, decide
from harness.scoring.stats import holm


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkloadsVerdict:
    """The verdict on A, compared with B, over several workloads.

    Args:
        overall: verdict on the mean over workloads.
        workloads: workload -> verdict on this workload at the same alpha, without Holm's correction.
        p_worse: workload -> p-value of the hypothesis that A is not worse on this workload, with Holm's correction. The
            p-value is valid after every pair.
        worse: workloads on which A is worse after Holm's correction. If there is such a workload, the outcome cannot be
            `better`.
    """

    overall: GateVerdict
    workloads: dict[str, GateVerdict]
    p_worse: dict[str, float]
    worse: tuple[str, ...]


def decide_workloads(
    differences: Mapping[str, Sequence[float]],
    *,
    alpha: float = ALPHA,
    min_effect: float = MIN_EFFECT,
    identical: bool = False,
) -> WorkloadsVerdict:
    """Return the verdict over several workloads after all given seeds.

    The differences of each seed are averaged over the workloads, and `decide` computes the verdict on the averages. If
    A is worse on any workload, the outcome cannot be `better`. A is worse on a workload if p ≤ alpha after Holm's
    correction. The p-values use the largest e-value so far. A gate with a workload on which A is worse can therefore
    not become `better` later.

    Args:
        differences: workload -> one difference for each seed, in the same order of seeds for every workload.
        alpha: error level, as in `decide`.
        min_effect: smallest effect that is relevant, as in `decide`.
        identical: whether the records are identical, as in `decide`.

    Raises:
        UsageError: an argument is invalid as in `decide`, there are no workloads, or the workloads have different
            numbers of pairs.

    >>> result = decide_workloads({"v": [0.3] * 7, "w": [-0.1] * 7})
    >>> result.overall.outcome, result.worse
    ('undecided', ('w',))
    """
    overall = decide(mean_over_workloads(differences), alpha=alpha, min_effect=min_effect, identical=identical)
    by_workload = {
        workload: decide(values, alpha=alpha, min_effect=min_effect, identical=identical)
        for workload, values in differences.items()
    }
    p_values = holm([min(1.0, 1.0 / verdict.e_worse) for verdict in by_workload.values()])
    p_worse = dict(zip(by_workload, p_values, strict=True))
    worse = tuple(workload for workload, p in p_worse.items() if p <= alpha)
    if worse and overall.outcome == "better":
        overall = replace(overall, outcome="undecided", note=f"better on average, but worse on {', '.join(worse)}")
    return WorkloadsVerdict(overall=overall, workloads=by_workload, p_worse=p_worse, worse=worse)
