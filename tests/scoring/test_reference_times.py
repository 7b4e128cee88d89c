"""Anchored scores are relative to frozen numbers of examples, which do not change with the table."""

from __future__ import annotations

import math
from typing import Any

import msgspec
import pytest

from harness.contract.record import Record
from harness.contract.reference_times import ReferenceTimes
from harness.contract.workload import scale_budget
from harness.plugins.package_files import REFERENCE_TIMES_FILE, published_reference_times
from harness.plugins.registry import load_registry
from harness.report.leaderboard import as_json
from harness.scoring.leaderboard import Leaderboard, build_leaderboards
from harness.scoring.reference_times import frozen_examples
from harness.scoring.scores import anchored_term
from harness.scoring.summary import LeaderboardQuery, summarize
from tests.report import synthetic
from tools import make_reference_times


def published(*examples: int | None, **changes: Any) -> ReferenceTimes:
    facts = synthetic.facts()
    base = ReferenceTimes(
        workload=facts.id, reference="alpha@1", hparams={}, budget=facts.budget.horizon, targets=facts.targets,
        examples=examples,
    )  # fmt: skip
    changed: ReferenceTimes = msgspec.structs.replace(base, **changes)
    return changed


def table(speed_of_reference: float, *frozen: ReferenceTimes, workload: Any = None, **changes: Any) -> Leaderboard:
    records: list[Record] = [synthetic.record("alpha", workload, k, speed=speed_of_reference) for k in range(3)]
    records += [synthetic.record("beta", workload, k, speed=2.0) for k in range(3)]
    query = LeaderboardQuery(references=("alpha",), frozen={times.workload: times for times in frozen}, **changes)
    (board,) = build_leaderboards([summarize(record, query) for record in records], query)
    return board


def scores(board: Leaderboard) -> dict[str, float | None]:
    return {row.submission: row.anchored for row in board.rows}


def remarks(board: Leaderboard) -> list[str]:
    return [note.rpartition(": ")[2] for note in board.notes if note.startswith("anchored scores on hills@1 use")]


def test_frozen_examples_are_a_median_that_counts_misses() -> None:
    assert frozen_examples(published(900, 1000, 1400)) == 1000.0
    assert frozen_examples(published(900, None, None)) == math.inf


def test_a_repetition_of_the_references_runs_does_not_change_the_scores_by_examples() -> None:
    frozen = published(1000, 1100, 1200)
    first, second, missed = (table(speed, frozen, by="examples") for speed in (1.0, 1.5, 99.0))
    assert scores(first)["beta@1"] == scores(second)["beta@1"] == scores(missed)["beta@1"]
    assert first.anchor_times == {"hills@1": 1100.0}
    assert as_json([first], [], [])["tables"][0]["anchor_times"] == {"hills@1": 1100.0}
    (beta,) = (row for row in first.rows if row.submission == "beta@1")
    assert beta.anchored == pytest.approx(anchored_term(beta.cells["hills@1"].value, 1100.0))
    assert scores(first)["alpha@1"] != scores(second)["alpha@1"]
    assert scores(missed)["alpha@1"] == 0.0
    assert not remarks(first)
    without = [table(speed, by="examples") for speed in (1.0, 1.5)]
    assert scores(without[0])["beta@1"] != scores(without[1])["beta@1"]
    assert remarks(without[0]) == ["none are published for this target"]


def test_times_are_frozen_examples_times_the_cost_in_the_table() -> None:
    """In these runs, 1,000 examples take one second."""
    board = table(1.0, published(1100), by="measured-time")
    assert board.anchor_times == {"hills@1": pytest.approx(1.1)}
    (beta,) = (row for row in board.rows if row.submission == "beta@1")
    assert beta.anchored == pytest.approx(anchored_term(beta.cells["hills@1"].value, 1.1))
    assert beta.speedup is not None
    assert beta.speedup.value == pytest.approx(0.5, rel=0.15), "relative to the runs in the table"


@pytest.mark.parametrize(
    ("other", "changes", "reason"),
    [
        (published(1100, reference="alpha@2"), {}, "those of alpha@2 are published"),
        (published(1100, workload="hills@2"), {}, "none are published for this target"),
        (published(1100, budget=1), {}, "the published ones are for another budget or target"),
        (published(1100, targets=()), {}, "the published ones are for another budget or target"),
        (
            published(1100),
            {"workload": scale_budget(synthetic.facts(), 1.5)},
            "the published ones are for another budget or target",
        ),
        (published(None, None, 1100), {}, "the published runs missed the target"),
        (published(1100), {"level": "easy"}, "none are published for this target"),
    ],
)
def test_without_frozen_times_the_table_has_its_own_and_says_why(
    other: ReferenceTimes, changes: dict[str, Any], reason: str
) -> None:
    board = table(1.0, other, **changes)
    assert scores(board)["alpha@1"] == pytest.approx(0.4)
    assert remarks(board) == [reason]


def test_the_published_times_are_those_of_the_calibrations() -> None:
    assert make_reference_times.FILE.read_bytes() == make_reference_times.content(), (
        "stale: run python -m tools.make_reference_times"
    )
    assert make_reference_times.FILE.name == REFERENCE_TIMES_FILE
    registry = load_registry()
    times = published_reference_times(registry.workloads())
    assert {"lm-tiny@3", "resnet-digits@4"} <= set(times)
    for workload, one in times.items():
        facts = registry.workload(workload.partition("@")[0]).facts
        assert (one.budget, one.targets) == (facts.budget.horizon, facts.targets)
        hits = sum(examples is not None for examples in one.examples)
        assert hits >= 0.9 * len(one.examples), "the reference reaches the target"
        assert frozen_examples(one) <= facts.budget.horizon
