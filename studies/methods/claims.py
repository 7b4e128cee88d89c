"""Judge the papers' claims about the compared methods by the figures of the runs.

A claim is tested on both workloads together. This test was specified before the runs. The tests on single workloads are
post hoc and descriptive. They are reported because the variance between seeds is far larger on one of the workloads.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from harness.scoring.stats import MIN_PAIRS
from studies.methods.design import Claim, Design, Measure, Stage
from studies.methods.differences import (
    Difference,
    compare_by_flips,
    compare_by_t,
    correct_by_holm,
    count_both_missed,
    log_ratios,
    pool_log_ratios,
)
from studies.methods.results import Results

#: The verdicts on a claim. Details of a failure follow a colon.
VERDICTS = ("holds", "fails", "undecided", "not tested (a seed missed or broke)", "not finished", "not tried")
MEASURED: Mapping[Measure, str] = {"loss": "loss", "target": "examples to the target"}


@dataclass(frozen=True, kw_only=True)
class JudgedClaim:
    """A claim with its test and its verdict.

    Args:
        claim: the claim.
        stages: the stages on which the claim was tested.
        difference: result of the test, with p corrected over all claims that were judged together.
        verdict: one of `VERDICTS`.
    """

    claim: Claim
    stages: Sequence[Stage]
    difference: Difference
    verdict: str


def judge_claims(results: Results) -> list[JudgedClaim]:
    """Judge every claim on all its stages together."""
    design = results.design
    questions = [(claim, design.stages_of(claim)) for claim in design.claims]
    tested = []
    for claim, stages in questions:
        differences = pool_log_ratios(results, stages, claim.arm, claim.other, claim.measure)
        # The five pairs of one workload are too few for a significant sign-flip test.
        compare = compare_by_flips if len(differences) >= MIN_PAIRS else compare_by_t
        tested.append(compare(differences, len(questions), design))
    return _judge(results, questions, tested)


def judge_each_workload(results: Results) -> list[JudgedClaim]:
    """Judge every claim about full budgets on each workload separately."""
    design = results.design
    questions = [(claim, (stage,)) for claim in design.claims if not claim.small for stage in design.full_stages]
    tested = [_compare_on_stage(results, claim, stage, len(questions)) for claim, (stage,) in questions]
    return _judge(results, questions, tested)


def _compare_on_stage(results: Results, claim: Claim, stage: Stage, tests: int) -> Difference:
    """Compare two arms on one stage by Student's t. There is no test if a run missed the target."""
    differences = log_ratios(results, stage, claim.arm, claim.other, claim.measure)
    if count_both_missed(results, stage, claim.arm, claim.other, claim.measure):
        return Difference(n=len(differences))
    return compare_by_t(differences, tests, results.design)


def _judge(
    results: Results, questions: Sequence[tuple[Claim, Sequence[Stage]]], tested: Sequence[Difference]
) -> list[JudgedClaim]:
    judged = []
    for (claim, stages), test in zip(questions, correct_by_holm(tested, results.design), strict=True):
        missed = sum(count_both_missed(results, stage, claim.arm, claim.other, claim.measure) for stage in stages)
        difference = replace(test, both_missed=missed)
        complete = difference.n == results.design.ruleset.studies * len(stages)
        verdict = claim_verdict(claim, difference, results.design) if complete or not difference.n else "not finished"
        judged.append(JudgedClaim(claim=claim, stages=stages, difference=difference, verdict=verdict))
    return judged


def claim_verdict(claim: Claim, difference: Difference, design: Design) -> str:
    """Return the verdict of a test on a claim.

    A claim `better` fails if the arm is significantly worse, or if the whole interval is at or above 1 − `min_effect`.
    Otherwise it holds if the arm is significantly better. A claim `not worse` holds if the whole interval is at or
    below 1 + `min_effect` or the arm is significantly better, and fails if the arm is significantly worse. Intervals
    are ignored if both arms missed on a seed, since such pairs make them too narrow.
    """
    if not difference.n:
        return "not tried"
    if difference.ratio is None:
        return "not tested (a seed missed or broke)"
    is_better, is_worse = difference.verdict == "better", difference.verdict == "worse"
    low, high = (None, None) if difference.both_missed else (difference.low, difference.high)
    if claim.kind == "not worse":
        close = high is not None and high <= 1 + design.min_effect
        return "holds" if close or is_better else "fails" if is_worse else "undecided"
    if is_worse:
        return "fails"
    if low is not None and low >= 1 - design.min_effect:
        return "fails: no gain worth speaking of"
    return "holds" if is_better else "undecided"


# --- text ---------------------------------------------------------------------------------------------


def describe_on_one_workload(results: Results, judged: JudgedClaim) -> str:
    """Format a verdict, such as `lm-tiny 0.720 [0.675, 0.768] holds`, or the hits of both arms without a ratio."""
    claim, (stage,), difference = judged.claim, judged.stages, judged.difference
    if difference.ratio is None:
        runs = [results.fresh_runs(stage, arm, claim.measure).values() for arm in (claim.arm, claim.other)]
        hits = [sum(math.isfinite(run.value(claim.measure)) for run in of_arm) for of_arm in runs]
        return f"{stage.workload} {hits[0]} and {hits[1]} of {difference.n} hit" if difference.n else ""
    ends = f" [{difference.low:.3f}, {difference.high:.3f}]" if difference.low is not None else ""
    return f"{stage.workload} {difference.ratio:.3f}{ends} {judged.verdict}"


def describe_stages(claim: Claim, design: Design) -> str:
    """Return the name of the stage or stages on which a claim is tested."""
    return design.small_stage.title if claim.small else "both workloads"


def describe_claim(claim: Claim, design: Design) -> str:
    """Return the claim in words, with its measure if the claim is tested by both measures."""
    twice = any(other.says == claim.says and other.measure != claim.measure for other in design.claims)
    return claim.says + (f" (by {MEASURED[claim.measure]})" if twice else "")
