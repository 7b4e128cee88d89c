"""`benchmarks/sequential.py` at a toy size, and the tests it holds the gate against."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import integrate, stats

from harness.plugins.loading import import_file

ROOT = Path(__file__).resolve().parent.parent.parent.parent
SCRIPT = ROOT / "benchmarks" / "sequential.py"


@pytest.fixture(scope="module")
def benchmark() -> Iterator[Any]:
    path = list(sys.path)
    yield import_file(SCRIPT)
    sys.path[:] = path


@pytest.mark.slow
def test_toy_size() -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-W", "error", str(SCRIPT), "--quick"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for heading in ("False verdicts", "Not symmetric", "Pairs to decide", "Series", "Copies", "Forecast"):
        assert heading in done.stdout
    assert "MISSED" not in done.stdout


@pytest.mark.parametrize("prior", [0.5, 1.0])
def test_t_mixture_by_numerical_integration(benchmark: Any, prior: float) -> None:
    """∬ N(x; δσ, σ) N(δ; 0, prior) dσ/σ dδ over ∫ N(x; 0, σ) dσ/σ."""
    x = np.array([0.4, 1.1, -0.2, 0.9])

    log_sigma, effect = np.linspace(-6, 6, 601), np.linspace(-8 * prior, 8 * prior, 601)
    sigma = np.exp(log_sigma)  # dσ/σ is the differential of log σ
    above = stats.norm.pdf(x[:, None, None], np.outer(effect, sigma), sigma).prod(axis=0)
    below = stats.norm.pdf(x[:, None], 0.0, sigma).prod(axis=0)
    over_sigma = integrate.simpson(above, x=log_sigma, axis=1) / integrate.simpson(below, x=log_sigma)
    expected = integrate.simpson(over_sigma * stats.norm.pdf(effect, 0.0, prior), x=effect)
    assert math.exp(benchmark.t_mixture(x, prior)[-1]) == pytest.approx(expected, rel=1e-6)


def test_pairs_of_a_t_test(benchmark: Any) -> None:
    """Known numbers of pairs at 5 % and 80 % power (G*Power and R's power.t.test)."""
    assert [benchmark.t_test_pairs(effect) for effect in (0.5, 1.0, 2.0, 3.0)] == [34, 10, 5, 4]


def test_a_missed_goal_is_named(benchmark: Any) -> None:
    goals = benchmark.Goals(checks_goals=True)
    assert goals.check(True, "this") == "ok"
    assert goals.check(False, "that") == "MISSED"
    assert goals.missed == ["that"]
    assert benchmark.Goals(checks_goals=False).check(False, "that") == "-"
