"""Records as outcomes and tables: hits recomputed, misses told from what is unknown, nothing left out in silence."""

from __future__ import annotations

import math

import msgspec
import pytest

from harness.contract.record import Record
from harness.contract.ruleset import Ruleset
from harness.contract.run import Point
from harness.contract.workload import Budget, Target
from harness.errors import UsageError
from harness.scoring import aggregate, selection, time_to_target
from tests.scoring.builders import facts, points, record, spec, stream

INF = math.inf


def target(value: float) -> list[Target]:
    return [Target(metric="loss", goal="min", value=value)]


def test_axes() -> None:
    run = record()
    assert time_to_target.target_result(run) == time_to_target.TargetResult(status="hit", value=3.0, lower=2.0, index=2)
    values = {
        by: time_to_target.target_result(run, by).value for by in ("time", "wall", "process", "examples", "steps")
    }
    assert values == {"time": 3.0, "wall": 6.0, "process": 3.0, "examples": 60.0, "steps": 3.0}
    on_gpu = record(spec(device="cuda"))
    assert time_to_target.target_result(on_gpu).value == 6.0


def test_other_targets() -> None:
    run = record()
    assert time_to_target.target_result(run, targets=target(1.5)).value == 2.0
    harder = time_to_target.target_result(run, targets=target(0.5))
    assert (harder.status, harder.value) == ("unknown", INF)
    assert "stopped at its own target" in harder.reason
    assert time_to_target.target_result(record(losses=[2.0, 1.5]), targets=target(0.5)).status == "miss"


def test_all_targets_at_one_evaluation() -> None:
    both = (*facts().targets, Target(metric="accuracy", goal="max", value=0.9))
    curve = tuple(
        msgspec.structs.replace(p, metrics={"loss": loss, "accuracy": accuracy})
        for p, loss, accuracy in zip(points([0, 0, 0]), [0.5, 2.0, 0.5], [0.5, 0.95, 0.95], strict=True)
    )
    run = record(spec(workload=facts(targets=both)), points=curve, hit=2, status="reached")
    assert time_to_target.target_result(run).index == 2


@pytest.mark.parametrize("status", ["exhausted", "diverged", "timeout", "out-of-memory", "crashed", "pruned"])
def test_misses(status: str) -> None:
    result = time_to_target.target_result(record(losses=[2.0], status=status, reason="why"))
    assert (result.status, result.value, result.reason) == ("miss", INF, f"{status}: why")
    assert time_to_target.target_result(record(losses=[], status=status)).status == "miss"


def test_rejected_is_a_miss_even_with_a_hit_and_interrupted_is_unknown() -> None:
    assert time_to_target.target_result(record(status="rejected", reason="edited")).status == "miss"
    assert time_to_target.target_result(record(losses=[2.0], status="interrupted")).status == "unknown"


def bad_point(**changes: object) -> Record:
    curve = points([2.0, 0.5])
    return record(losses=[2.0, 0.5], points=(curve[0], msgspec.structs.replace(curve[1], **changes)))


@pytest.mark.parametrize(
    ("run", "says"),
    [
        (bad_point(seconds=math.nan), "point 1 has seconds nan"),
        (bad_point(process_seconds=-1.0), "point 1 has process_seconds -1.0"),
        (bad_point(seconds=1.0), "earlier than the previous point"),
        (bad_point(metrics={"accuracy": 1.0}), "point 1 has no metric 'loss'"),
        (record(hit=7), "hit is 7"),
        (record(hit=1), "recorded hit is 1, but the first point that meets the targets is 2"),
        (record(losses=[2.0], status="reached"), "stopped at its own target"),
        (record(losses=[0.5], seconds=0.0), "the hit at point 0 is at 0.0 time"),
    ],
)
def test_bad_records_are_unknown_and_named(run: Record, says: str) -> None:
    result = time_to_target.target_result(run)
    assert result.status == "unknown"
    assert says in result.reason
    table = aggregate.aggregate([run, record(spec(study=1))])
    assert any(says in s.reason and run.run_id in s.item for s in table.skipped)
    assert table.times == {"a@1": {"w@1": 3.0}}


def test_nan_metric_is_no_hit() -> None:
    assert time_to_target.target_result(record(losses=[2.0, math.nan])).status == "miss"


def diverged(study: int = 0, name: str = "a") -> Record:
    """A run whose loss became NaN: JSON has none, so the point is stored without it."""
    curve = points([2.0, math.nan])
    last = msgspec.structs.replace(curve[1], metrics={})
    made = spec(name, study=study)
    return record(made, [2.0, 2.0], points=(curve[0], last), status="diverged", reason="loss is nan")


def test_a_divergence_is_a_miss_and_not_left_out() -> None:
    assert time_to_target.target_result(diverged()).status == "miss"
    table = aggregate.aggregate([diverged(study=0), record(spec(study=1)), record(spec(study=2))])
    assert table.studies["a@1"]["w@1"]["0", 0] == INF
    assert table.skipped == ()


def test_streams_keep_their_recorded_hit() -> None:
    run = record(spec(workload=stream()), losses=[0.5, 2.0, 0.5], hit=2)
    assert time_to_target.target_result(run).index == 2
    with pytest.raises(UsageError, match="is a stream"):
        time_to_target.target_result(run, targets=target(0.1))


