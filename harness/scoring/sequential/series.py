"""Controls the false discovery rate over a series of candidates with the online procedure e-LOND.

Candidate t is tested by a gate at the level α_t = α · γ_t · (R + 1):

- α is the bound of the false discovery rate. This rate is the expected fraction of candidates without an effect among
  the kept candidates.
- γ_t is a discount (`series_discount`).
- R is the number of candidates that were kept before candidate t. A candidate is kept if the outcome of its gate is
  `better`.

At any time, the false discovery rate is at most α, for any dependence between the candidates. If no candidate has an
effect, the probability that any candidate is kept is at most α.

If none of the first 99 candidates is kept, candidate 100 needs 4,500 times the evidence of a single gate. However, if
the differences of all pairs have the same sign, twelve more pairs give this evidence.

A kept candidate is tested a second time, by `decide` at level α on seeds that no candidate has used. This test is
called the confirmation. The candidate's effect is estimated from the confirmation only. The estimate of the first gate
is biased, because this estimate decided whether the candidate was kept.

Source: Online Multiple Testing with E-values, Xu and Ramdas 2023, arXiv 2311.06412 (e-LOND)
Source: On Online Control of False Discovery Rate, Javanmard and Montanari 2015, arXiv 1502.06197 (LOND)
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from harness.errors import UsageError
from harness.scoring.sequential.differences import check_gate
from harness.scoring.sequential.verdict import ALPHA

#: Sum of 1 / ((t + 1) ln²(t + 1)) over t ≥ 1. The sum is rounded up, so that the sum of the discounts is at most 1.
DISCOUNT_TOTAL = 2.10975


@dataclass(frozen=True, slots=True, kw_only=True)
class SeriesState:
    """The state of a series of candidates.

    Args:
        alpha: bound of the false discovery rate.
        tested: number of candidates tested so far.
        kept: number of candidates kept so far.

    Raises:
        UsageError: alpha is outside (0, 1), or the counts are negative or inconsistent.
    """

    alpha: float = ALPHA
    tested: int = 0
    kept: int = 0

    def __post_init__(self) -> None:
        check_gate(self.alpha, 0.0)
        if not 0 <= self.kept <= self.tested:
            raise UsageError(
                f"a series cannot have kept {self.kept} of {self.tested} candidates",
                fix="restore the series file, or start a new series",
            )


def series_discount(t: int) -> float:
    """Return γ_t = 1 / (`DISCOUNT_TOTAL` · (t + 1) · ln²(t + 1)), the fraction of α for candidate t.

    Args:
        t: number of the candidate, from 1.

    Raises:
        UsageError: t is below 1.

    >>> round(series_discount(1), 4), round(series_discount(2), 4), round(series_discount(100), 6)
    (0.4933, 0.1309, 0.00022)
    """
    if t < 1:
        raise UsageError(f"there is no candidate {t}", fix="count candidates from 1")
    return 1.0 / (DISCOUNT_TOTAL * (t + 1) * math.log(t + 1) ** 2)


def series_level(state: SeriesState) -> float:
    """Return α_t, the error level for the gate of the next candidate (argument `alpha` of `decide`).

    >>> round(series_level(SeriesState()), 5), round(series_level(SeriesState(tested=4, kept=1)), 5)
    (0.02466, 0.00246)
    """
    return state.alpha * series_discount(state.tested + 1) * (state.kept + 1)


def record_candidate(state: SeriesState, *, kept: bool) -> SeriesState:
    """Return the state of a series after its next candidate.

    A candidate whose gate was abandoned counts as tested and not kept. If it did not count, it could be tested again
    and again until it is kept.

    Args:
        state: state before the candidate.
        kept: whether the outcome of the gate at `series_level(state)` was `better`.

    >>> record_candidate(SeriesState(tested=4, kept=1), kept=True)
    SeriesState(alpha=0.05, tested=5, kept=2)
    """
    return replace(state, tested=state.tested + 1, kept=state.kept + kept)
