"""How the settings of a search are ranked: broken runs last, then misses, then the value."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.contract.workload import Target
from harness.errors import BenchError
from harness.scoring.search import SearchRun, rank_settings, summarize_run
from tests.report import synthetic

LOSS = Target(metric="loss", goal="min", value=1.0)
ACCURACY = Target(metric="accuracy", goal="max", value=0.9)


def run(final: float | None, workload: str = "a@1", target: Target = LOSS, **changes: Any) -> SearchRun:
    fields: dict[str, Any] = {
        "run_id": "run-1", "workload": workload, "target": target, "status": "exhausted", "reason": "",
        "best": final, "final": final, "seconds": 1.0, "amount": math.inf, "hit": False, "core_seconds": 2.0,
    }  # fmt: skip
    return SearchRun(**{**fields, **changes})


def order(groups: list[list[SearchRun]], **options: Any) -> list[int]:
    points: list[dict[str, Any]] = [{"lr": float(i)} for i in range(len(groups))]
    return [setting.number for setting in rank_settings(points, groups, **{"by": "metric", **options})]


def test_a_metric_is_ranked_by_its_goal_and_broken_runs_are_last() -> None:
    broke = run(0.1, status="diverged")
    assert order([[run(2.0)], [broke], [run(1.5)]]) == [2, 0, 1]
    assert order([[run(0.5, target=ACCURACY)], [run(0.7, target=ACCURACY)]]) == [1, 0]
    ranked = rank_settings([{}, {"lr": 1.0}], [[run(2.0)], [broke]], "metric")
    assert (ranked[1].broken, ranked[1].excess, ranked[0].excess) == (1, None, 1.0)


def test_one_broken_seed_puts_a_setting_behind_all_sound_ones() -> None:
    assert order([[run(0.1), run(None, status="crashed")], [run(5.0), run(5.0)]]) == [1, 0]


def test_times_are_ranked_with_misses_behind_hits_by_their_metric() -> None:
    quick, slow = run(1.0, amount=3.0, hit=True), run(1.0, amount=9.0, hit=True)
    assert order([[slow], [run(1.3)], [quick], [run(1.1)]], by="time") == [2, 0, 3, 1]
    ranked = rank_settings([{}, {"lr": 1.0}], [[quick, slow], [slow, slow]], "time")
    assert ranked[1].excess == pytest.approx(math.sqrt(3))


def test_several_workloads_are_combined_by_mean_rank_or_ratio() -> None:
    """A setting that is a hair better twice and far worse once wins by rank and loses by ratio."""
    groups = [
        [run(1.00, "a@1"), run(1.00, "b@1"), run(9.0, "c@1")],
        [run(1.01, "a@1"), run(1.01, "b@1"), run(3.0, "c@1")],
    ]
    assert order(groups) == [0, 1]
    assert order(groups, combination="ratio") == [1, 0]


@given(st.lists(st.floats(0.1, 100), min_size=1, max_size=8))
def test_ranks_are_those_of_the_values(values: list[float]) -> None:
    ranked = rank_settings([{"lr": v} for v in values], [[run(v)] for v in values], "metric")
    finals = [setting.outcomes[0].value("metric") for setting in ranked]
    assert finals == sorted(values)
    assert [setting.rank for setting in ranked] == [1 + sum(other < v for other in values) for v in finals]
    assert all(setting.excess == pytest.approx(float(setting.point["lr"]) / finals[0]) for setting in ranked)


def test_a_record_gives_its_cost_and_an_interrupted_one_is_refused() -> None:
    record = synthetic.record("alpha")
    summary = summarize_run(record, "examples")
    assert summary.hit
    assert record.hit is not None
    assert summary.amount == record.points[record.hit].examples
    with pytest.raises(BenchError, match="was interrupted"):
        summarize_run(synthetic.record("alpha", status="interrupted"), "time")
