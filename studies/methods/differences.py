"""Compare two arms over pairs of runs with equal seeds, by the tests of `harness.scoring` with corrected intervals.

One workload has five pairs, which are too few for a test without assumptions about distributions. On one workload, the
arms are therefore compared by Student's t test on the logarithms of the losses. The test assumes normal differences: a
loss is nearly normal, because it is a mean over many examples. Both workloads together have ten pairs. For these pairs,
the exact sign-flip test compares the arms, and misses have the worst ranks.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from harness.scoring import stats
from harness.scoring.student import paired_t_test
from studies.methods.design import Design, Measure, Stage
from studies.methods.results import Results


@dataclass(frozen=True, kw_only=True)
class Difference:
    """The difference between two arms over pairs of runs with equal seeds.

    Args:
        n: number of pairs.
        ratio: the arm's value divided by the other arm's value. Below 1, the arm is better. None without values.
        low, high: bounds of the corrected interval; None without an interval.
        p: two-sided p value before correction; 1 if no test is possible.
        both_missed: number of pairs in which both arms missed. The ratio of such a pair is 1, but the pair is no
            evidence that the arms are equal.
        p_holm: p value corrected by Holm's method.
        verdict: `better` or `worse` if the corrected test is significant, and `–` if it is not.
    """

    n: int
    ratio: float | None = None
    low: float | None = None
    high: float | None = None
    p: float = 1.0
    both_missed: int = 0
    p_holm: float = 1.0
    verdict: Literal["better", "worse", "–"] = "–"


# --- pairs --------------------------------------------------------------------------------------------


def log_ratios(results: Results, stage: Stage, arm: str, other: str, measure: Measure) -> list[float]:
    """Return log(arm/other) for every seed with runs of both arms.

    If one of the two runs missed or broke, the log ratio is ±inf. If both did, it is 0.
    """
    pairs = _paired_values(results, stage, arm, other, measure)
    return stats.paired_log_ratios([a for a, _ in pairs], [b for _, b in pairs])


def count_both_missed(results: Results, stage: Stage, arm: str, other: str, measure: Measure) -> int:
    """Return the number of seeds on which neither arm has a value."""
    return sum(math.isinf(a) and math.isinf(b) for a, b in _paired_values(results, stage, arm, other, measure))


def _paired_values(
    results: Results, stage: Stage, arm: str, other: str, measure: Measure
) -> Sequence[tuple[float, float]]:
    a, b = results.fresh_runs(stage, arm, measure), results.fresh_runs(stage, other, measure)
    return [(a[study].value(measure), b[study].value(measure)) for study in sorted(a.keys() & b.keys())]


def pool_log_ratios(results: Results, stages: Sequence[Stage], arm: str, other: str, measure: Measure) -> list[float]:
    """Return the log ratios of all stages; empty if a stage has no seed with runs of both arms."""
    ratios = [log_ratios(results, stage, arm, other, measure) for stage in stages]
    return [ratio for of_stage in ratios for ratio in of_stage] if all(ratios) else []


# --- tests --------------------------------------------------------------------------------------------


def compare_by_t(differences: Sequence[float], tests: int, design: Design) -> Difference:
    """Test paired log ratios by Student's t, with an interval of level 1 − α/tests.

    There is no test in two cases:

    - A log ratio is infinite: one run of the pair missed or broke. If only the other seeds counted, an arm would gain
      from breaking.
    - Not all seeds have run yet. A few pairs can agree by chance.

    Args:
        differences: paired log ratios.
        tests: number of tests over which the interval is corrected.
        design: the design of the study.
    """
    n = len(differences)
    if not n or not all(map(math.isfinite, differences)):
        return Difference(n=n)
    if n < design.ruleset.studies:
        return Difference(n=n, ratio=math.exp(statistics.fmean(differences)))
    test = paired_t_test(differences, 1 - design.alpha / max(tests, 1))
    return Difference(n=n, ratio=math.exp(test.mean), low=_exp(test.low), high=_exp(test.high), p=test.p)


def compare_by_flips(differences: Sequence[float], tests: int, design: Design) -> Difference:
    """Test paired log ratios by exact sign flips.

    The ratio is the Hodges–Lehmann estimate. Its interval has the level 1 − α/tests.

    Args:
        differences: paired log ratios.
        tests: number of tests over which the interval is corrected.
        design: the design of the study.
    """
    if not differences:
        return Difference(n=0)
    ends = stats.interval(differences, 1 - design.alpha / max(tests, 1))
    is_interval = ends.kind == "interval"
    return Difference(
        n=len(differences),
        ratio=math.exp(stats.hodges_lehmann(differences)),
        low=_exp(ends.low) if is_interval else None,
        high=_exp(ends.high) if is_interval else None,
        p=stats.sign_flip_test(differences).p,
    )


def correct_by_holm(differences: Sequence[Difference], design: Design) -> list[Difference]:
    """Return the differences with their verdicts, and with p values corrected over all of the differences."""
    corrected = stats.holm([difference.p for difference in differences])
    return [_with_verdict(replace(d, p_holm=p), design) for d, p in zip(differences, corrected, strict=True)]


def _with_verdict(difference: Difference, design: Design) -> Difference:
    ratio = difference.ratio
    if difference.p_holm > design.alpha or ratio is None or ratio == 1:
        return difference
    return replace(difference, verdict="better" if ratio < 1 else "worse")


def compare_losses_with_first(results: Results, stage: Stage, arms: Sequence[str]) -> dict[str, Difference]:
    """Compare the loss of every other arm with the loss of the first arm, and correct the p values."""
    first, *compared = arms
    differences = [
        compare_by_t(log_ratios(results, stage, arm, first, "loss"), len(compared), results.design) for arm in compared
    ]
    return dict(zip(compared, correct_by_holm(differences, results.design), strict=True))


def _exp(value: float | None) -> float | None:
    return None if value is None else math.exp(value)
