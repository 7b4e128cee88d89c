"""Judge claims of papers about the compared methods, by the results of the runs.

A stage is one workload at one budget. A claim about full budgets is tested on both workloads together, and a claim
about the small budget on one workload. These tests were specified before the runs.

Claims about full budgets were also tested on single workloads. These additional tests are post hoc and descriptive.
They are reported because the noisy pairs of one workload may hide a clear difference on the other.
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

#: The verdicts on a claim. `fails` may be followed by a colon and the reason.
VERDICTS = ("holds", "fails", "undecided", "not tested (a run missed or broke)", "not finished", "not tried")
#: The name of each measure on the page.
MEASURE_NAMES: Mapping[Measure, str] = {"loss": "loss", "target": "examples to the target"}


@dataclass(frozen=True, kw_only=True)
class JudgedClaim:
    """A claim with its test and its verdict.

    Args:
        claim: the claim.
        stages: the stages on which the claim was tested.
        difference: result of the test. Its p value is corrected for all claims that were judged together.
        verdict: one of `VERDICTS`.
    """

    claim: Claim
    stages: Sequence[Stage]
    difference: Difference
    verdict: str


def judge_claims(results: Results) -> list[JudgedClaim]:
    """Judge every claim by one test on all its stages together."""
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
    """Compare the arms of a claim on one stage by Student's t test. If a run missed or broke, there is no test.

    Args:
        results: the results of the study.
        claim: the claim, which names the two arms.
        stage: the stage.
        tests: number of tests over which the interval is corrected.
    """
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

    The first rule that applies gives the verdict. A ratio below 1 is in favour of the arm. For the kind `better`:

    1. The claim fails if the arm is significantly worse.
    2. It fails if the whole interval of the ratio is at or above 1 − `min_effect`: the gain is too small.
    3. It holds if the arm is significantly better.

    For the kind `not worse`:

    1. The claim holds if the whole interval of the ratio is at or below 1 + `min_effect`.
    2. It holds if the arm is significantly better.
    3. It fails if the arm is significantly worse.

    If no rule applies, the claim is undecided.

    If both arms missed on a seed, the interval is ignored, because such pairs make the interval too narrow.
    """
    if not difference.n:
        return "not tried"
    if difference.ratio is None:
        return "not tested (a run missed or broke)"
    is_better, is_worse = difference.verdict == "better", difference.verdict == "worse"
    low, high = (None, None) if difference.both_missed else (difference.low, difference.high)
    if claim.kind == "not worse":
        close = high is not None and high <= 1 + design.min_effect
        return "holds" if close or is_better else "fails" if is_worse else "undecided"
    if is_worse:
        return "fails"
    if low is not None and low >= 1 - design.min_effect:
        return f"fails: gain of at most {design.min_effect:.0%}"
    return "holds" if is_better else "undecided"


# --- text ---------------------------------------------------------------------------------------------


def describe_on_one_workload(results: Results, judged: JudgedClaim) -> str:
    """Format a verdict, such as `lm-tiny 0.720 [0.675, 0.768] holds`. Without a ratio, format the numbers of hits."""
    claim, (stage,), difference = judged.claim, judged.stages, judged.difference
    if difference.ratio is None:
        runs = [results.fresh_runs(stage, arm, claim.measure).values() for arm in (claim.arm, claim.other)]
        hits = [sum(math.isfinite(run.value(claim.measure)) for run in of_arm) for of_arm in runs]
        counts = [f"`{arm}` {count}/{difference.n}" for arm, count in zip((claim.arm, claim.other), hits, strict=True)]
        return f"{stage.workload} hits: {', '.join(counts)}" if difference.n else ""
    interval = f" [{difference.low:.3f}, {difference.high:.3f}]" if difference.low is not None else ""
    return f"{stage.workload} {difference.ratio:.3f}{interval} {judged.verdict}"


def describe_stages(claim: Claim, design: Design) -> str:
    """Return the name of the stage or stages on which a claim is tested."""
    return design.small_stage.title if claim.small else "both workloads"


def describe_claim(claim: Claim, design: Design) -> str:
    """Return the text of the claim, with the measure if the same claim is tested by both measures."""
    is_tested_twice = any(other.says == claim.says and other.measure != claim.measure for other in design.claims)
    return claim.says + (f" (by {MEASURE_NAMES[claim.measure]})" if is_tested_twice else "")
