"""The e-process: exact under every symmetric law, by enumerating all sign patterns; and what its formula promises."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.errors import UsageError
from harness.scoring.sequential import evidence
from harness.scoring.sequential.evidence import fewest_deciding_pairs, log_evidence, log_factors, mix_bets, scale_scores

INF = math.inf
sizes = st.lists(st.one_of(st.floats(0, 1e3), st.just(INF), st.integers(0, 2).map(float)), min_size=1, max_size=8)
numbers = st.lists(st.floats(-1e3, 1e3, allow_subnormal=False), min_size=1, max_size=12)


def flipped(magnitudes: list[float], centre: float = 0.0) -> Any:
    """All sign patterns of the distances from a centre: (2^n, n)."""
    signs = np.array(list(itertools.product((-1.0, 1.0), repeat=len(magnitudes))))
    return centre + signs * np.array(magnitudes)


@settings(max_examples=60, deadline=None)
@given(sizes, st.sampled_from([0.0, 0.25, -3.0]))
def test_mean_over_all_sign_patterns_is_the_stake(magnitudes: list[float], centre: float) -> None:
    """Conditional on any sizes the signs are fair coins: the mean of each half over the 2^n patterns stays ½."""
    result = log_evidence(flipped(magnitudes, centre), centre=centre)
    for half in result:
        assert np.exp(half).mean(axis=0) == pytest.approx(np.full(len(magnitudes), 0.5), rel=1e-9)


@settings(max_examples=30, deadline=None)
@given(sizes, st.floats(0.6, 30.0))
def test_stopping_early_gains_nothing(magnitudes: list[float], threshold: float) -> None:
    """At the first pair at which either half reaches a threshold, else at the last, the mean evidence is still 1."""
    result = log_evidence(flipped(magnitudes))
    total = np.exp(result.better) + np.exp(result.worse)
    ended = np.maximum(np.exp(result.better), np.exp(result.worse)) >= threshold
    at = np.where(ended.any(axis=1), ended.argmax(axis=1), len(magnitudes) - 1)
    assert total[np.arange(len(total)), at].mean() == pytest.approx(1.0, rel=1e-9)


@pytest.mark.parametrize("alpha", [0.05, 0.1, 0.3])
def test_errors_counted_exactly(alpha: float) -> None:
    """Of the 4096 patterns of one set of sizes at most a share alpha ever reaches 1/alpha, whatever the sizes."""
    rng = np.random.default_rng(3)
    for magnitudes in (np.ones(12), rng.exponential(size=12), rng.standard_cauchy(12), 2.0 ** np.arange(12)):
        result = log_evidence(flipped(np.abs(magnitudes).tolist()))
        reached = np.maximum(result.better.max(axis=1), result.worse.max(axis=1)) >= -math.log(alpha)
        assert reached.mean() <= alpha


def test_factor_is_the_likelihood_ratio_of_a_sign(monkeypatch: pytest.MonkeyPatch) -> None:
    """Normal law with mean δ and deviation 1: P(+ | size) over ½, from scipy's densities."""
    monkeypatch.setattr(evidence, "MAX_STAKE", 1.0)
    z = np.linspace(-2, 2, 41)
    for (_, effect), factors in zip(evidence.BETS, np.exp(log_factors(z)), strict=True):
        plus, minus = scipy.stats.norm.pdf(z, effect), scipy.stats.norm.pdf(-z, effect)
        assert factors == pytest.approx(2 * plus / (plus + minus))


def test_above_de_la_penas_supermartingale(monkeypatch: pytest.MonkeyPatch) -> None:
    """With fixed λ the product is exp(λS) / ∏ cosh(λd), never below exp(λS − λ²V/2)."""
    monkeypatch.setattr(evidence, "MAX_STAKE", 1.0)
    monkeypatch.setattr(evidence, "BETS", ((1.0, 0.7),))
    d = np.random.default_rng(0).normal(0.3, 0.6, 30).clip(-2, 2)
    product = log_evidence(d, scales=np.ones(30)).better + math.log(2)
    closed = np.cumsum(0.7 * d - np.log(np.cosh(0.7 * d)))
    assert product == pytest.approx(closed)
    assert (product >= np.cumsum(0.7 * d) - 0.7**2 * np.cumsum(d**2) / 2).all()


def test_first_pair_by_hand() -> None:
    staked = sum(weight * (1 + evidence.MAX_STAKE * math.tanh(effect)) for weight, effect in evidence.BETS)
    lost = sum(weight * (1 - evidence.MAX_STAKE * math.tanh(effect)) for weight, effect in evidence.BETS)
    result = log_evidence([4.0])
    assert np.exp(result.better) == pytest.approx([staked / 2])
    assert np.exp(result.worse) == pytest.approx([lost / 2])
    assert sum(weight for weight, _ in evidence.BETS) == pytest.approx(1.0)


