"""The comparison of two final metrics on streams."""

from __future__ import annotations

import math
import statistics

import pytest

from harness.calibration.envelopes import spread_of_log_multiplier
from harness.contract.envelope import EnvelopeHorizon, ReferenceEnvelope
from studies.stage_means import with_last_metrics
from tests.scoring import builders

NOISE = (-0.02, 0.0, 0.02)


def envelope(slope: float, runs: bool = False) -> ReferenceEnvelope:
    """An envelope whose loss falls by `slope` per unit of the log budget. The seeds differ by `NOISE`."""
    horizons = tuple(
        EnvelopeHorizon(
            examples=n,
            hparams={},
            metrics=tuple(3.0 - slope * math.log(n / 100) + error for error in NOISE),
            runs=tuple(f"{n}-{k}" for k in range(3)) if runs else (),
        )
        for n in (50, 100, 200, 400)
    )
    return ReferenceEnvelope(
        workload="w@1", metric="loss", goal="min", budget=100, reference="ref@1", hardware="cpu-x", horizons=horizons
    )


def test_the_spread_is_the_noise_over_the_slope_of_the_curve() -> None:
    """On a line in the log budget, the log multiplier of a metric is its distance from the line over the slope."""
    for slope in (0.5, 1.0):
        expected = statistics.stdev(NOISE) / slope
        assert spread_of_log_multiplier(envelope(slope)) == pytest.approx(expected, rel=0.02)


def test_the_metrics_of_the_last_evaluations_replace_those_of_the_envelope() -> None:
    made = envelope(0.5, runs=True)
    records = {
        run: builders.record(losses=[9.0, value + 1.0])
        for horizon in made.horizons
        for run, value in zip(horizon.runs, horizon.metrics, strict=True)
    }
    replaced = with_last_metrics(made, records)
    for horizon, before in zip(replaced.horizons, made.horizons, strict=True):
        assert horizon.metrics == tuple(value + 1.0 for value in before.metrics)
