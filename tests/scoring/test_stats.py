"""The statistics against enumeration, scipy and simulations whose truth is known; seeds are fixed."""

from __future__ import annotations

import itertools
import math
from typing import Literal

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from harness.contract.workload import Target
from harness.errors import UsageError
from harness.scoring import fixed_stop, hit_rates, medians, sample_size, stats
from harness.scoring.simulate import (
    NOISES,
    TimeDistribution,
    false_ranks,
    false_verdicts,
    interval_coverage,
    median_coverage,
    power,
)

INF = math.inf
small = st.lists(st.integers(-4, 4).map(float), min_size=1, max_size=9)


def enumerated(values: list[float], weights: list[float]) -> float:
    """Two-sided p-value of a sum of signed weights by all 2^n flips."""
    signs = [math.copysign(1, v) for v in values]
    observed = abs(sum(s * w for s, w in zip(signs, weights, strict=True)))
    flips = itertools.product((-1, 1), repeat=len(weights))
    extreme = [abs(sum(s * w for s, w in zip(f, weights, strict=True))) >= observed - 1e-9 for f in flips]
    return sum(extreme) / len(extreme)


@given(small)
def test_sign_flips_against_enumeration(values: list[float]) -> None:
    kept = [v for v in values if v]
    ranks = [float(r) for r, v in zip(scipy.stats.rankdata(np.abs(values)), values, strict=True) if v]
    by_ranks = stats.sign_flip_test(values)
    assert by_ranks.p == pytest.approx(enumerated(kept, ranks) if kept else 1.0)
    assert by_ranks.informative == len(kept)


@pytest.mark.parametrize("n", [6, 15, 40])
def test_sign_flips_against_scipy(n: int) -> None:
    x = np.random.default_rng(n).normal(0.2, 1, n)
    assert stats.sign_flip_test(x.tolist()).p == pytest.approx(scipy.stats.wilcoxon(x, method="exact").pvalue)


def test_beyond_exact_counting() -> None:
    x = np.random.default_rng(0).normal(0.05, 1, 1000)
    test = stats.sign_flip_test(x.tolist())
    assert not test.exact
    assert test.p == pytest.approx(scipy.stats.wilcoxon(x).pvalue, rel=1e-2)
    ends = stats.interval(x.tolist())
    assert ends.low < stats.hodges_lehmann(x.tolist()) < ends.high


def test_misses_take_the_worst_rank() -> None:
    with_miss = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, INF]
    assert stats.sign_flip_test(with_miss).p == 2 / 2**7
    assert stats.sign_flip_test([*with_miss[:6], -INF]).p > 0.05
    assert stats.hodges_lehmann([INF, INF, 0.1]) == INF
    assert stats.hodges_lehmann([INF, -INF]) == 0.0
    assert stats.hodges_lehmann([0.1, 0.2, 0.3, INF]) == pytest.approx(0.275)
    assert stats.interval([0.1] * 6 + [INF] * 4).high == INF


def test_all_ties() -> None:
    assert stats.sign_flip_test([0.0] * 8).p == 1.0
    assert stats.interval([0.0] * 8) == stats.Spread(low=0.0, high=0.0, kind="interval")


def test_paired_log_ratios() -> None:
    assert stats.paired_log_ratios([2.0, INF, 1.0, INF], [1.0, 1.0, INF, INF]) == [math.log(2), INF, -INF, 0.0]
    for bad in (math.nan, 0.0, -1.0):
        with pytest.raises(UsageError, match="must be positive"):
            stats.paired_log_ratios([bad], [1.0])
    with pytest.raises(UsageError, match="cannot pair"):
        stats.paired_log_ratios([1.0], [1.0, 2.0])


@pytest.mark.parametrize(
    "call", [stats.hodges_lehmann, stats.interval, medians.median_interval, lambda x: hit_rates.restricted_mean(x, 1.0)]
)
def test_nothing_gives_an_error_and_no_number(call: object) -> None:
    with pytest.raises(UsageError):
        call([])  # type: ignore[operator]


def test_nan_is_refused() -> None:
    for call in (stats.sign_flip_test, stats.hodges_lehmann, stats.interval, medians.median_interval):
        with pytest.raises(UsageError, match="NaN"):
            call([math.nan, 1.0])


@given(st.lists(st.floats(-5, 5), min_size=6, max_size=20))
def test_interval_inverts_the_test(values: list[float]) -> None:
    ends = stats.interval(values)
    assert ends.kind == "interval"
    width = 1e-6 + abs(ends.high - ends.low)
    outside = [ends.low - 1e-3 * width - 1e-6, ends.high + 1e-3 * width + 1e-6]
    assert ends.low <= stats.hodges_lehmann(values) <= ends.high
    distinct = len({abs(v - x) for v in values for x in outside}) == 2 * len(values)
    if distinct:
        for x in outside:
            assert stats.sign_flip_test([v - x for v in values]).p <= 0.05 + 1e-12


def test_exact_coverage_by_n() -> None:
    """No simulation: P(the interval misses) = 2 P(W < k) for a continuous symmetric distribution."""
    for n in range(6, 80):
        k = stats._critical_rank_sum(n, 0.95)
        coverage = 1 - 2 * stats._subset_sum_cdf(tuple(range(1, n + 1)))[k - 1]
        assert 0.95 <= coverage <= 0.97, n


