"""Verdicts of a gate: what decides, what does not, and what a reader is told."""

from __future__ import annotations

import itertools
import math

import msgspec
import numpy as np
import pytest

from harness.errors import UsageError
from harness.scoring.sample_size import MIN_EFFECT
from harness.scoring.sequential import verdict
from harness.scoring.sequential.batch import run_gates
from harness.scoring.sequential.verdict import decide, judge_position
from harness.scoring.stats import hodges_lehmann

INF = math.inf
CLEAR = [0.05, 0.07, 0.04, 0.06, 0.05, 0.06]


def test_better_and_worse_mirror() -> None:
    better, worse = decide(CLEAR), decide([-d for d in CLEAR])
    assert (better.outcome, worse.outcome) == ("better", "worse")
    assert better.estimate == -worse.estimate == hodges_lehmann(CLEAR)
    assert (better.low, better.high) == (-worse.high, -worse.low)
    assert better.e_better == worse.e_worse >= 1 / better.alpha
    assert better.decided
    assert better.pairs == 6


def test_nothing_is_decided_under_six_pairs() -> None:
    for n in range(1, 6):
        result = decide(CLEAR[:n])
        assert result.outcome == "undecided"
        assert not result.decided
        assert (result.low, result.high) == (-INF, INF)


def test_an_effect_below_the_smallest_is_not_better() -> None:
    result = decide([0.020, 0.022, 0.018, 0.021, 0.019, 0.035, 0.020])
    assert result.low > 0
    assert result.outcome in ("undecided", "equivalent")
    assert "below the smallest relevant effect" in result.note
    assert decide([0.020, 0.022, 0.018, 0.021, 0.019, 0.035, 0.020], min_effect=0.0).outcome == "better"


def test_estimate_alone_does_not_decide() -> None:
    wide = [0.5, -0.4, 0.9, -0.3, 0.6, 0.2, -0.1]
    assert decide(wide).estimate > MIN_EFFECT
    assert decide(wide).outcome == "undecided"


@pytest.mark.parametrize(
    ("value", "outcome"),
    [(0.0, "equivalent"), (0.01, "equivalent"), (-0.029, "equivalent"), (MIN_EFFECT, "better"), (-0.05, "worse")],
)
def test_constant_differences(value: float, outcome: str) -> None:
    assert decide([value] * 6).outcome == outcome
    assert decide([value] * 5).outcome == "undecided"


def test_almost_constant_differences() -> None:
    x = (0.05 + 1e-17 * np.random.default_rng(0).standard_normal(7)).tolist()
    assert decide(x).outcome == "better"
    assert decide([0.05 + 1e-12 * i for i in range(7)]).outcome == "better"


def test_identical() -> None:
    assert decide([0.0], identical=True).outcome == "identical"
    assert decide([0.0] * 10, identical=True).outcome == "identical"
    with pytest.raises(UsageError, match="flagged as identical") as caught:
        decide([0.0, 1e-9], identical=True)
    assert caught.value.fix


def test_equivalent_within_noise_below_the_smallest_effect() -> None:
    x = np.random.default_rng(1).normal(0.0, 0.005, 12).tolist()
    assert decide(x).outcome == "equivalent"
    assert decide(x, min_effect=0.0).outcome == "undecided"


def test_breaks_count_against_their_owner() -> None:
    result = decide([-INF] * 6)
    assert result.outcome == "worse"
    assert result.estimate == -INF
    assert "A broke" in result.note
    assert (result.broken_a, result.broken_b, result.ties) == (6, 0, 0)
    assert decide([INF] * 6).outcome == "better"
    assert decide([0.0] * 6).ties == 6
    few = decide([0.1, 0.12, 0.1, INF, 0.11, 0.13, 0.1, 0.12])
    assert few.outcome == "better"
    assert math.isfinite(few.estimate)
    assert "no upper end" in few.note
    assert few.broken_b == 1


def test_breaks_of_one_side_overcome_a_small_gain() -> None:
    """A is better where it ends, but breaks in every second pair."""
    x = [0.05, -INF] * 20
    assert decide(x).outcome != "better"


def test_early_and_late_pairs_that_differ() -> None:
    x = [5.0, 5.1, 4.9, 5.0, 5.1, 4.9, 5.0] + [-5.0, -5.1, -4.9] * 7
    result = decide(x)
    assert result.outcome == "undecided"
    assert result.low > result.high
    assert "early and late" in result.note


