"""The verdict of a gate on paired differences, valid at whatever pair it is asked for."""

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

#: Error of a gate, both sides together.
ALPHA = 0.05
#: Log of the largest e-value in a verdict; larger ones are cut to it, since a float ends at about exp(709).
MAX_LOG_E_VALUE = 700.0


@dataclass(frozen=True, slots=True, kw_only=True)
class GateVerdict:
    """What the pairs say of A against B.

    Args:
        outcome: `better`, `worse`, `equivalent`, `identical` or `undecided`.
        pairs: pairs seen.
        ties: of them, those without a difference.
        broken_a, broken_b: pairs in which A alone, or B alone, broke or missed.
        estimate: Hodges–Lehmann estimate of the log multiplier of A over B; ±inf where breaks prevail.
        low, high: confidence sequence of its centre; ±inf where a side is open, low > high where it is empty.
        e_better, e_worse: the highest value that the evidence for either side has reached, against a centre of 0;
            `better` and `worse` need 1/alpha, and 1/e bounds the chance of so much evidence under no effect.
        alpha: error of `better` and `worse` together.
        min_effect: log ratio from which an effect counts.
        note: a remark for the reader, or an empty string.
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
        """Whether the gate may stop."""
        return self.outcome != "undecided"


def decide(
    differences: Sequence[float], *, alpha: float = ALPHA, min_effect: float = MIN_EFFECT, identical: bool = False
) -> GateVerdict:
    """The verdict after all these pairs.

    - `better`: the confidence sequence lies above 0 and the estimate is at least `min_effect`; `worse`: mirrored.
    - `equivalent`: the sequence lies inside (−min_effect, min_effect).
    - `identical`: the caller flags the records as identical, and no pair differs.
    - `undecided`: anything else.

    If every difference is symmetric about 0 given the pairs before it, `better` or `worse` is returned at any look with
    probability `alpha` at most. The verdict depends on the pairs and their order, not on when it was asked for.

    Args:
        differences: log multiplier of A over B, one per pair, in the order of the pairs; positive: A is better; +inf
            where B alone broke or missed, −inf where A alone did, 0 where both did (`pair_log_multipliers`).
        alpha: error of `better` and `worse` together.
        min_effect: log ratio from which an effect counts; with 0 nothing is `equivalent`.
        identical: whether curves and weights of A and B are the same in every pair.

    Raises:
        UsageError: no differences, NaN, an unusable alpha or min_effect, or identical records that differ.

    >>> decide([0.05, 0.07, 0.04, 0.06, 0.05, 0.06]).outcome, decide([0.01] * 6).outcome
    ('better', 'equivalent')
    """
    check_differences(differences)
    check_gate(alpha, min_effect)
    if identical and any(differences):
        raise UsageError(
            "the records are flagged as identical, but a pair differs",
            fix="compare the records again, or leave `identical` out",
        )
    scales = past_scales(differences)
    interval = confidence_sequence(differences, alpha=alpha, scales=scales)
    estimate = hodges_lehmann(differences)
    evidence = log_evidence(differences, centre=(-min_effect, 0.0, min_effect), scales=scales)
    peaks = evidence.better.max(axis=-1), evidence.worse.max(axis=-1)
    below, above = (tuple(bool(peak >= -math.log(alpha)) for peak in side) for side in peaks)
    return GateVerdict(
        outcome="identical" if identical else judge_position(below, above, estimate, min_effect),
        pairs=len(differences),
        ties=sum(value == 0 for value in differences),
        broken_a=sum(value == -math.inf for value in differences),
        broken_b=sum(value == math.inf for value in differences),
        estimate=estimate,
        low=interval.low,
        high=interval.high,
        e_better=math.exp(min(MAX_LOG_E_VALUE, float(peaks[0][1]))),
        e_worse=math.exp(min(MAX_LOG_E_VALUE, float(peaks[1][1]))),
        alpha=alpha,
        min_effect=min_effect,
        note=_explain(interval, estimate, min_effect),
    )


def judge_position(below: Sequence[bool], above: Sequence[bool], estimate: float, min_effect: float) -> GateOutcome:
    """`better`, `worse`, `equivalent` or `undecided`, from where a confidence sequence lies and an estimate.

    Three centres say where it lies, since the evidence falls in the centre.

    Args:
        below: whether each of −min_effect, 0 and min_effect lies below the sequence.
        above: whether each lies above it; one that lies on both sides is excluded from both, the sequence being empty.
        estimate, min_effect: log ratios.

    >>> judge_position((True, True, False), (False, False, False), 0.04, 0.03)
    'better'
    >>> judge_position((True, True, False), (False, False, True), 0.01, 0.03)
    'equivalent'
    """
    if below[1] and not above[1] and estimate >= min_effect:
        return "better"
    if above[1] and not below[1] and estimate <= -min_effect:
        return "worse"
    if below[0] and above[2] and not (above[0] or below[2]):
        return "equivalent"
    return "undecided"


def _explain(interval: CentreInterval, estimate: float, min_effect: float) -> str:
    if interval.empty:
        return "no centre fits all pairs: early and late pairs differ, so start again with new seeds"
    if math.isinf(estimate):
        return f"{'B' if estimate > 0 else 'A'} broke so often that the estimate is infinite"
    if math.isinf(interval.low) != math.isinf(interval.high):
        return f"the interval is open {'above' if math.isinf(interval.high) else 'below'}, because of breaks"
    if (interval.low > 0 or interval.high < 0) and abs(estimate) < min_effect:
        return "there is an effect, but the estimate is below the smallest effect that counts"
    return ""
