"""Factors of time ratios. The time to the target is the number of examples × the cost per example.

The ratio of a submission's time to the reference's time is therefore the product of two ratios.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from harness.scoring.scores import workload_time
from harness.scoring.selection import StudyKey, study_key
from harness.scoring.summary import RunSummary

#: submission -> workload -> (median scored time, median number of examples) to the target; inf if the median is a miss.
Medians = Mapping[str, Mapping[str, tuple[float, float]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeFactors:
    """Ratios of a submission to the reference.

    Each ratio is a geometric mean over the workloads on which both the submission and the reference reached the target.

    Args:
        examples: ratio of the numbers of examples to the target. If it is below 1, the submission needs fewer examples.
        cost: ratio of the scored times per example.
        time: ratio of the scored times to the target; `examples` × `cost`.
        workloads: ids of the workloads over which the means are taken.
    """

    examples: float
    cost: float
    time: float
    workloads: tuple[str, ...]


def median_amounts(summaries: Iterable[RunSummary]) -> dict[str, dict[str, tuple[float, float]]]:
    """Return the medians of scored time and examples to the target over studies.

    Only the scored trial of each study is used. This is the trial with the best result in the quantity by which the
    leaderboard ranks submissions (time, examples or steps).

    Args:
        summaries: usable runs of one table.

    Returns:
        submission -> workload -> (median scored time in seconds, median examples); inf if the median is a miss.
    """
    best: dict[str, dict[str, dict[StudyKey, RunSummary]]] = defaultdict(lambda: defaultdict(dict))
    for summary in summaries:
        spec = summary.spec
        studies, key = best[spec.submission.id][spec.workload.facts.id], study_key(spec)
        if key not in studies or summary.result.value < studies[key].result.value:
            studies[key] = summary
    return {
        submission: {workload: _medians(list(studies.values())) for workload, studies in row.items()}
        for submission, row in best.items()
    }


def _medians(runs: Sequence[RunSummary]) -> tuple[float, float]:
    """Return the median scored time and the median number of examples to the target."""
    hits = [run.hit for run in runs]
    seconds = [math.inf if run.hit is None else run.seconds for run in runs]
    return workload_time(seconds), workload_time([math.inf if point is None else float(point.cost) for point in hits])


def time_factors(amounts: Medians, reference: str) -> dict[str, TimeFactors]:
    """Return submission -> factors. A submission has no item if no workload was hit by it and by the reference.

    Args:
        amounts: submission -> workload -> (median scored time, median examples).
        reference: id of the reference.
    """
    factors = {}
    for submission, row in amounts.items():
        logs = []
        for workload, (seconds, examples) in sorted(row.items()):
            reference_seconds, reference_examples = amounts[reference].get(workload, (math.inf, math.inf))
            values = (seconds, examples, reference_seconds, reference_examples)
            if all(0 < value < math.inf for value in values):
                logs.append((workload, math.log(examples / reference_examples), math.log(seconds / reference_seconds)))
        if logs:
            log_examples = math.fsum(log for _, log, _ in logs) / len(logs)
            log_time = math.fsum(log for _, _, log in logs) / len(logs)
            factors[submission] = TimeFactors(
                examples=math.exp(log_examples),
                cost=math.exp(log_time - log_examples),
                time=math.exp(log_time),
                workloads=tuple(workload for workload, _, _ in logs),
            )
    return factors


def describe_order(factors: Mapping[str, TimeFactors], limit: int = 3) -> str:
    """Return a remark on pairs of submissions whose order by examples differs from their order by time.

    The remark is empty if there is no such pair.

    >>> pair = {"a": TimeFactors(examples=0.7, cost=2.0, time=1.4, workloads=("w",)),
    ...         "b": TimeFactors(examples=0.9, cost=1.0, time=0.9, workloads=("w",))}
    >>> describe_order(pair)
    'the order by examples differs from the order by time: a needs fewer examples but more time than b'

    Args:
        factors: submission -> factors.
        limit: largest number of pairs that the remark names.
    """
    pairs = [
        (a, b)
        for a, factors_a in factors.items()
        for b, factors_b in factors.items()
        if factors_a.workloads == factors_b.workloads
        and factors_a.examples < factors_b.examples
        and factors_a.time > factors_b.time
    ]
    if not pairs:
        return ""
    # Pairs with the largest ratio of the costs per example come first.
    pairs.sort(key=lambda pair: -math.log(factors[pair[0]].cost / factors[pair[1]].cost))
    named = "; ".join(f"{a} needs fewer examples but more time than {b}" for a, b in pairs[:limit])
    more = f"; and {len(pairs) - limit} more pairs" if len(pairs) > limit else ""
    return f"the order by examples differs from the order by time: {named}{more}"
