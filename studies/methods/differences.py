"""Two arms compared over pairs of seeds: tests of `harness.scoring` with corrected intervals.

Within a workload five pairs of seeds are too few for a test without assumptions. Differences there are tested by
Student's t on the logarithms of the losses, which are means over many examples and so nearly normal. Over both
workloads there are ten pairs, and the exact sign-flip test is used, with misses as worst ranks.
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
    """An arm against another, over pairs of seeds.

    Args:
        n: pairs of seeds.
        ratio: of the arm's value over the other's; below 1 is better. None where no ratio can be given.
        low, high: the interval, corrected; None where there is none.
        p: two-sided, as tested; 1 where nothing can be tested.
        both_missed: pairs in which both missed. As ratios they are 1, and yet no evidence that two arms are alike.
        p_holm: the same p corrected by Holm.
        verdict: `better` or `worse` where the corrected test says so, and otherwise `–`.
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
    """log(arm/other) for every seed that both have run on; ±inf where one missed or broke, 0 where both did."""
    pairs = _paired_values(results, stage, arm, other, measure)
    return stats.paired_log_ratios([a for a, _ in pairs], [b for _, b in pairs])


def count_both_missed(results: Results, stage: Stage, arm: str, other: str, measure: Measure) -> int:
    """Seeds on which neither has a value."""
    return sum(math.isinf(a) and math.isinf(b) for a, b in _paired_values(results, stage, arm, other, measure))


def _paired_values(
    results: Results, stage: Stage, arm: str, other: str, measure: Measure
) -> Sequence[tuple[float, float]]:
    a, b = results.fresh_runs(stage, arm, measure), results.fresh_runs(stage, other, measure)
    return [(a[study].value(measure), b[study].value(measure)) for study in sorted(a.keys() & b.keys())]


def pool_log_ratios(results: Results, stages: Sequence[Stage], arm: str, other: str, measure: Measure) -> list[float]:
    """The log ratios of all stages; none unless both arms have run on each, so that no workload stands for another."""
    ratios = [log_ratios(results, stage, arm, other, measure) for stage in stages]
    return [ratio for of_stage in ratios for ratio in of_stage] if all(ratios) else []


# --- tests --------------------------------------------------------------------------------------------


def compare_by_t(differences: Sequence[float], tests: int, design: Design) -> Difference:
    """Student's t on paired log ratios, with an interval at 1 − α/tests.

    Where a run broke there is no ratio, and a mean over the other seeds would reward breaking: nothing is tested. Nor
    is it before all seeds have run: two pairs that happen to agree would pass as certainty.
    """
    n = len(differences)
    if not n or not all(map(math.isfinite, differences)):
        return Difference(n=n)
    if n < design.ruleset.studies:
        return Difference(n=n, ratio=math.exp(statistics.fmean(differences)))
    test = paired_t_test(differences, 1 - design.alpha / max(tests, 1))
    return Difference(n=n, ratio=math.exp(test.mean), low=_exp(test.low), high=_exp(test.high), p=test.p)


def compare_by_flips(differences: Sequence[float], tests: int, design: Design) -> Difference:
    """The exact sign-flip test with the Hodges–Lehmann ratio and the interval that inverts it, at 1 − α/tests."""
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
    """The same with p corrected over all of them, and the verdicts that follow."""
    corrected = stats.holm([difference.p for difference in differences])
    return [_with_verdict(replace(d, p_holm=p), design) for d, p in zip(differences, corrected, strict=True)]


def _with_verdict(difference: Difference, design: Design) -> Difference:
    ratio = difference.ratio
    if difference.p_holm > design.alpha or ratio is None or ratio == 1:
        return difference
    return replace(difference, verdict="better" if ratio < 1 else "worse")


def compare_losses_with_first(results: Results, stage: Stage, arms: Sequence[str]) -> dict[str, Difference]:
    """Every other arm's loss against that of the first, corrected over them."""
    first, *compared = arms
    differences = [
        compare_by_t(log_ratios(results, stage, arm, first, "loss"), len(compared), results.design) for arm in compared
    ]
    return dict(zip(compared, correct_by_holm(differences, results.design), strict=True))


def _exp(value: float | None) -> float | None:
    return None if value is None else math.exp(value)
