"""The spread before each pair, against a plain loop."""

from __future__ import annotations

import itertools
import math
import statistics

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.scoring.sequential.scale import NORMAL_MEDIAN_DISTANCE, past_scales, shamos_scale

values = st.lists(st.one_of(st.floats(-1e3, 1e3), st.sampled_from([math.inf, -math.inf])), min_size=0, max_size=9)


def by_loop(x: list[float]) -> float:
    finite = [v for v in x if math.isfinite(v)]
    distances = [abs(a - b) for a, b in itertools.combinations(finite, 2)]
    return statistics.median(distances) / NORMAL_MEDIAN_DISTANCE if distances else math.nan


@settings(deadline=None)
@given(values)
def test_against_a_loop(x: list[float]) -> None:
    assert float(shamos_scale(x)) == pytest.approx(by_loop(x), nan_ok=True)
    expected = [by_loop(x[:i]) for i in range(len(x))]
    assert past_scales(x).tolist() == pytest.approx(expected, nan_ok=True)


def test_rows_with_and_without_breaks() -> None:
    rows = [[1.0, 2.0, 4.0, 8.0], [1.0, math.inf, 4.0, 8.0], [math.inf, -math.inf, math.inf, 1.0]]
    assert shamos_scale(rows).tolist() == pytest.approx([by_loop(row) for row in rows], nan_ok=True)


def test_is_the_deviation_of_normal_numbers_and_resists_outliers() -> None:
    x = np.random.default_rng(0).normal(5.0, 3.0, 2000)
    assert float(shamos_scale(x)) == pytest.approx(3.0, rel=0.05)
    x[:200] = 1e9
    assert float(shamos_scale(x)) == pytest.approx(3.0, rel=0.3)
