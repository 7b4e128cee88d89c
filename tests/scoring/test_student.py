"""Student's t on pairs agrees with scipy's own test and refuses what it cannot test."""

from __future__ import annotations

import math

import pytest
from scipy import stats as scipy_stats

from harness.errors import UsageError
from harness.scoring.student import paired_t_test

DIFFERENCES = [0.12, -0.03, 0.2, 0.07, 0.11]


@pytest.mark.parametrize("level", [0.9, 0.95, 1 - 0.05 / 21])
def test_agrees_with_scipy(level: float) -> None:
    expected = scipy_stats.ttest_1samp(DIFFERENCES, 0.0)
    ends = expected.confidence_interval(level)
    test = paired_t_test(DIFFERENCES, level)
    assert test.p == pytest.approx(float(expected.pvalue))
    assert (test.low, test.high) == pytest.approx((float(ends.low), float(ends.high)))


def test_differences_without_spread_are_not_tested() -> None:
    equal = paired_t_test([-0.1] * 5)
    assert (equal.mean, equal.p, equal.low, equal.high) == (-0.1, 1.0, None, None)
    zero = paired_t_test([0.0] * 5)
    assert (zero.mean, zero.p, zero.low, zero.high) == (0.0, 1.0, 0.0, 0.0)


@pytest.mark.parametrize("differences", [[], [0.1], [0.1, math.inf], [0.1, math.nan]])
def test_refuses_what_it_cannot_test(differences: list[float]) -> None:
    with pytest.raises(UsageError):
        paired_t_test(differences)
