"""Many gates at once say what single ones say; A/A gates from stored runs are seldom decided falsely."""

from __future__ import annotations

import math

import numpy as np
import pytest

from harness.errors import UsageError
from harness.scoring.sequential.batch import run_gates
from harness.scoring.sequential.resample import resample_gates
from harness.scoring.sequential.verdict import decide

INF = math.inf


@pytest.mark.slow
@pytest.mark.parametrize("min_effect", [0.0, 0.3])
@pytest.mark.parametrize("centre", [0.0, 0.2, 0.8])
def test_batches_are_single_gates_looked_at_after_every_pair(centre: float, min_effect: float) -> None:
    rng = np.random.default_rng(int(10 * centre))
    x = rng.normal(centre, [[0.1], [0.3], [1.0], [0.0], [0.5], [1.0]], (6, 12))
    x[4, rng.random(12) < 0.2] = INF
    x[5, rng.random(12) < 0.4] = 0.0
    runs = run_gates(x, min_effect=min_effect)
    for row, outcome, pairs in zip(x, runs.outcomes, runs.pairs, strict=True):
        looks = [decide(row[:n].tolist(), min_effect=min_effect) for n in range(1, 13)]
        first = next((look for look in looks if look.decided), looks[-1])
        assert (outcome, pairs) == (first.outcome, first.pairs)


def test_rates() -> None:
    runs = run_gates([[0.1] * 6, [-0.1] * 6, [0.0] * 6, [0.1, -0.1] * 3])
    assert runs.outcomes == ("better", "worse", "equivalent", "undecided")
    assert runs.rate("better", "worse") == 0.5
    assert runs.rate("undecided") == 0.25


def test_level_of_resampled_gates() -> None:
    runs = np.random.default_rng(1).exponential(size=60)
    result = resample_gates(runs, gates=600, max_pairs=40, min_effect=0.0)
    assert result.false.value <= 0.05
    assert result.false.n == result.gates == 600
    assert result.equivalent == 0.0
    assert result.median_pairs is None


def test_equal_runs_are_equivalent() -> None:
    result = resample_gates([0.3] * 4, gates=20, max_pairs=10)
    assert (result.false.value, result.equivalent, result.median_pairs) == (0.0, 1.0, 6.0)


def test_workloads_and_breaks() -> None:
    rng = np.random.default_rng(2)
    runs = rng.normal(0.0, 0.1, (30, 3))
    runs[rng.random((30, 3)) < 0.1] = -INF
    result = resample_gates(runs, gates=300, max_pairs=20)
    assert result.false.value <= 0.06
    assert resample_gates(runs, gates=50) == resample_gates(runs, gates=50)


@pytest.mark.parametrize(
    ("runs", "options", "message"),
    [
        ([0.1], {}, "shape"),
        ([[[0.1]], [[0.2]]], {}, "shape"),
        ([0.1, math.nan], {}, "NaN"),
        ([0.1, INF], {}, "inf"),
        ([0.1, 0.2], {"gates": 0}, "0 gates"),
        ([0.1, 0.2], {"max_pairs": 0}, "0 pairs"),
    ],
)
def test_refuses(runs: list[float], options: dict[str, int], message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        resample_gates(runs, **options)
    assert caught.value.fix
