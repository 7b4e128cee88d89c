"""A gate over several workloads: the seed is the unit, and no workload may be worse.

Source: A Simple Sequentially Rejective Multiple Test Procedure, Holm 1979, with p = min(1, 1/e): E-values: Calibration,
    Combination and Applications, Vovk and Wang 2021, arXiv 1912.06116
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
    """What the seeds say of A against B over several workloads.

    Args:
        overall: of the mean over workloads.
        workloads: of each workload alone, at the same alpha and without correction.
        p_worse: of "A is not worse on this workload", valid at every look, corrected by Holm.
        worse: workloads on which A is worse after Holm; each of them alone forbids `better`.
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
    """The verdict over workloads after all these seeds; `decide` has the arguments and what they mean.

    The statistic is each seed's mean over workloads. `better` needs, besides, that A is worse on no workload: none
    whose evidence against A gives p ≤ alpha after Holm. Evidence once reached stays, so such a gate can no longer end
    as `better`.

    Args:
        differences: workload -> one difference per seed, the seeds in the same order everywhere.

    Raises:
        UsageError: as `decide`; no workloads; different numbers of pairs.

    >>> result = decide_workloads({"v": [0.3] * 7, "w": [-0.1] * 7})
    >>> result.overall.outcome, result.worse
    ('undecided', ('w',))
    """
    overall = decide(mean_over_workloads(differences), alpha=alpha, min_effect=min_effect, identical=identical)
    alone = {
        workload: decide(values, alpha=alpha, min_effect=min_effect, identical=identical)
        for workload, values in differences.items()
    }
    p_values = holm([min(1.0, 1.0 / verdict.e_worse) for verdict in alone.values()])
    p_worse = dict(zip(alone, p_values, strict=True))
    worse = tuple(workload for workload, p in p_worse.items() if p <= alpha)
    if worse and overall.outcome == "better":
        overall = replace(overall, outcome="undecided", note=f"better in the mean, but worse on {', '.join(worse)}")
    return WorkloadsVerdict(overall=overall, workloads=alone, p_worse=p_worse, worse=worse)
