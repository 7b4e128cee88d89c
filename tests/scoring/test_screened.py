"""Screened points serve curves: no result, best value, envelope or calibration is taken from them."""

from __future__ import annotations

import math
from typing import Any

import msgspec
import pytest

from harness.calibration import curves
from harness.contract.record import Record
from harness.contract.run import Point
from harness.contract.workload import Target
from harness.report.values import format_metric
from harness.scoring import anytime, fixed_stop, time_to_target
from harness.scoring.gate import judge_run
from harness.scoring.run_overview import best_and_final
from harness.scoring.summary import LeaderboardQuery, parse_metric_budget, summarize
from tests.scoring.builders import TARGET, facts, points, record, spec

EASY = (Target(metric="loss", goal="min", value=1.6),)
FACTS = facts(levels={"easy": EASY})


def screened(point: Point, se: float | None = 0.01) -> Point:
    return msgspec.structs.replace(point, evaluated_examples=64, se=se)


def run(losses: list[float], *parts: int, se: float | None = 0.01, **changes: Any) -> Record:
    """A record whose points with these indices are screened."""
    made = record(spec(workload=FACTS), losses, **changes)
    curve = tuple(screened(p, se) if i in parts else p for i, p in enumerate(made.points))
    return msgspec.structs.replace(made, points=curve)


def at(value: float) -> tuple[Target, ...]:
    return (Target(metric="loss", goal="min", value=value),)


class TestTargets:
    def test_own_targets_and_levels_were_decided(self) -> None:
        made = run([3.0, 2.0, 1.5, 0.9], 1)
        assert time_to_target.target_result(made).index == 3
        assert time_to_target.target_result(made, targets=EASY).index == 2
        assert time_to_target.target_result(run([3.0, 1.61, 1.5, 0.9], 1, se=0.5), targets=EASY).index == 2

    def test_other_targets_are_decided_where_the_error_excludes_them(self) -> None:
        made = run([3.0, 2.0, 1.2, 0.9], 1, se=0.01)
        assert time_to_target.target_result(made, targets=at(1.3)).index == 2
        near = time_to_target.target_result(made, targets=at(1.95))
        assert near.status == "unknown"
        assert near.reason == "whether point 1 meets the target is not known, since its evaluation is screened"

    def test_a_screened_point_is_no_hit(self) -> None:
        assert time_to_target.target_result(run([3.0, 1.0001, 0.8], 1), targets=at(1.2)).status == "unknown"

    def test_a_hit_before_the_screened_points_is_known(self) -> None:
        assert time_to_target.target_result(run([3.0, 2.0, 1.9, 0.9], 2), targets=at(2.5)).index == 1

    def test_no_standard_error_excludes_nothing(self) -> None:
        assert time_to_target.target_result(run([3.0, 2.0, 0.9], 1, se=None), targets=at(0.95)).status == "unknown"

    def test_a_miss_of_another_target_is_known_too(self) -> None:
        made = run([3.0, 2.0, 1.9], 1, status="exhausted")
        assert time_to_target.target_result(made, targets=at(1.2)).status == "miss"

    def test_a_screened_point_needs_no_metric_that_is_not_a_mean(self) -> None:
        two = facts(targets=(TARGET, Target(metric="other", goal="max", value=0.5)))
        made = msgspec.structs.replace(record(spec(workload=two), [2.0, 0.9]), hit=1)
        curve = (screened(made.points[0]), msgspec.structs.replace(made.points[1], metrics={"loss": 0.9, "other": 1.0}))
        assert time_to_target.target_result(msgspec.structs.replace(made, points=curve)).index == 1


