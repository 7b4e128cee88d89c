"""Pairs still needed: nothing where decided, more for less effect, and near what it comes to."""

from __future__ import annotations

import math

import numpy as np
import pytest

from harness.errors import UsageError
from harness.scoring.sequential.batch import run_gates
from harness.scoring.sequential.forecast import forecast_pairs
from harness.scoring.sequential.scale import shamos_scale
from harness.scoring.stats import hodges_lehmann

INF = math.inf


def test_decided_gates_need_none() -> None:
    assert forecast_pairs([0.1] * 6) == 0
    assert forecast_pairs([0.0] * 6) == 0


@pytest.mark.parametrize("value", [0.0, 0.01, 0.1, -0.1, INF, -INF])
def test_constant_differences_need_six(value: float) -> None:
    assert [forecast_pairs([value] * n) for n in (2, 4, 5)] == [4, 2, 1]


def test_one_pair_says_nothing() -> None:
    assert forecast_pairs([0.3]) is None
    assert forecast_pairs([INF, 0.3]) is None


def test_less_effect_takes_longer() -> None:
    noise = np.array([1.0, -1.0, 0.5, -0.5, 0.2, -0.2])
    pairs = [forecast_pairs((centre + noise).tolist(), min_effect=0.0) for centre in (3.0, 1.0, 0.5)]
    assert None not in pairs
    assert pairs == sorted(pairs, key=lambda n: n or 0)
    assert forecast_pairs(noise.tolist(), min_effect=0.0) is None
    assert forecast_pairs(noise.tolist(), min_effect=0.5) is not None


def test_is_repeatable_and_free_of_scale() -> None:
    x = np.array([0.04, 0.01, 0.06, 0.03])
    first = forecast_pairs(x.tolist())
    assert first == forecast_pairs(x.tolist())
    assert forecast_pairs((4 * x).tolist(), min_effect=0.5) == forecast_pairs(x.tolist(), min_effect=0.125)


def test_limit() -> None:
    x = [0.5, -0.4, 0.6, -0.2, 0.3]
    needed = forecast_pairs(x)
    assert needed is not None
    assert forecast_pairs(x, limit=needed) == needed
    assert forecast_pairs(x, limit=needed - 1) is None
    assert forecast_pairs(x, limit=0) is None


def test_breaks_go_on() -> None:
    assert forecast_pairs([0.1, 0.12, 0.08, INF]) is not None
    assert forecast_pairs([0.1, 0.12, 0.08, INF, -INF]) is not None


@pytest.mark.slow
def test_comes_near_on_average() -> None:
    """After ten pairs of normal differences, at their own estimate: the median gate ends about when it was said to."""
    rng = np.random.default_rng(5)
    start = rng.normal(0.0, 1.0, 10)
    start += 0.5 - hodges_lehmann(start.tolist())
    expected = forecast_pairs(start.tolist(), min_effect=0.0)
    more = rng.normal(0.5, float(shamos_scale(start)), (400, 80))
    runs = run_gates(np.concatenate([np.tile(start, (400, 1)), more], axis=1), min_effect=0.0)
    actual = np.median([n - 10 for n in runs.pairs])
    assert expected == pytest.approx(actual, rel=0.3)


def test_refuses() -> None:
    with pytest.raises(UsageError, match="no pair"):
        forecast_pairs([])
    with pytest.raises(UsageError, match="alpha"):
        forecast_pairs([0.1], alpha=2.0)
