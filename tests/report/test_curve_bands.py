"""Medians of curves: known numbers, runs that end early, and that no end of a run moves them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.report.curve_bands import CurveEnd, EndedCurve, column_medians, curve_band, end_of

NAN = math.nan


def curve(metric: Sequence[float], end: CurveEnd = "ended", *, cost: float = 1.0, every: int = 10) -> EndedCurve:
    """A run with an evaluation after every 10 examples, each interval of which takes `cost` seconds."""
    count = range(1, len(metric) + 1)
    return EndedCurve(
        examples=[every * i for i in count],
        time=[cost * i for i in count],
        steps=[float(i) for i in count],
        metric=metric,
        end=end,
    )


def test_the_median_of_runs_of_equal_length() -> None:
    band = curve_band([curve([3, 2, 1]), curve([5, 4, 3]), curve([4, 3, 2])], "min", 100)
    assert {name: values.tolist() for name, values in band.items()} == {
        "examples": [10, 20, 30], "time": [1, 2, 3], "steps": [1, 2, 3],
        "mid": [4, 3, 2], "low": [3, 2, 1], "high": [5, 4, 3],
    }  # fmt: skip


def test_the_median_ends_where_the_middle_run_reaches_the_target() -> None:
    """The first run to reach the target is the best one: the median continues, and the middle run is the same one."""
    runs = [curve([3.0, 1.0], "reached"), curve([4.0, 3.0, 1.0], "reached"), curve([5.0, 4.0, 3.0, 1.0], "reached")]
    band = curve_band(runs, "min", 100)
    assert band["mid"].tolist()[:3] == [4.0, 3.0, 1.0]
    assert math.isnan(band["mid"][3])
    assert band["low"].tolist() == [3.0, 1.0, 1.0, 1.0], "the range keeps the last metrics"


def test_a_broken_run_is_the_worst_one() -> None:
    runs = [curve([3.0, 2.0, 1.0], "reached"), curve([4.0, 3.0, 2.0], "reached"), curve([1.0], "broke")]
    band = curve_band(runs, "min", 100)
    assert band["mid"].tolist() == [3.0, 3.0, 2.0]
    assert band["high"].tolist() == [4.0, 3.0, 2.0]
    never_began = curve([], "broke")
    assert curve_band([*runs[:2], never_began], "min", 100)["mid"].tolist() == [4.0, 3.0, 2.0]
    assert curve_band([never_began, never_began], "min", 100) == {}


def test_the_median_ends_where_a_run_ends_without_a_result() -> None:
    band = curve_band([curve([3, 2, 1]), curve([5, 4]), curve([4, 3, 2])], "min", 100)
    assert band["examples"].tolist() == [10, 20]
    assert band["mid"].tolist() == [4, 3]


def test_for_a_metric_to_maximise_a_reached_run_is_the_largest() -> None:
    runs = [curve([0.1, 0.9], "reached"), curve([0.2, 0.3, 0.9], "reached"), curve([0.3], "broke")]
    band = curve_band(runs, "max", 100)
    assert band["mid"].tolist() == pytest.approx([0.2, 0.3, 0.9])


def test_seconds_are_sums_of_median_costs_and_do_not_jump() -> None:
    """When the fastest run ends, a median of the times of the other runs would be far behind."""
    runs = [
        curve([3, 1], "reached", cost=1),
        curve([4, 2, 1], "reached", cost=1),
        curve([5, 4, 3, 1], "reached", cost=9),
    ]
    assert curve_band(runs, "min", 100)["time"].tolist() == [1, 2, 7, 16]


def test_runs_with_other_evaluations_are_compared_at_equal_examples() -> None:
    band = curve_band([curve([4, 3, 2, 1]), curve([4, 2], every=20)], "min", 100)
    assert band["examples"].tolist() == [20, 30, 40]
    assert band["mid"].tolist() == [3.5, 3.0, 1.5]
    assert band["steps"].tolist() == [1.5, 2.25, 3.0]


def test_unknown_metrics_and_a_limit() -> None:
    band = curve_band([curve([3, NAN, 1]), curve([3, 2, 1])], "min", 100)
    assert band["mid"].tolist() == [3, 2.5, 1], "the last known metric"
    assert curve_band([curve([NAN, NAN]), curve([NAN, NAN])], "min", 100) == {}
    assert curve_band([], "min", 100) == {}
    assert len(curve_band([curve(range(50)), curve(range(50))], "min", 7)["mid"]) == 7


def test_ends_of_runs() -> None:
    assert [end_of(status) for status in ("reached", "diverged", "rejected", "exhausted", "timeout")] == [
        "reached", "broke", "broke", "ended", "ended",
    ]  # fmt: skip


@given(st.lists(st.tuples(st.integers(2, 9), st.floats(0.1, 2.0)), min_size=3, max_size=7))
def test_an_end_at_the_target_never_changes_a_known_median(runs: list[tuple[int, float]]) -> None:
    """Each run crosses the target once. Where the median is known, it is that of the runs if none had ended."""
    full = [[1 + slope * (length - i) for i in range(1, 12)] for length, slope in runs]
    ended = [curve(metric[:length], "reached") for metric, (length, _) in zip(full, runs, strict=True)]
    expected = np.median(np.array(full), axis=0)
    mid = curve_band(ended, "min", 100)["mid"]
    known = ~np.isnan(mid)
    assert known[: sorted(length for length, _ in runs)[(len(runs) - 1) // 2]].all()
    assert mid[known] == pytest.approx(expected[: len(mid)][known])
    assert not np.any(np.diff(known.astype(int)) > 0), "the line ends once"


@given(st.data())
def test_column_medians_are_those_of_numpy(data: st.DataObject) -> None:
    """The columns of runs of different lengths end with NaN, and a NaN may be at any place."""
    shape = data.draw(st.tuples(st.integers(1, 7), st.integers(1, 4)))
    number = st.one_of(st.just(math.nan), st.floats(-1e9, 1e9))
    values = data.draw(st.lists(number, min_size=math.prod(shape), max_size=math.prod(shape)))
    rows = np.array(values).reshape(shape)
    rows[0, np.isnan(rows).all(axis=0)] = 1.0
    assert column_medians(rows) == pytest.approx(np.nanmedian(rows, axis=0), rel=1e-15, abs=1e-300)