def test_metric_at_a_budget() -> None:
    run = record()
    assert time_to_target.metric_at(run, 2.5) == time_to_target.MetricAt(value=1.5, at=2.0, stopped_early=False)
    assert time_to_target.metric_at(run, 9.0) == time_to_target.MetricAt(value=0.9, at=3.0, stopped_early=True)
    assert time_to_target.metric_at(run, 0.5) is None
    assert time_to_target.metric_at(run, 45, "examples") == time_to_target.MetricAt(
        value=1.5, at=40.0, stopped_early=False
    )


@pytest.mark.parametrize("status", ["diverged", "crashed", "out-of-memory"])
def test_a_run_that_broke_before_a_budget_has_the_worst_metric_there(status: str) -> None:
    """Otherwise to break early would be a way to keep a good value."""
    run = record(losses=[1.2, 1.1], status=status)
    broke = time_to_target.metric_at(run, 9.0)
    assert broke is not None
    assert broke.value == INF
    assert time_to_target.metric_at(run, 1.5) == time_to_target.MetricAt(value=1.2, at=1.0, stopped_early=False), (
        "it stood there"
    )
    assert time_to_target.metric_at(run, 2.0) == time_to_target.MetricAt(value=1.1, at=2.0, stopped_early=False)
    at_nan = time_to_target.metric_at(diverged(), 2.0)
    assert at_nan is not None
    assert at_nan.value == INF
    from_the_start = time_to_target.metric_at(record(losses=[], status=status), 9.0)
    assert from_the_start is not None
    assert from_the_start.value == INF
    accuracy = facts(targets=(Target(metric="loss", goal="max", value=3.0),))
    worst = time_to_target.metric_at(record(spec(workload=accuracy), [1.2], status=status, hit=None), 9.0)
    assert worst is not None
    assert worst.value == -INF
    assert time_to_target.metric_at(record(losses=[1.2], status="timeout"), 9.0) is not None


def test_a_trial_counts_once_under_each_ruleset() -> None:
    other = Ruleset(name="external", version="1", summary="", trials=1, studies=1)
    runs = [
        time_to_target.score_run(record(spec())),
        time_to_target.score_run(record(spec(ruleset=other), run_id="again")),
    ]
    kept, skipped = selection.select_usable(runs)
    assert (len(kept), skipped) == (2, [])


def test_studies_take_the_best_trial_and_workloads_the_median() -> None:
    rules = Ruleset(name="external", version="1", summary="", trials=2, studies=3)
    runs = [
        record(spec(study=s, trial=t, ruleset=rules), seconds=seconds)
        for s, row in enumerate([(1.0, 2.0), (4.0, 3.0), (9.0, 5.0)])
        for t, seconds in enumerate(row)
    ]
    table = aggregate.aggregate(runs)
    assert table.studies == {"a@1": {"w@1": {("0", 0): 3.0, ("0", 1): 9.0, ("0", 2): 15.0}}}
    assert table.times == {"a@1": {"w@1": 9.0}}
    assert table.skipped == ()
    fewer = aggregate.aggregate(runs[:-1])
    assert [s.reason for s in fewer.skipped] == ["1 of 2 trials"]


def test_missing_workloads_are_named() -> None:
    table = aggregate.aggregate([record(spec("a")), record(spec("a", facts("v"))), record(spec("b"))])
    assert [str(s) for s in table.skipped] == ["b@1/v@1: no run that can be scored; counts as a miss"]


def test_runs_that_never_rank_and_second_tries_are_named() -> None:
    first = record(started="2026-01-01")
    again = record(run_id="again", started="2026-01-02", seconds=0.1)
    same = record(started="2026-01-03")
    smoke = record(spec(study=1, smoke=True))
    by_hand = record(spec(study=2, overridden=("lr",)))
    profiled = record(spec(study=3, profile=True))
    kept, skipped = selection.select_usable(
        map(time_to_target.score_run, [again, same, first, smoke, by_hand, profiled])
    )
    assert [run.run_id for run in kept] == [first.run_id]
    assert len(skipped) == 5
    assert sum("never ranked" in s.reason for s in skipped) == 3
    assert any("was started earlier" in s.reason for s in skipped)
    assert any("second record with this id" in s.reason for s in skipped)
    assert len(selection.select_usable(map(time_to_target.score_run, [smoke, by_hand]), explore=True)[0]) == 2


@pytest.mark.parametrize(
    ("other", "says"),
    [
        (spec("b", hardware="gpu-y"), "two hardware classes: cpu-x and gpu-y"),
        (spec("b", ruleset=Ruleset(name="z", version="1", summary="", trials=1, studies=1)), "two rulesets"),
        (spec("b", facts(version="2")), "two versions of a workload: w@1 and w@2"),
        (
            spec("b", facts(budget=Budget(horizon=90, gradient_examples=90, seconds={"default": 90.0}))),
            "different budgets",
        ),
    ],
)
def test_what_may_not_be_mixed_is_refused(other: object, says: str) -> None:
    runs = [record(), record(other)]  # type: ignore[arg-type]
    with pytest.raises(UsageError, match=says):
        aggregate.aggregate(runs)


def test_no_record_that_counts_is_refused() -> None:
    with pytest.raises(UsageError, match="no record can be scored"):
        aggregate.aggregate([])
    with pytest.raises(UsageError, match="no record can be scored"):
        aggregate.aggregate([record(spec(smoke=True))])


def test_all_missed_is_a_table_of_misses() -> None:
    assert aggregate.aggregate([record(losses=[2.0])]).times == {"a@1": {"w@1": INF}}


def test_coarse_workloads_are_listed() -> None:
    assert aggregate.aggregate([record(spec(workload=facts(coarse=True)))]).coarse == {"w@1"}


def test_a_point_of_its_own() -> None:
    assert isinstance(record().points[0], Point)
