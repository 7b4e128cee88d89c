"""The confidence sequence: the inversion of the evidence, with its error counted exactly."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.errors import UsageError
from harness.scoring.sequential.confidence import CentreInterval, confidence_sequence
from harness.scoring.sequential.evidence import log_evidence

INF = math.inf
differences = st.lists(st.integers(-20, 20).map(lambda n: n / 8), min_size=1, max_size=12)


@settings(max_examples=40, deadline=None)
@given(differences, st.sampled_from([0.05, 0.3]))
@pytest.mark.slow
def test_inverts_the_evidence(x: list[float], alpha: float) -> None:
    interval = confidence_sequence(x, alpha=alpha)
    for centre in np.linspace(-4, 4, 50):  # no eighths among them: at a difference itself the evidence may jump
        evidence = log_evidence(x, centre=centre)
        assert (evidence.better.max() >= -math.log(alpha)) == (centre < interval.low)
        assert (evidence.worse.max() >= -math.log(alpha)) == (centre > interval.high)


@pytest.mark.slow
def test_misses_the_centre_in_few_sign_patterns() -> None:
    """All 128 patterns of seven sizes around a centre: the interval excludes it in a share alpha at most."""
    magnitudes = np.array([0.3, 1.0, 0.2, 2.0, 0.7, 0.1, 1.5])
    alpha, centre, missed = 0.2, 0.5, 0
    for signs in itertools.product((-1, 1), repeat=7):
        interval = confidence_sequence((centre + np.array(signs) * magnitudes).tolist(), alpha=alpha)
        missed += not interval.low <= centre <= interval.high
    assert 0 < missed / 128 <= alpha


def test_moves_and_scales_with_the_pairs() -> None:
    x = np.random.default_rng(0).normal(0.2, 1.0, 15)
    low, high = confidence_sequence(x.tolist())
    assert confidence_sequence((8 * x + 3).tolist()) == pytest.approx((8 * low + 3, 8 * high + 3))
    assert confidence_sequence((-x).tolist()) == pytest.approx((-high, -low))
    assert low < np.median(x) < high


def test_only_shrinks_and_narrows_to_the_centre() -> None:
    x = np.random.default_rng(4).normal(1.0, 0.5, 150).tolist()
    intervals = [confidence_sequence(x[:n]) for n in (1, 5, 8, 12, 20, 40, 80, 150)]
    assert intervals[0] == intervals[1] == (-INF, INF)
    for wide, narrow in itertools.pairwise(intervals):
        assert narrow.low >= wide.low
        assert narrow.high <= wide.high
    assert intervals[-1].high - intervals[-1].low < 0.4


def test_smaller_error_is_wider() -> None:
    x = np.random.default_rng(2).normal(0.0, 1.0, 20).tolist()
    strict, loose = confidence_sequence(x, alpha=0.01), confidence_sequence(x, alpha=0.2)
    assert strict.low <= loose.low <= loose.high <= strict.high


@pytest.mark.parametrize("value", [0.0, 0.1, -0.02, 1e9, -1e-9, math.log(1.03)])
def test_constant_differences(value: float) -> None:
    assert confidence_sequence([value] * 5) == (-INF, INF)
    assert confidence_sequence([value] * 6) == (value, value)


def test_breaks_leave_a_side_open() -> None:
    assert confidence_sequence([INF] * 6) == (INF, INF)
    assert confidence_sequence([-INF] * 6) == (-INF, -INF)
    some = confidence_sequence([0.1, 0.2, 0.3, INF, 0.2, 0.3, 0.1, 0.15, 0.2])
    assert 0 < some.low < 0.2
    assert some.high == INF
    many = confidence_sequence([INF, 0.1, INF, 0.2, INF, INF, 0.1, INF, INF])
    assert many.high == INF


def test_empty_where_early_and_late_pairs_differ() -> None:
    interval = confidence_sequence([5.0, 5.1, 4.9, 5.0, 5.1, 4.9, 5.0] + [-5.0, -5.1, -4.9] * 7)
    assert interval.empty
    assert not CentreInterval(0.0, 0.0).empty


@pytest.mark.parametrize(
    ("values", "alpha", "message"),
    [([], 0.05, "no pair"), ([math.nan], 0.05, "NaN"), ([1.0], 0.0, "alpha"), ([1.0], 1.0, "alpha")],
)
def test_refuses(values: list[float], alpha: float, message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        confidence_sequence(values, alpha=alpha)
    assert caught.value.fix
