"""Anchored and profile scores on small tables; bad input is refused by name."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import UsageError
from harness.scoring.scores import (
    anchored_scores,
    anchored_term,
    geometric_speedup,
    profile_scores,
    reference_times,
    study_time,
    workload_time,
)

INF = math.inf
times = st.floats(min_value=1e-3, max_value=1e6) | st.just(INF)


@pytest.mark.parametrize(
    ("speedup", "term"), [(8, 1.0), (16, 1.0), (1, 0.4), (2, 0.6), (0.25, 0.0), (0.1, 0.0), (0.5, 0.2)]
)
def test_anchored_term(speedup: float, term: float) -> None:
    assert anchored_term(10 / speedup, 10) == pytest.approx(term)


def test_anchored_score_leaves_out_what_the_reference_missed_and_says_so() -> None:
    table = {"a": {"u": 5.0, "v": 5.0}, "b": {"u": INF}}
    result = anchored_scores(table, {"u": 5.0, "v": INF, "x": 1.0}, workloads=["u", "v", "w", "x"], coarse=["x"])
    assert result.scores == {"a": pytest.approx(0.4), "b": 0.0}
    assert result.workloads == ("u",)
    assert [(s.item, s.reason.split(":")[0]) for s in result.left_out] == [
        ("v", "the reference missed it"),
        ("w", "the reference has no time for it"),
        ("x", "coarse"),
    ]


def test_anchored_score_does_not_move_with_the_field() -> None:
    table = {"a": {"u": 5.0}, "b": {"u": 1.0}, "c": {"u": 9.0}}
    with_all = anchored_scores(table, {"u": 5.0}).scores
    assert anchored_scores({"a": table["a"]}, {"u": 5.0}).scores["a"] == with_all["a"]


def test_anchored_score_without_a_common_workload_is_refused() -> None:
    with pytest.raises(UsageError, match="the reference hit none"):
        anchored_scores({"a": {"u": 1.0}}, {"u": INF})


def test_unknown_reference_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(UsageError, match="did you mean 'baseline'"):
        reference_times({"baseline": {}}, "basline")


def test_median_counts_misses() -> None:
    assert workload_time([1.0, INF, 3.0]) == 3.0
    assert workload_time([1.0, INF]) == INF
    assert workload_time([]) == INF
    assert study_time([]) == INF


def test_profile_of_one_submission_is_its_hit_rate() -> None:
    profile = profile_scores({"a": {"u": 3.0, "v": INF}}, base=["u", "v"])["a"]
    assert profile.score == pytest.approx(0.5)
    assert profile.exact == pytest.approx(0.5)
    assert profile.ratios == {"u": 1.0, "v": INF}


def test_everybody_misses() -> None:
    profiles = profile_scores({"a": {"u": INF}, "b": {}}, base=["u"])
    assert {name: p.score for name, p in profiles.items()} == {"a": 0.0, "b": 0.0}


@given(st.lists(st.tuples(times, times, times), min_size=1, max_size=5))
def test_profile_against_numpy(rows: list[tuple[float, float, float]]) -> None:
    base = ["u", "v", "w"]
    table = {str(i): dict(zip(base, row, strict=True)) for i, row in enumerate(rows)}
    array = np.array(rows)
    best = array.min(axis=0)
    ratio = np.where(np.isfinite(array), array / np.where(np.isfinite(best), best, 1), INF)
    taus = np.linspace(1, 4, 100)
    rho = (ratio[:, None, :] <= taus[None, :, None]).mean(axis=2)
    expected = np.trapezoid(rho, taus, axis=1) / 3
    profiles = profile_scores(table, base=base)
    assert [p.score for p in profiles.values()] == pytest.approx(expected.tolist(), abs=1e-9)
    for profile in profiles.values():
        assert abs(profile.score - profile.exact) <= 1 / 99 + 1e-12


def test_held_out_rules_and_their_order() -> None:
    base, held_out = ["w"], {"w_x": "w"}
    # b misses the variant, so its base does not count, and a's ratio is taken against the rest.
    table = {"a": {"w": 20.0, "w_x": 10.0}, "b": {"w": 10.0, "w_x": INF}}
    profiles = profile_scores(table, base=base, held_out=held_out)
    assert (profiles["a"].exact, profiles["b"].exact) == (1.0, 0.0)
    # b's fast variant is no yardstick, because b missed the base: a stays within 4x.
    table = {"a": {"w": 20.0, "w_x": 10.0}, "b": {"w": INF, "w_x": 1.0}}
    assert profile_scores(table, base=base, held_out=held_out)["a"].exact == 1.0
    # Over 4x the best on the variant costs the base.
    table = {"a": {"w": 20.0, "w_x": 41.0}, "b": {"w": 20.0, "w_x": 10.0}}
    assert profile_scores(table, base=base, held_out=held_out)["a"].exact == 0.0
    assert profile_scores(table, base=base, held_out=held_out, limit=INF)["a"].exact == 1.0
    # A missing variant acts as a miss.
    assert profile_scores({"a": {"w": 1.0}}, base=base, held_out=held_out)["a"].exact == 0.0


@pytest.mark.parametrize("bad", [math.nan, -1.0, 0.0, -INF])
def test_bad_times_are_refused_by_name(bad: float) -> None:
    with pytest.raises(UsageError, match="a on w"):
        profile_scores({"a": {"w": bad}}, base=["w"])
    with pytest.raises(UsageError, match="a on w"):
        anchored_scores({"a": {"w": bad}}, {"w": 1.0})


def test_empty_tables_are_refused() -> None:
    with pytest.raises(UsageError, match="empty"):
        profile_scores({}, base=["w"])
    with pytest.raises(UsageError, match="no base workload"):
        profile_scores({"a": {"w": 1.0}}, base=[])
    with pytest.raises(UsageError, match="not among the base"):
        profile_scores({"a": {"w": 1.0}}, base=["w"], held_out={"v_x": "v"})


def test_speedup_names_what_it_leaves_out() -> None:
    result = geometric_speedup({"u": 1.0, "v": INF, "x": 1.0}, {"u": 4.0, "v": 1.0, "w": INF, "x": 1.0})
    assert result.value == pytest.approx(2.0)
    assert result.workloads == ("u", "x")
    assert [str(s) for s in result.left_out] == [
        "v: the submission missed the target",
        "w: the submission and the reference missed the target",
    ]
    assert geometric_speedup({"u": INF}, {"u": 1.0}).value is None