class TestMetricAtABudget:
    def test_it_is_of_the_whole_split(self) -> None:
        made = run([3.0, 2.0, 0.9], 1)
        assert time_to_target.metric_at(made, 1.0) == time_to_target.MetricAt(value=3.0, at=1.0, stopped_early=False)
        assert time_to_target.metric_at(made, 2.5) is None
        assert time_to_target.metric_at(made, 9.0) == time_to_target.MetricAt(value=0.9, at=3.0, stopped_early=True)

    def test_the_reason_names_the_remedy(self) -> None:
        query = LeaderboardQuery(metric_budget=parse_metric_budget("2.5s"))
        summary = summarize(run([3.0, 2.0, 0.9], 1), query)
        assert summary.metric is None
        assert summary.result.status == "unknown"
        assert "is screened; bench run --whole-evaluation screens no evaluation" in summary.result.reason

    @pytest.mark.parametrize(
        ("changes", "reason"),
        [
            ({"status": "rejected", "reason": "a rule"}, "rejected: a rule"),
            (
                {"status": "exhausted", "losses": [3.0, math.nan, 1.5]},
                "the last evaluation within 2 seconds has no value",
            ),
        ],
    )
    def test_the_reason_is_the_true_one(self, changes: dict[str, Any], reason: str) -> None:
        made = run(changes.pop("losses", [3.0, 2.0, 1.5]), **changes)
        summary = summarize(made, LeaderboardQuery(metric_budget=parse_metric_budget("2s")))
        assert summary.metric is None
        assert summary.result.status == "unknown"
        assert summary.result.reason.startswith(reason)


def test_the_best_value_may_be_an_estimate_which_texts_mark() -> None:
    made = run([3.0, 1.1, 1.3, 1.2], 1, status="exhausted")
    assert best_and_final(made, TARGET) == (1.1, 1.2)
    assert [format_metric(point, "loss") for point in made.points] == ["3", "~1.1", "1.3", "1.2"]


def test_a_gate_knows_a_constant_metric() -> None:
    assert judge_run(run([1.5, 1.4, 1.6, 1.5], 1, 2, status="exhausted"), "A").constant
    assert judge_run(run([1.5, 1.4, 1.6, 1.5], 1, 2, status="exhausted"), "A").metric == 1.5


def test_a_stop_is_chosen_from_whole_evaluations() -> None:
    """Of 30 examples the screened value would meet the target."""
    made = [run([3.0, 2.0, 0.1, 2.0, 0.5], 2, status="exhausted") for _ in range(2)]
    assert fixed_stop.choose_stop(made, 8) == 50


def test_an_anytime_score_is_of_whole_evaluations() -> None:
    metrics = {10: 3.0, 20: 2.0, 40: 1.5, 80: 1.2}
    made = record(spec(stop=80), [0.0])
    template = made.points[0]
    whole = [msgspec.structs.replace(template, examples=n, metrics={"loss": v}) for n, v in metrics.items()]
    noise = [screened(msgspec.structs.replace(template, examples=n, metrics={"loss": 0.0})) for n in (30, 50)]
    curve = anytime.Envelope(target=TARGET, horizons=(5.0, 160.0), values=(4.0, 1.0))
    points_ = tuple(sorted((*whole, *noise), key=lambda p: p.examples))
    score, _ = anytime.study_score(msgspec.structs.replace(made, points=points_), curve)
    expected, _ = anytime.study_score(msgspec.structs.replace(made, points=tuple(whole)), curve)
    assert score == pytest.approx(expected)


def test_calibration_uses_whole_evaluations() -> None:
    made = run([3.0, 2.0, 0.1, 1.9], 2, status="exhausted")
    assert curves.best_value(made, TARGET, math.inf) == 1.9
    assert curves.when_reached(made, TARGET, 1.0, math.inf) is None
    assert len(curves.running_best(made, TARGET, math.inf)) == 2


def test_points_without_the_fields_are_whole() -> None:
    payload = msgspec.json.encode(points([1.0])[0])
    fields = msgspec.json.decode(payload)
    del fields["evaluated_examples"], fields["se"]
    assert not msgspec.convert(fields, Point).screened
