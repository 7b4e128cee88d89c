"""The verdict of a gate on paired differences, valid after every pair."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from harness.errors import UsageError
from harness.scoring.sample_size import MIN_EFFECT
from harness.scoring.sequential.confidence import CentreInterval, confidence_sequence
from harness.scoring.sequential.differences import check_differences, check_gate
from harness.scoring.sequential.evidence import log_evidence
from harness.scoring.sequential.scale import past_scales
from harness.scoring.stats import hodges_lehmann

GateOutcome: TypeAlias = Literal["better", "worse", "equivalent", "identical", "undecided"]

#: Default error level of a gate: the probability of a false outcome `better` or `worse`.
ALPHA = 0.05
#: Log of the largest e-value in a verdict. Larger e-values are clipped, because exp(x) overflows at x = 710.
MAX_LOG_E_VALUE = 700.0


@dataclass(frozen=True, slots=True, kw_only=True)
class GateVerdict:
    """The verdict of a gate on A, compared with B.

    Args:
        outcome: `better`, `worse`, `equivalent`, `identical` or `undecided`.
        pairs: number of pairs.
        ties: number of pairs whose difference is 0.
        broken_a: number of pairs in which only A broke down or missed.
        broken_b: number of pairs in which only B broke down or missed.
        estimate: Hodges–Lehmann estimate of the log multiplier of A over B; ±inf if A or B broke down very often.
        low: lower end of the confidence sequence for the centre of the differences; may be -inf.
        high: upper end of the confidence sequence; may be inf. `low > high` means that the interval is empty.
        e_better: e-value for `better`, the largest wealth that the bet on a centre above 0 had after any pair. The
            outcome `better` requires at least 1/alpha. Without an effect, the probability of such a large e-value is at
            most 1/e_better.
        e_worse: e-value for `worse`, from the bet on a centre below 0.
        alpha: probability of a false outcome `better` or `worse`.
        min_effect: smallest effect that is relevant, as a log ratio.
        note: a remark for the reader; may be empty.
    """

    outcome: GateOutcome
    pairs: int
    ties: int
    broken_a: int
    broken_b: int
    estimate: float
    low: float
    high: float
    e_better: float
    e_worse: float
    alpha: float
    min_effect: float
    note: str = ""

    @property
    def decided(self) -> bool:
        """Whether the gate has reached an outcome and may therefore stop."""
        return self.outcome != "undecided"


def decide(
    differences: Sequence[float], *, alpha: float = ALPHA, min_effect: float = MIN_EFFECT, identical: bool = False
) -> GateVerdict:
    """Return the verdict of a gate after all given pairs.

    - `better`: the confidence sequence is above 0, and the estimate is at least `min_effect`.
    - `worse`: the confidence sequence is below 0, and the estimate is at most −`min_effect`.
    - `equivalent`: the confidence sequence is inside (−min_effect, min_effect).
    - `identical`: the argument `identical` is True, and every difference is 0.
    - `undecided`: none of these conditions holds.

    Suppose that every difference is symmetric about 0, given the previous pairs. The probability that `better` or
    `worse` is ever returned is then at most `alpha`. The verdict depends only on the pairs and their order.

    Args:
        differences: log multiplier of A over B for each pair, in the order of the pairs. A positive value means that A
            is better. `pair_log_multipliers` gives the values for runs that broke down or missed.
        alpha: probability of a false outcome `better` or `worse`.
        min_effect: smallest effect that is relevant, as a log ratio. With 0, no gate is `equivalent`.
        identical: whether metrics and weights of A and B are equal in every pair.

    Raises:
        UsageError: there are no differences, a difference is NaN, alpha or min_effect is out of range, or `identical`
            is True and a difference is not 0.

    >>> decide([0.05, 0.07, 0.04, 0.06, 0.05, 0.06]).outcome, decide([0.01] * 6).outcome
    ('better', 'equivalent')
    """
    check_differences(differences)
    check_gate(alpha, min_effect)
    if identical and any(differences):
        raise UsageError(
            "the records are flagged as identical, but a pair differs",
            fix="compare the records again, or omit `identical`",
        )
    scales = past_scales(differences)
    interval = confidence_sequence(differences, alpha=alpha, scales=scales)
    estimate = hodges_lehmann(differences)
    evidence = log_evidence(differences, centre=(-min_effect, 0.0, min_effect), scales=scales)
    # The largest log e-values at the three centres.
    better_peaks, worse_peaks = evidence.better.max(axis=-1), evidence.worse.max(axis=-1)
    below, above = (tuple(bool(peak >= -math.log(alpha)) for peak in side) for side in (better_peaks, worse_peaks))
    (_, better_at_0, _), (_, worse_at_0, _) = better_peaks, worse_peaks
    return GateVerdict(
        outcome="identical" if identical else judge_position(below, above, estimate, min_effect),
        pairs=len(differences),
        ties=sum(value == 0 for value in differences),
        broken_a=sum(value == -math.inf for value in differences),
        broken_b=sum(value == math.inf for value in differences),
        estimate=estimate,
        low=interval.low,
        high=interval.high,
        e_better=math.exp(min(MAX_LOG_E_VALUE, float(better_at_0))),
        e_worse=math.exp(min(MAX_LOG_E_VALUE, float(worse_at_0))),
        alpha=alpha,
        min_effect=min_effect,
        note=_explain(interval, estimate, min_effect),
    )


def judge_position(below: Sequence[bool], above: Sequence[bool], estimate: float, min_effect: float) -> GateOutcome:
    """Return the outcome from the position of a confidence sequence and an estimate.

    Args:
        below: whether each of −min_effect, 0 and min_effect is below the confidence sequence.
        above: whether each of −min_effect, 0 and min_effect is above the confidence sequence. If the confidence
            sequence is empty, a value may be below and above it at the same time.
        estimate: estimated log multiplier of A over B.
        min_effect: smallest effect that is relevant, as a log ratio.

    >>> judge_position((True, True, False), (False, False, False), 0.04, 0.03)
    'better'
    >>> judge_position((True, True, False), (False, False, True), 0.01, 0.03)
    'equivalent'
    """
    lower_is_below, zero_is_below, upper_is_below = below
    lower_is_above, zero_is_above, upper_is_above = above
    if zero_is_below and not zero_is_above and estimate >= min_effect:
        return "better"
    if zero_is_above and not zero_is_below and estimate <= -min_effect:
        return "worse"
    if lower_is_below and upper_is_above and not (lower_is_above or upper_is_below):
        return "equivalent"
    return "undecided"


def _explain(interval: CentreInterval, estimate: float, min_effect: float) -> str:
    if interval.empty:
        return "early and late pairs differ, so no centre is consistent with all pairs; start again with new seeds"
    if math.isinf(estimate):
        return f"{'B' if estimate > 0 else 'A'} broke down so often that the estimate is infinite"
    if math.isinf(interval.low) != math.isinf(interval.high):
        return f"the interval has no {'upper' if math.isinf(interval.high) else 'lower'} end, because runs broke down"
    if (interval.low > 0 or interval.high < 0) and abs(estimate) < min_effect:
        return "there is an effect, but the estimate is below the smallest relevant effect"
    return ""
