"""e-LOND over a series of candidates, and its state as plain data."""

from __future__ import annotations

import dataclasses
import itertools
import math

import msgspec
import pytest

from harness.errors import UsageError
from harness.scoring.sequential.series import (
    DISCOUNT_TOTAL,
    SeriesState,
    record_candidate,
    series_discount,
    series_level,
)
from harness.scoring.sequential.verdict import decide


def test_shares_fall_and_sum_to_one() -> None:
    shares = [series_discount(t) for t in range(1, 200_001)]
    assert all(a > b for a, b in itertools.pairwise(shares))
    # The rest of the sum lies between two integrals of 1 / (x ln² x), which is the derivative of -1 / ln x.
    rest = [1 / math.log(m) / DISCOUNT_TOTAL for m in (200_002, 200_001)]
    assert 0.99999 < math.fsum(shares) + rest[0] <= math.fsum(shares) + rest[1] <= 1.0


def test_levels_follow_lond() -> None:
    state = SeriesState(alpha=0.1)
    for t, kept in enumerate([False, True, False, True, True], start=1):
        assert series_level(state) == pytest.approx(0.1 * series_discount(t) * (state.kept + 1))
        state = record_candidate(state, kept=kept)
    assert state == SeriesState(alpha=0.1, tested=5, kept=3)


def test_a_state_is_plain_data() -> None:
    state = SeriesState(alpha=0.05, tested=7, kept=2)
    raw = msgspec.json.encode(state)
    assert msgspec.json.decode(raw) == {"alpha": 0.05, "tested": 7, "kept": 2}
    assert msgspec.json.decode(raw, type=SeriesState) == state
    with pytest.raises(dataclasses.FrozenInstanceError):
        state.kept = 3  # type: ignore[misc]


def test_a_gate_keeps_what_its_e_value_keeps() -> None:
    x = [0.1, 0.11, 0.09, 0.1, 0.12, 0.1, 0.11, 0.1, 0.09, 0.1, 0.1, 0.11]
    for tested in (0, 1, 5, 50):
        state = SeriesState(tested=tested)
        for n in range(1, len(x) + 1):
            verdict = decide(x[:n], alpha=series_level(state))
            assert (verdict.outcome == "better") == (verdict.e_better >= 1 / series_level(state))


def test_expected_false_discoveries_of_fair_bets() -> None:
    """Six no-op candidates whose e-value is 1/level with that probability, else 0: any kept with at most alpha.

    All 2^6 outcomes are enumerated with their probabilities; e-values of mean 1 cannot do worse than these.
    """

    def any_kept(state: SeriesState) -> float:
        if state.tested == 6:
            return float(state.kept > 0)
        level = series_level(state)
        kept, not_kept = (record_candidate(state, kept=k) for k in (True, False))
        return level * any_kept(kept) + (1 - level) * any_kept(not_kept)

    assert 0.03 < any_kept(SeriesState()) <= 0.05


def test_refuses() -> None:
    with pytest.raises(UsageError, match="kept 3 of 2 candidates") as caught:
        SeriesState(tested=2, kept=3)
    assert caught.value.fix
    with pytest.raises(UsageError, match="alpha"):
        SeriesState(alpha=0.0)
    with pytest.raises(UsageError, match="no candidate 0"):
        series_discount(0)