def test_under_six_only_ranges() -> None:
    assert stats.interval([0.3, 0.1, 0.2, 0.5, 0.4]) == stats.Spread(low=0.1, high=0.5, kind="range")
    assert medians.median_interval([3.0, 1.0, INF]) == stats.Spread(low=1.0, high=INF, kind="range")


def test_median_interval_with_misses() -> None:
    assert medians.median_interval([1.0, 2.0, 3.0, 4.0, INF, INF, INF, INF]).high == INF
    assert medians.median_interval([INF] * 8).low == INF


def test_holm() -> None:
    assert stats.holm([]) == []
    assert stats.holm([0.5]) == [0.5]
    assert stats.holm([0.04, 0.01, 0.9, 0.02]) == pytest.approx([0.08, 0.04, 0.9, 0.06])


@pytest.mark.parametrize("n", [1, 2, 5, 30, 1000])
def test_the_interval_of_a_rate_is_wilsons(n: int) -> None:
    for hits in {0, 1, n // 3, n - 1, n}:
        ends = scipy.stats.binomtest(hits, n).proportion_ci(0.9, method="wilson")
        rate = hit_rates.hit_rate(hits, n, 0.9)
        assert (rate.low, rate.high) == pytest.approx((ends.low, ends.high), abs=1e-14)


@pytest.mark.parametrize(("goal", "side"), [("min", "less"), ("max", "greater")])
def test_the_p_value_of_a_stop_is_that_of_a_one_sample_t_test(
    goal: Literal["min", "max"], side: Literal["less", "greater"]
) -> None:
    values = [1.9, 2.1, 1.8, 2.0, 1.95]
    for limit in (1.5, 1.9, 2.0, 3.0):
        target = Target(metric="loss", goal=goal, value=limit)
        expected = scipy.stats.ttest_1samp(values, limit, alternative=side).pvalue
        assert fixed_stop.one_sided_p(values, target) == pytest.approx(expected, rel=1e-9)


def test_rates_and_restricted_means() -> None:
    rate = hit_rates.hit_rate(8, 10)
    assert (rate.value, rate.n) == (0.8, 10)
    assert rate.low == pytest.approx(0.490, abs=1e-3)
    assert rate.high == pytest.approx(0.943, abs=1e-3)
    assert hit_rates.restricted_mean([1.0, 5.0, INF], 3.0) == pytest.approx(7 / 3)
    with pytest.raises(UsageError):
        hit_rates.hit_rate(0, 0)
    with pytest.raises(UsageError):
        hit_rates.restricted_mean([1.0], INF)


def test_needed_n() -> None:
    quiet, loud = [0.01 * x for x in (-1, 0, 1, 2, -2, 1)], [0.1 * x for x in (-1, 0, 1, 2, -2, 1)]
    few, many = sample_size.required_pairs_from_pilot(quiet), sample_size.required_pairs_from_pilot(loud)
    assert few is not None
    assert many is not None
    assert 6 <= few < many
    assert sample_size.required_pairs_from_pilot([0.1]) is None
    assert sample_size.required_pairs_from_pilot([INF, 0.1]) is None
    assert sample_size.required_pairs_from_pilot([0.0] * 6) == 6
    with pytest.raises(UsageError):
        sample_size.required_pairs(0.1, 0.0)
    # A tenth of the level of a table of ten needs more seeds, and never fewer than can reach it.
    assert sample_size.required_pairs(0.0, alpha=0.005) == 9


# --- simulations --------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("noise", list(NOISES))
@pytest.mark.parametrize("n", [6, 8, 10, 16])
def test_intervals_cover(noise: str, n: int) -> None:
    distribution = TimeDistribution(noise=noise)
    for covered in (interval_coverage(distribution, n, 2000, seed=n), median_coverage(distribution, n, 2000, seed=n)):
        assert covered >= 0.93
        if n >= 8:
            assert covered <= 0.97


def test_intervals_cover_with_misses() -> None:
    covered = interval_coverage(TimeDistribution(misses=0.05), 10, 2000, seed=2, effect=0.0)
    assert covered >= 0.93


@pytest.mark.slow
@pytest.mark.parametrize(
    "distribution", [TimeDistribution(), TimeDistribution(noise="heavy tails"), TimeDistribution(misses=0.1)], ids=str
)
def test_a_against_a(distribution: TimeDistribution) -> None:
    overall, on_any_workload = false_verdicts(distribution, 10, 800)
    assert overall <= 0.06
    assert on_any_workload <= 0.06
    assert false_ranks(distribution, 8, 400) <= 0.07


@pytest.mark.slow
@pytest.mark.parametrize("scale", [0.01, 0.03, 0.05])
def test_three_percent_is_found_at_the_n_that_is_said(scale: float) -> None:
    pairs, found = power(TimeDistribution(scale=scale), 300)
    assert found >= 0.8
    assert pairs < 120


@pytest.mark.slow
def test_three_percent_is_found_despite_tails_and_misses() -> None:
    for distribution in (TimeDistribution(noise="heavy tails"), TimeDistribution(misses=0.05)):
        assert power(distribution, 400)[1] >= 0.77
