"""Compares two submissions A and B by their multipliers under `fixed-budget`.

The test is that of the ranking (see `mean_ties`). A ranking corrects for all of its pairs, and a comparison has only
one. A pair that is separated here may therefore be tied in the ranking. If a run broke down, the exact sign-flip test
of `stats` is used, in which such a run loses against every other run.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

from harness.errors import UsageError
from harness.scoring.compare import Verdict
from harness.scoring.mean_ties import MeanTest, compare_means, error_of_differences, residual_variances
from harness.scoring.multiplier_board import MultiplierBoard, MultiplierCell
from harness.scoring.multiplier_estimate import (
    ErrorSource,
    MultiplierEstimate,
    combine_errors,
    error_of_mean,
    invert_bound,
    join_bounds,
    mean_estimate,
)
from harness.scoring.scores import Skipped
from harness.scoring.selection import StudyKey
from harness.scoring.stats import MIN_PAIRS, hodges_lehmann, holm, sign_flip_test
from harness.scoring.ties import ALPHA, study_differences

#: The difference, and the probability of finding it, for which `MultiplierPairing.more` is planned.
SMALLEST_EFFECT, POWER = 0.03, 0.8
#: The cells of A and B on a workload.
_Side: TypeAlias = tuple[MultiplierCell, MultiplierCell]


@dataclass(frozen=True, slots=True, kw_only=True)
class MultiplierPairing:
    """The comparison of A with B on one workload, or over all workloads.

    Args:
        workload: id of the workload, or `overall`.
        n: number of pairs of studies with equal seeds.
        verdict: verdict on A: `faster`, `slower`, or `inconclusive`. It is inconclusive with fewer than six pairs.
        time: (time multiplier of A) / (time multiplier of B). Above 1, A is faster. None if one of them is unknown.
        compute: (compute multiplier of A) / (compute multiplier of B), without an error; None if `time` is None.
        cost: (cost of A) / (cost of B); None if `time` is None.
        p: two-sided p-value of the test.
        p_holm: p-value after Holm's correction over the workloads; equal to `p` for `overall`.
        more: estimated number of further studies on each workload that a verdict needs. 0 if there is a verdict, or if
            the studies already suffice to detect a difference of 3 %. None if the number cannot be estimated.
    """

    workload: str
    n: int
    verdict: Verdict
    time: MultiplierEstimate | None
    compute: MultiplierEstimate | None
    cost: float | None
    p: float
    p_holm: float
    more: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class MultiplierComparison:
    """The comparison of A with B.

    Args:
        a, b: the submissions.
        hardware: hardware class.
        ruleset: `name@version`.
        workloads: one pairing for each workload with results of both.
        overall: pairing over all these workloads.
        skipped: workloads without results of both submissions, with the reasons. They are left out.
    """

    a: str
    b: str
    hardware: str
    ruleset: str
    workloads: tuple[MultiplierPairing, ...]
    overall: MultiplierPairing
    skipped: tuple[Skipped, ...]

    def slower_than(self, limit: float) -> bool:
        """Whether the overall verdict on A is `slower`, and (time of A) / (time of B) exceeds a limit.

        The ratio of the times is the reciprocal of the ratio of the time multipliers.
        """
        time = self.overall.time
        return self.overall.verdict == "slower" and (time is None or -time.log > math.log(limit))


def compare_multipliers(board: MultiplierBoard, a: str, b: str) -> MultiplierComparison:
    """Compare two submissions of a board.

    Args:
        board: the results of one hardware class, ruleset and kind of access.
        a, b: names of the submissions on the board.

    Raises:
        UsageError: no workload has multipliers of both submissions.
    """
    cells = {(cell.submission, cell.workload): cell for cell in board.cells}
    workloads = sorted((*board.workloads, *board.unranked))
    shared = [workload for workload in workloads if (a, workload) in cells and (b, workload) in cells]
    skipped = [
        Skipped(item=workload, reason=f"only {a if (a, workload) in cells else b} has runs")
        for workload in workloads
        if workload not in shared and ((a, workload) in cells or (b, workload) in cells)
    ]
    if not shared:
        raise UsageError(f"{a} and {b} have no runs on the same workload", fix="run both submissions on one workload")
    every_side = [(cells[a, workload], cells[b, workload]) for workload in shared]
    unknown = [cell for side in every_side for cell in side if not cell.studies]
    skipped += [Skipped(item=f"{cell.submission} on {cell.workload}", reason=cell.remark) for cell in unknown]
    sides = [(first, second) for first, second in every_side if first.studies and second.studies]
    if not sides:
        reasons = "; ".join(sorted({f"{item.item}: {item.reason}" for item in skipped})[:2])
        raise UsageError(f"{a} and {b} have no pair of runs with multipliers", fix=reasons)
    by_submission: dict[str, dict[str, Mapping[StudyKey, float]]] = {}
    for cell in board.cells:
        by_submission.setdefault(cell.submission, {})[cell.workload] = cell.studies
    variances = residual_variances(by_submission, shared)
    tests = [_test([side], variances) for side in sides]
    pairings = [_pairing(side[0].workload, [side], test, variances) for side, test in zip(sides, tests, strict=True)]
    overall_test = _test(sides, variances)
    return MultiplierComparison(
        a=a,
        b=b,
        hardware=board.hardware,
        ruleset=board.ruleset,
        workloads=tuple(
            _decide(replace(pairing, p_holm=p), test)
            for pairing, test, p in zip(pairings, tests, holm([test.p for test in tests]), strict=True)
        ),
        overall=_decide(_pairing("overall", sides, overall_test, variances), overall_test),
        skipped=tuple(skipped),
    )


def _test(sides: Sequence[_Side], variances: Mapping[str, ErrorSource]) -> MeanTest:
    """Return the test of the difference over some workloads."""
    studies_a = {a.workload: a.studies for a, _ in sides}
    studies_b = {b.workload: b.studies for _, b in sides}
    workloads = list(studies_a)
    times = [time for row in (*studies_a.values(), *studies_b.values()) for time in row.values()]
    if all(map(math.isfinite, times)):
        return compare_means(studies_a, studies_b, workloads, variances)
    logs = study_differences(studies_a, studies_b, workloads)
    p = sign_flip_test(logs).p if len(logs) >= MIN_PAIRS else 1.0
    return MeanTest(log_ratios=tuple(logs), mean=hodges_lehmann(logs) if logs else math.nan, error=math.nan, p=p)


def _pairing(
    workload: str, sides: Sequence[_Side], test: MeanTest, variances: Mapping[str, ErrorSource]
) -> MultiplierPairing:
    """Return a pairing with the verdict `inconclusive`, which `_decide` may change."""
    times = [_time_ratio(a, b, variances.get(a.workload)) for a, b in sides]
    computes = [_compute_ratio(a, b) for a, b in sides]
    known_times = [time for time in times if time is not None]
    known_computes = [compute for compute in computes if compute is not None]
    costs = [a.cost / b.cost for a, b in sides if a.cost is not None and b.cost is not None]
    is_known = len(known_times) == len(known_computes) == len(costs) == len(sides)
    return MultiplierPairing(
        workload=workload,
        n=len(test.log_ratios),
        verdict="inconclusive",
        time=mean_estimate(known_times) if is_known else None,
        compute=mean_estimate(known_computes) if is_known else None,
        cost=statistics.geometric_mean(costs) if is_known else None,
        p=test.p,
        p_holm=test.p,
        more=_further_studies(test, len(sides)),
    )


def _decide(pairing: MultiplierPairing, test: MeanTest) -> MultiplierPairing:
    """Return the pairing with its verdict, if the difference is significant.

    As in a ranking, there is no verdict if the difference contradicts the ratio of the time multipliers, or if a bound
    allows the opposite.
    """
    if pairing.p_holm > ALPHA or test.mean == 0:
        return pairing
    is_faster = test.mean < 0
    if pairing.time is not None:
        contradicts = pairing.time.log != 0 and (pairing.time.log > 0) != is_faster
        if contradicts or pairing.time.bound in ("~", "<" if is_faster else ">"):
            return pairing
    return replace(pairing, verdict="faster" if is_faster else "slower", more=0)


def _further_studies(test: MeanTest, workloads: int) -> int | None:
    """Return how many further studies on each workload detect a difference of 3 % with a probability of 80 %."""
    if math.isnan(test.error):
        return None
    studies = len(test.log_ratios) / workloads
    normal = statistics.NormalDist()
    factor = (normal.inv_cdf(1 - ALPHA / 2) + normal.inv_cdf(POWER)) * test.error / math.log1p(SMALLEST_EFFECT)
    needed = max(studies * factor**2, MIN_PAIRS / workloads)
    return max(0, math.ceil(needed - studies))


def _time_ratio(a: MultiplierCell, b: MultiplierCell, pooled: ErrorSource | None) -> MultiplierEstimate | None:
    """Return the ratio of two time multipliers. Its error comes from the paired studies and from the envelope."""
    if a.time is None or b.time is None:
        return None
    bound = join_bounds((a.time.bound, invert_bound(b.time.bound)))
    differences = study_differences({a.workload: a.studies}, {b.workload: b.studies}, [a.workload])
    own = error_of_differences(differences, pooled) if len(differences) >= 2 else None
    envelope = error_of_mean([x - y for x, y in zip(a.envelope_deviations, b.envelope_deviations, strict=True)])
    errors = None if bound else combine_errors(own, envelope)
    return MultiplierEstimate(log=a.time.log - b.time.log, bound=bound, errors=errors)


def _compute_ratio(a: MultiplierCell, b: MultiplierCell) -> MultiplierEstimate | None:
    if a.compute is None or b.compute is None:
        return None
    bound = join_bounds((a.compute.bound, invert_bound(b.compute.bound)))
    return MultiplierEstimate(log=a.compute.log - b.compute.log, bound=bound)
