"""Limits on work while the clock is stopped."""

from __future__ import annotations

import math

import pytest

from harness.execution.off_clock import OffClockLimits


@pytest.mark.parametrize(
    ("main", "tree", "word"),
    [(9.9, 9.9, ""), (0.5, 10.1, "importing the submission took 10.1"), (10.1, 10.1, "compute in the constructor")],
)
def test_an_import_counts_with_its_processes(main: float, tree: float, word: str) -> None:
    limits = OffClockLimits()
    limits.add("import", main, tree, 0.0)
    assert word in limits.violation
    assert bool(word) is bool(limits.violation)


def test_evaluations_are_compared_with_the_first_one() -> None:
    limits = OffClockLimits()
    for seconds in (0.2, 0.3, 1.9):
        limits.add("evaluation", seconds, seconds, 1.0)
    assert limits.violation == ""
    limits.add("evaluation", 2.1, 2.1, 1.0)
    assert "one evaluation took 2.1 processor seconds while the clock was stopped" in limits.violation


def test_a_stream_evaluates_all_stages_so_far() -> None:
    limits = OffClockLimits(stages=5)
    limits.add("evaluation", 0.2, 0.2, 1.0)
    limits.add("evaluation", 5.9, 5.9, 1.0)
    assert limits.violation == ""


def test_a_clean_process_gives_the_measure() -> None:
    limits = OffClockLimits(evaluation_cost=0.1, build_cost=1.0)
    limits.add("build", 4.9, 4.9, 0.0)
    limits.add("evaluation", 1.4, 1.4, 0.0)
    assert limits.violation == ""
    limits.add("build", 0.2, 0.2, 0.0)
    assert "building the workload" in limits.violation


def test_a_resumed_run_without_a_measure_has_no_limit() -> None:
    limits = OffClockLimits(evaluation_cost=math.inf)
    limits.add("evaluation", 100.0, 100.0, 1.0)
    assert limits.violation == ""


@pytest.mark.parametrize(("spent", "rejected"), [(6.9, False), (7.1, True)])
def test_checkpoints_take_no_longer_than_the_run(spent: float, rejected: bool) -> None:
    limits = OffClockLimits()
    limits.add("evaluation", 1.0, 1.0, 4.0)
    limits.add("checkpoint", spent, spent, 4.0)
    assert ("checks and checkpoints" in limits.violation) is rejected


def test_helpers_are_named() -> None:
    limits = OffClockLimits()
    limits.add_helpers(3.4, "process trainer (17)", 13.4)
    assert limits.violation == ""
    limits.add_helpers(3.6, "process trainer (17)", 13.6)
    assert limits.violation.startswith("process trainer (17) computed while the clock was stopped")


def test_work_while_the_clock_is_stopped_is_charged_above_small_amounts() -> None:
    outside = OffClockLimits(evaluates_outside=True)
    assert outside.find_excess("evaluation", 0.02, 1.0) == 0
    assert outside.find_excess("evaluation", 0.52, 1.0) == pytest.approx(0.5)
    inside = OffClockLimits(evaluation_cost=0.2)
    assert inside.find_excess("evaluation", 0.41, 1.0) == 0
    assert inside.find_excess("evaluation", 0.91, 1.0) == pytest.approx(0.5)


def test_all_other_phases_share_one_allowance() -> None:
    """0.3 s plus 10 % of 1 s are free; the worker may call the phase what it likes."""
    limits = OffClockLimits()
    assert limits.find_excess("checkpoint", 0.3, 1.0) == 0
    assert limits.find_excess("start", 0.3, 1.0) == pytest.approx(0.2)
    assert limits.find_excess("build", 0.5, 1.0) == pytest.approx(0.5)


@pytest.mark.parametrize(("stops", "evaluations", "rejected"), [(6, 0, False), (7, 0, True), (26, 10, False)])
def test_the_clock_stops_twice_for_each_evaluation(stops: int, evaluations: int, rejected: bool) -> None:
    limits = OffClockLimits()
    limits.check_stops(stops, evaluations)
    assert bool(limits.violation) is rejected
