"""Many candidates one after another: the false discovery rate of what is kept, controlled online by e-LOND.

Candidate t is gated at the level α_t = α · γ_t · (R + 1), R being the candidates kept before it, and is kept if its
gate says `better`. Whatever the candidates share, the expected share of no-op edits among those kept is α at most at
any time; if all are no-ops, any is kept with probability α at most. The levels fall slowly: the hundredth candidate
without a keep needs 4,500 times the evidence of a gate alone, which is twelve unanimous pairs more.

A kept candidate is then confirmed: `decide` at α on seeds that no candidate has seen. Its estimate comes from the
confirmation alone, since candidates are kept for looking good.

Source: Online Multiple Testing with E-values, Xu and Ramdas 2023, arXiv 2311.06412 (e-LOND)
Source: On Online Control of False Discovery Rate, Javanmard and Montanari 2015, arXiv 1502.06197 (LOND)
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from harness.errors import UsageError
from harness.scoring.sequential.differences import check_gate
from harness.scoring.sequential.verdict import ALPHA

#: Σ 1 / ((t + 1) ln²(t + 1)) over t ≥ 1, rounded up, so that the shares γ sum to 1 at most.
DISCOUNT_TOTAL = 2.10975


@dataclass(frozen=True, slots=True, kw_only=True)
class SeriesState:
    """What a series must remember, plain numbers.

    Args:
        alpha: bound of the false discovery rate.
        tested: candidates gated so far.
        kept: of them, those kept.

    Raises:
        UsageError: alpha outside (0, 1), or counts that cannot be.
    """

    alpha: float = ALPHA
    tested: int = 0
    kept: int = 0

    def __post_init__(self) -> None:
        check_gate(self.alpha, 0.0)
        if not 0 <= self.kept <= self.tested:
            raise UsageError(
                f"a series with {self.kept} candidates kept of {self.tested}",
                fix="restore the series file, or start a new series",
            )


def series_discount(t: int) -> float:
    """γ_t, the share of α that candidate t gets: 1 / (`DISCOUNT_TOTAL` · (t + 1) · ln²(t + 1)).

    Raises:
        UsageError: t below 1.

    >>> round(series_discount(1), 4), round(series_discount(2), 4), round(series_discount(100), 6)
    (0.4933, 0.1309, 0.00022)
    """
    if t < 1:
        raise UsageError(f"there is no candidate {t}", fix="count candidates from 1")
    return 1.0 / (DISCOUNT_TOTAL * (t + 1) * math.log(t + 1) ** 2)


def series_level(state: SeriesState) -> float:
    """α_t, the level at which the next candidate is to be gated: `decide(…, alpha=series_level(state))`.

    >>> round(series_level(SeriesState()), 5), round(series_level(SeriesState(tested=4, kept=1)), 5)
    (0.02466, 0.00246)
    """
    return state.alpha * series_discount(state.tested + 1) * (state.kept + 1)


def record_candidate(state: SeriesState, *, kept: bool) -> SeriesState:
    """The series after the next candidate.

    A gate that was abandoned counts as tested and not kept; leaving it out would let a candidate be tried until it
    passes.

    Args:
        state: before it.
        kept: whether its gate, at `series_level(state)`, said `better`.

    >>> record_candidate(SeriesState(tested=4, kept=1), kept=True)
    SeriesState(alpha=0.05, tested=5, kept=2)
    """
    return replace(state, tested=state.tested + 1, kept=state.kept + kept)


def exceeds_series_level(state: SeriesState, e_value: float) -> bool:
    """Whether an e-value from elsewhere lets the next candidate be kept: e ≥ 1/α_t.

    For gates the verdict says the same and more: `decide` at `series_level(state)` needs `e_better` ≥ 1/α_t, and the
    smallest effect.

    Args:
        e_value: of "the candidate is not better": mean 1 at most if that is true.

    Raises:
        UsageError: an e-value that is negative or NaN.
    """
    if not e_value >= 0:
        raise UsageError(f"an e-value is {e_value!r}", fix="give a non-negative number")
    return e_value >= 1.0 / series_level(state)