def test_an_empty_sequence_above_zero_is_still_better() -> None:
    result = decide([9.0, 9.1, 8.9, 9.0, 9.1, 8.9, 9.0] + [5.0, 5.1, 4.9] * 7)
    assert result.low > result.high > 0
    assert result.outcome == "better"


def test_evidence_once_reached_stays() -> None:
    """The verdict rests on the highest evidence so far, so a decided gate is not undone by looking later."""
    x = [1.0, 1.2, 0.9, 1.1, 1.0, 1.3, 0.4, -0.2, 0.6]
    evidence = [decide(x[:n]).e_better for n in range(1, len(x) + 1)]
    assert all(a <= b for a, b in itertools.pairwise(evidence))
    assert decide(x[:6]).outcome == decide(x).outcome == "better"


def test_stricter_levels_need_more_pairs() -> None:
    x = [0.1, 0.11, 0.09, 0.1, 0.12, 0.1, 0.11, 0.1, 0.09, 0.1, 0.1, 0.11]
    pairs = [next(n for n in range(1, 13) if decide(x[:n], alpha=a).decided) for a in (0.2, 0.05, 0.01, 0.001)]
    assert pairs == sorted(pairs)
    assert pairs[0] < pairs[-1]


def test_evidence_beyond_floats_is_written_as_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verdict, "MAX_LOG_E_VALUE", 2.0)
    assert decide(CLEAR).e_better == math.exp(2.0)
    assert decide(CLEAR).outcome == "better"


def test_is_plain_data() -> None:
    assert msgspec.json.decode(msgspec.json.encode(decide(CLEAR)))["outcome"] == "better"


def test_errors_over_all_sign_patterns() -> None:
    """Ten pairs of any sizes: a false verdict at any look in a share alpha of the 1024 patterns at most."""
    magnitudes = np.array([0.3, 1.0, 0.2, 2.0, 0.7, 0.1, 1.5, 0.4, INF, 1.1])
    patterns = np.array(list(itertools.product((-1.0, 1.0), repeat=10))) * magnitudes
    assert 0 < run_gates(patterns, alpha=0.1, min_effect=0.0).rate("better", "worse") <= 0.1


T, F = True, False


@pytest.mark.parametrize(
    ("below", "above", "estimate", "outcome"),
    [
        ((T, T, F), (F, F, F), 0.05, "better"),
        ((T, T, F), (F, F, F), 0.03, "better"),
        ((T, T, F), (F, F, F), 0.02, "undecided"),
        ((F, F, F), (F, T, T), -0.05, "worse"),
        ((F, F, F), (F, T, T), -0.02, "undecided"),
        ((T, F, F), (F, F, F), 0.05, "undecided"),
        ((F, F, F), (F, F, F), 0.05, "undecided"),
        ((T, F, F), (F, F, T), 0.0, "equivalent"),
        ((T, T, F), (F, F, T), 0.02, "equivalent"),
        ((T, T, T), (F, F, F), INF, "better"),
        ((T, T, F), (F, T, T), 0.01, "equivalent"),
        ((T, T, T), (F, T, T), 0.05, "undecided"),
        ((T, T, T), (T, T, T), 0.0, "undecided"),
    ],
)
def test_rules(below: tuple[bool, ...], above: tuple[bool, ...], estimate: float, outcome: str) -> None:
    assert judge_position(below, above, estimate, 0.03) == outcome


def test_a_tie_at_the_end_of_the_sequence() -> None:
    """The sequence ends at 0, where the first pair's sign turns, and 0 itself is excluded."""
    x = [0.0, *[1.0] * 9]
    assert decide(x).low == 0.0
    assert decide(x).outcome == run_gates([x]).outcomes[0] == "better"


@pytest.mark.parametrize(
    ("values", "options", "message"),
    [
        ([], {}, "no pair"),
        ([0.1, math.nan], {}, "NaN"),
        ([0.1], {"alpha": 0.0}, "alpha"),
        ([0.1], {"alpha": math.nan}, "alpha"),
        ([0.1], {"min_effect": -0.1}, "smallest effect"),
        ([0.1], {"min_effect": INF}, "smallest effect"),
    ],
)
def test_refuses(values: list[float], options: dict[str, float], message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        decide(values, **options)  # type: ignore[arg-type]
    assert caught.value.fix
