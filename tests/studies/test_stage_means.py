"""The comparison of two final metrics on streams."""

from __future__ import annotations

import math
import statistics

import pytest

from studies.stage_means import spread_of_log_multiplier


def test_the_spread_is_the_noise_over_the_slope_of_the_mean_curve() -> None:
    """On a line in the log budget, the log multiplier of a metric is its distance from the line over the slope."""
    noise = [-0.2, 0.0, 0.2]
    metrics = {n: [3.0 - 0.5 * math.log(n) + error for error in noise] for n in (50, 100, 200, 400)}
    assert spread_of_log_multiplier(metrics, 100) == pytest.approx(statistics.stdev(noise) / 0.5)
    metrics[200] = [value - 1.0 for value in metrics[200]]
    steeper = 0.5 + 1.0 / math.log(4)
    assert spread_of_log_multiplier(metrics, 100) == pytest.approx(statistics.stdev(noise) / steeper)