@settings(deadline=None)
@given(numbers, st.integers(-8, 8), st.sampled_from([-2.0, 0.5]))
def test_scale_shift_and_mirror(differences: list[float], power: int, shift: float) -> None:
    x = np.round(np.array(differences), 3)
    result = log_evidence(x)
    assert log_evidence(x * 2.0**power).better == pytest.approx(result.better)
    mirrored = log_evidence(-x)
    assert mirrored.better == pytest.approx(result.worse)
    assert mirrored.worse == pytest.approx(result.better)
    whole = np.round(x)  # sums that are exact, since a sign may hang on the last bit
    assert log_evidence(whole + shift, centre=shift).better == pytest.approx(log_evidence(whole).better)


@settings(max_examples=30, deadline=None)
@given(numbers)
def test_falls_in_the_centre(differences: list[float]) -> None:
    centres = np.sort(np.concatenate([np.linspace(-1e3, 1e3, 41), differences]))
    better = np.array([log_evidence(differences, centre=centre).better for centre in centres])
    assert (np.diff(better, axis=0) <= 1e-9).all()


@settings(deadline=None)
@given(numbers, st.floats(0, 10))
def test_grows_with_the_last_difference(differences: list[float], more: float) -> None:
    raised = [*differences[:-1], differences[-1] + more]
    assert log_evidence(raised).better[-1] >= log_evidence(differences).better[-1] - 1e-9


@given(numbers)
@settings(deadline=None)
def test_a_look_does_not_know_later_pairs(differences: list[float]) -> None:
    whole = log_evidence(differences)
    for n in range(1, len(differences) + 1):
        assert log_evidence(differences[:n]).better == pytest.approx(whole.better[:n])


def test_order_of_pairs_counts_but_rows_do_not_mix() -> None:
    x = np.random.default_rng(1).normal(0.5, 1, (5, 9))
    together = log_evidence(x)
    for row, better in zip(x, together.better, strict=True):
        assert log_evidence(row).better == pytest.approx(better)
    assert log_evidence(x[0]).better[-1] != pytest.approx(log_evidence(x[0][::-1]).better[-1])


def test_ties_say_nothing_and_breaks_are_clear_signs() -> None:
    assert np.exp(log_evidence([0.0, 0.0, 0.0]).better) == pytest.approx([0.5] * 3)
    broken, large = log_evidence([0.1, 0.2, INF]), log_evidence([0.1, 0.2, 1e9])
    assert broken.better == pytest.approx(large.better)
    lost = log_evidence([0.1, 0.2, 0.15, 0.1, -INF])
    assert lost.better[-1] < lost.better[-2]
    # The largest bettor keeps a fiftieth of its wealth.
    assert lost.better[-1] > lost.better[-2] + math.log(1 - evidence.MAX_STAKE)
    assert np.isfinite(log_evidence([INF, -INF, INF, 0.0]).better).all()


def test_a_break_is_not_forgotten_nor_in_the_way() -> None:
    """Finite pairs count after a break as before: the spread leaves breaks out."""
    with_break = log_evidence([0.5, 0.6, INF, 0.5, 0.7, 0.6]).better
    assert np.diff(with_break).min() > 0.3


def test_scores() -> None:
    away = np.array([3.0, -3.0, 0.5, INF, 0.0, -1e-300, 1e300])
    assert scale_scores(away, np.ones(7)).tolist() == [2, -2, 0.5, 2, 0, -1e-300, 2]
    assert scale_scores(away, np.zeros(7)).tolist() == [2, -2, 2, 2, 0, -2, 2]
    assert scale_scores(away, np.full(7, np.nan)).tolist() == [1, -1, 1, 2, 0, -1, 1]
    assert scale_scores(away, np.full(7, 1e-300)).tolist() == [2, -2, 2, 2, 0, -1, 2]


@pytest.mark.parametrize("alpha", [0.5, 0.05, 1e-3, 1e-6, 1e-12])
def test_least_pairs(alpha: float) -> None:
    n = fewest_deciding_pairs(alpha)
    better = log_evidence([INF] * n).better
    assert better[-1] >= -math.log(alpha)
    assert n == 1 or better[-2] < -math.log(alpha)
    assert 2.0**n / 2 >= 1 / alpha


def test_least_pairs_refuses() -> None:
    with pytest.raises(UsageError, match="alpha"):
        fewest_deciding_pairs(0.0)


def test_mixture_of_wealth() -> None:
    wealth = np.log(np.arange(1.0, 1 + len(evidence.BETS)))[:, None]
    expected = sum(weight * (i + 1) for i, (weight, _) in enumerate(evidence.BETS))
    assert np.exp(mix_bets(wealth)) == pytest.approx([expected])
