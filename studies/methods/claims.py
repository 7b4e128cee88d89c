"""What papers say of the methods that are compared, and what the figures say of that.

A claim is tried on both workloads together, as was fixed before any run. The same question asked of one workload alone
was added when all of these runs had been seen, since seeds vary far more on one than on the other; it is a description
beside the test.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import methods_design as design
from methods_design import Claim, Measure, Stage
from methods_tests import Difference, Results, both_missed, by_flips, by_t, corrected, log_ratios, pooled

from harness.scoring import stats

#: What may be said of a claim. More about a failure follows a colon.
VERDICTS = ("holds", "fails", "undecided", "not tested (a seed missed or broke)", "not finished", "not tried")
MEASURED: Mapping[Measure, str] = {"loss": "loss", "target": "examples to the target"}


@dataclass(frozen=True, kw_only=True)
class Judged:
    """A claim, its test, and what follows.

    Args:
        claim: what a paper says.
        stages: where it was tried.
        found: the difference, its p corrected over all claims that were judged with it.
        says: one of `VERDICTS`.
    """

    claim: Claim
    stages: Sequence[Stage]
    found: Difference
    says: str


def judged(results: Results) -> list[Judged]:
    """Every claim, on all that it is tried on together."""
    asked = [(claim, _stages(claim)) for claim in design.CLAIMS]
    tested = []
    for claim, stages in asked:
        differences = pooled(results, stages, claim.arm, claim.other, claim.measure)
        # One workload's five pairs can say nothing by flips.
        exact = len(differences) >= stats.MIN_PAIRS
        tested.append((by_flips if exact else by_t)(differences, len(asked)))
    return _judge(results, asked, tested)


def alone(results: Results) -> list[Judged]:
    """Every claim about both workloads, on each by itself."""
    asked = [(claim, (stage,)) for claim in design.CLAIMS if not claim.small for stage in design.FULL]
    tested = [_on_stage(results, claim, stage, len(asked)) for claim, (stage,) in asked]
    return _judge(results, asked, tested)


def _on_stage(results: Results, claim: Claim, stage: Stage, tests: int) -> Difference:
    """By Student's t; no test where a seed missed, on either side or on both."""
    pair = claim.arm, claim.other, claim.measure
    differences = log_ratios(results, stage, *pair)
    missed = both_missed(results, stage, *pair)
    return Difference(n=len(differences)) if missed else by_t(differences, tests)


def _judge(
    results: Results, asked: Sequence[tuple[Claim, Sequence[Stage]]], tested: Sequence[Difference]
) -> list[Judged]:
    said = []
    for (claim, stages), one in zip(asked, corrected(tested), strict=True):
        pair = claim.arm, claim.other, claim.measure
        missed = sum(both_missed(results, stage, *pair) for stage in stages)
        said.append(_say(claim, stages, replace(one, both_missed=missed)))
    return said


def _say(claim: Claim, stages: Sequence[Stage], found: Difference) -> Judged:
    complete = found.n == design.SEEDS * len(stages)
    says = verdict(claim, found) if complete or not found.n else "not finished"
    return Judged(claim=claim, stages=stages, found=found, says=says)


def verdict(claim: Claim, one: Difference) -> str:
    """What a test says of a claim.

    `better` holds when the arm is found better, unless the whole interval lies within the smallest ratio worth speaking
    of: then, and where it is found worse, it fails. `not worse` holds when the whole interval lies below such a ratio
    or the arm is found better, and fails where it is found worse. An interval that pairs of two misses have narrowed
    says nothing of how near two arms are.
    """
    if not one.n:
        return "not tried"
    if one.ratio is None:
        return "not tested (a seed missed or broke)"
    found, narrow = one.verdict, not one.both_missed
    if claim.kind == "not worse":
        close = narrow and one.high is not None and one.high <= 1 + design.WORTH
        return "holds" if close or found == "better" else "fails" if found == "worse" else "undecided"
    if found == "worse":
        return "fails"
    if narrow and one.low is not None and one.low >= 1 - design.WORTH:
        return "fails: no gain worth speaking of"
    return "holds" if found == "better" else "undecided"


def on_one(results: Results, one: Judged) -> str:
    """`lm-tiny 0.720 [0.675, 0.768] holds`, or how often the two hit where seeds missed."""
    claim, (stage,) = one.claim, one.stages
    if one.found.ratio is None:
        runs = [results.fresh(stage, arm, claim.measure).values() for arm in (claim.arm, claim.other)]
        hits = [sum(math.isfinite(figure.value(claim.measure)) for figure in found) for found in runs]
        return f"{stage.workload} {hits[0]} and {hits[1]} of {one.found.n} hit" if one.found.n else ""
    ends = f" [{one.found.low:.3f}, {one.found.high:.3f}]" if one.found.low is not None else ""
    return f"{stage.workload} {one.found.ratio:.3f}{ends} {one.says}"


def where(claim: Claim) -> str:
    return design.SMALL.title if claim.small else "both workloads"


def in_words(claim: Claim) -> str:
    """The claim, and by which measure where it is tried by both."""
    twice = any(c.says == claim.says and c.measure != claim.measure for c in design.CLAIMS)
    return claim.says + (f" (by {MEASURED[claim.measure]})" if twice else "")


def _stages(claim: Claim) -> Sequence[Stage]:
    return (design.SMALL,) if claim.small else design.FULL
