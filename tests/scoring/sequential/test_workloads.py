"""Pairs from runs, and gates over several workloads."""

from __future__ import annotations

import math

import numpy as np
import pytest

from harness.errors import UsageError
from harness.scoring.sequential.differences import mean_over_workloads, pair_log_multipliers
from harness.scoring.sequential.verdict import decide
from harness.scoring.sequential.workloads import decide_workloads

INF = math.inf


def test_pairs() -> None:
    assert pair_log_multipliers([0.5, -INF, 0.0, -INF], [0.2, 0.0, -INF, -INF]) == pytest.approx([0.3, -INF, INF, 0.0])


@pytest.mark.parametrize(
    ("a", "b", "message"),
    [([0.0], [], "cannot pair 1 runs with 0"), ([math.nan], [0.0], "nan"), ([0.0], [INF], "inf")],
)
def test_pairs_refused(a: list[float], b: list[float], message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        pair_log_multipliers(a, b)
    assert caught.value.fix


def test_means() -> None:
    assert mean_over_workloads({"v": [1.0, INF, INF, -INF], "w": [2.0, 1.0, -INF, -INF]}) == [1.5, INF, 0.0, -INF]
    with pytest.raises(UsageError, match="v 1, w 2"):
        mean_over_workloads({"v": [1.0], "w": [1.0, 2.0]})
    with pytest.raises(UsageError, match="no workload"):
        mean_over_workloads({})


def test_one_workload_is_a_gate() -> None:
    x = [0.05, 0.07, 0.04, 0.06, 0.05, 0.06]
    result = decide_workloads({"w": x})
    assert result.overall == result.workloads["w"] == decide(x)
    assert result.worse == ()


def test_the_seed_is_the_unit() -> None:
    rng = np.random.default_rng(0)
    table = {name: rng.normal(0.1, 0.05, 8).tolist() for name in "abc"}
    result = decide_workloads(table)
    assert result.overall.pairs == 8
    assert result.overall == decide(mean_over_workloads(table))
    assert list(result.workloads) == list(result.p_worse) == ["a", "b", "c"]


def test_a_worse_workload_forbids_better() -> None:
    result = decide_workloads({"v": [0.5] * 9, "w": [-0.1] * 9})
    assert result.worse == ("w",)
    assert result.overall.outcome == "undecided"
    assert result.overall.low > 0
    assert "worse on w" in result.overall.note
    assert result.workloads["w"].outcome == "worse"


def test_holm_over_workloads() -> None:
    """Six unanimous pairs are worse alone, p = 1/e below .05, but not among ten workloads."""
    steady = {f"v{i}": [0.5] * 6 for i in range(9)}
    alone, among = decide_workloads({"w": [-0.1] * 6}), decide_workloads({**steady, "w": [-0.1] * 6})
    assert alone.worse == ("w",)
    assert alone.overall.outcome == "worse"
    assert among.worse == ()
    assert among.p_worse["w"] == pytest.approx(10 * alone.p_worse["w"])
    assert among.overall.outcome == "better"
    assert among.p_worse["v0"] == 1.0


def test_identical_on_all_workloads() -> None:
    assert decide_workloads({"v": [0.0], "w": [0.0]}, identical=True).overall.outcome == "identical"
    with pytest.raises(UsageError, match="identical"):
        decide_workloads({"v": [0.1], "w": [-0.1]}, identical=True)


def test_a_broken_workload_counts() -> None:
    result = decide_workloads({"v": [0.5] * 7, "w": [-INF] * 7})
    assert result.overall.outcome == "worse"
    assert result.overall.estimate == -INF
