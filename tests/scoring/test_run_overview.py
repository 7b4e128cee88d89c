"""The overview of a run: best and final metric, what it took, what the user set."""

from __future__ import annotations

import math

import msgspec

from harness.contract.record import Record
from harness.report.progress import metric_summary
from harness.scoring.run_overview import run_overview
from tests.scoring import builders


def with_losses(*losses: float) -> Record:
    """A run that missed, with these losses at its evaluations; nan is an evaluation without one."""
    record = builders.record(losses=list(losses), status="exhausted", hit=None)
    known = tuple(
        point if math.isfinite(point.metrics["loss"]) else msgspec.structs.replace(point, metrics={})
        for point in record.points
    )
    return msgspec.structs.replace(record, points=known)


def test_best_and_final_are_of_the_primary_metric() -> None:
    record = with_losses(3.0, 1.2, 1.4)
    overview = run_overview(record, note="tried it")
    assert (overview.best, overview.final, overview.hit) == (1.2, 1.4, False)
    assert overview.examples == record.points[-1].cost > 0
    assert overview.note == "tried it"


def test_a_run_that_diverged_has_a_best_and_no_final_metric() -> None:
    overview = run_overview(with_losses(3.0, 1.2, math.nan))
    assert (overview.best, overview.final) == (1.2, None)


def test_a_run_without_evaluations_has_neither() -> None:
    record = msgspec.structs.replace(with_losses(1.0), points=())
    overview = run_overview(record)
    assert (overview.best, overview.final, overview.examples, overview.seconds) == (None, None, 0, 0.0)
    assert metric_summary(record) == ""


def test_the_summary_names_metric_and_target() -> None:
    summary = metric_summary(with_losses(3.0, 1.2, 1.4))
    assert "best 1.2, final 1.4, target " in summary
