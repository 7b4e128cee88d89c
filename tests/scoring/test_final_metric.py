"""The final metric of pools and streams, and the runs that have none."""

from __future__ import annotations

import math
from typing import Any

import msgspec
import pytest

from harness.contract.record import Record
from harness.scoring.final_metric import FinalMetric, final_metric, final_metric_name
from tests.scoring import builders


def on_stream(losses: list[float], stages: list[int], **changes: Any) -> Record:
    """A run on a stream with two stages, with the loss and the stage of each evaluation."""
    made = builders.record(builders.spec(workload=builders.stream()), losses, status="exhausted", hit=None)
    points = [msgspec.structs.replace(point, stage=k) for point, k in zip(made.points, stages, strict=True)]
    return msgspec.structs.replace(made, points=tuple(points), **changes)


def screened(record: Record, index: int) -> Record:
    """The record whose evaluation at this index used only a part of the split."""
    points = list(record.points)
    points[index] = msgspec.structs.replace(points[index], evaluated_examples=64)
    return msgspec.structs.replace(record, points=tuple(points))


def test_on_a_pool_the_last_evaluation_counts() -> None:
    run = builders.record(losses=[3.0, 2.0, 1.5])
    assert final_metric(run) == FinalMetric(1.5, run.reason)
    assert final_metric(screened(run, 2)).value == 2.0
    assert final_metric_name(run.spec.workload.facts) == "loss"


def test_on_a_stream_the_ends_of_the_stages_are_averaged() -> None:
    run = on_stream([5.0, 2.0, 9.0, 6.0, 4.0], [0, 0, 1, 1, 1])
    assert final_metric(run).value == pytest.approx((2.0 + 4.0) / 2)
    assert final_metric(screened(run, 0)).value == pytest.approx(3.0)
    assert final_metric(screened(run, 4)).value == pytest.approx((2.0 + 6.0) / 2)
    assert final_metric_name(run.spec.workload.facts) == "loss (mean over stages)"


def test_a_run_on_a_stream_without_the_end_of_a_stage_has_no_final_metric() -> None:
    early = on_stream([5.0, 2.0], [0, 0], reason="stage 1 was not passed")
    assert final_metric(early) == FinalMetric(None, "ended in stage 1 of 2: stage 1 was not passed")
    skipped = on_stream([9.0, 4.0], [1, 1])
    assert final_metric(skipped) == FinalMetric(None, "loss is nan")
    worse = on_stream([math.inf, 4.0], [0, 1])
    assert final_metric(worse).value is None


@pytest.mark.parametrize("status", ["crashed", "diverged", "running"])
def test_a_run_that_did_not_complete_has_no_final_metric(status: str) -> None:
    run = msgspec.structs.replace(builders.record(losses=[3.0, 1.5]), status=status, reason="why", hit=None)
    assert final_metric(run) == FinalMetric(None, "why")
    assert final_metric(msgspec.structs.replace(run, points=())) == FinalMetric(None, "why")


@pytest.mark.parametrize("loss", [math.nan, math.inf])
def test_a_metric_that_is_not_finite_is_no_final_metric(loss: float) -> None:
    run = builders.record(losses=[3.0, loss], status="exhausted", hit=None)
    assert final_metric(run) == FinalMetric(None, f"loss is {loss}")
