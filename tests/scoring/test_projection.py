"""Projections of `fixed-budget`: multipliers of one hardware class, costs from `bench cost` on another one."""

from __future__ import annotations

import math
from typing import Any

import msgspec
import pytest

from harness.contract.record import Record, Session
from harness.report.stopping_tables import StoppingResults
from harness.scoring.multiplier_board import MultiplierBoard, MultiplierCell
from harness.scoring.multipliers import score_boards
from harness.scoring.relative_costs import pair_costs
from tests.scoring import builders
from tests.scoring.test_multipliers import as_stream, envelope, runs

HERE, THERE = "cpu-here", "cpu-there"


def cost_run(
    submission: str,
    pair: int,
    seconds: float,
    *,
    hardware: str = HERE,
    workload: str = "w",
    session: str = "s",
    **spec: Any,
) -> Record:
    """A run of `bench cost` with two intervals of 10 examples each, which take `seconds` each."""
    made = builders.spec(
        submission, builders.facts(workload), pair, purpose="cost", hardware=hardware, root_seed=9, stop=20, **spec
    )
    record = builders.record(made, [9.0, 9.0], seconds=2 * seconds, status="exhausted")
    return msgspec.structs.replace(record, sessions=(Session(invocation=session, machine="m"),))


def cost_runs(ratios: list[float], submission: str = "a", **more: Any) -> list[Record]:
    """Pairs of runs of a submission and of the reference; the machine becomes slower with each pair."""
    found = []
    for pair, ratio in enumerate(ratios):
        found += [cost_run("ref", pair, 1.0 + pair, **more), cost_run(submission, pair, ratio * (1.0 + pair), **more)]
    return found


def ranked(workload: str = "w", hardware: str = THERE) -> list[Record]:
    """Five runs with a compute multiplier of 1.5 that cost 4 seconds, and the reference's runs."""
    records = [
        *runs([1.5] * 5, seconds=4.0, workload=workload, hardware=hardware),
        *runs([1.0] * 5, "ref", seconds=2.0, workload=workload, hardware=hardware),
    ]
    return [msgspec.structs.replace(one, run_id=f"{one.run_id}-{hardware}") for one in records]


def board_of(records: list[Record], hardware: str = HERE, *workloads: str) -> MultiplierBoard:
    envelopes = {f"{name}@1": envelope(workload=f"{name}@1") for name in workloads or ("w",)}
    (board,) = (one for one in score_boards(records, envelopes) if one.hardware == hardware)
    return board


def cell_of(board: MultiplierBoard, submission: str = "a@1", workload: str = "w@1") -> MultiplierCell:
    (cell,) = (one for one in board.cells if (one.submission, one.workload) == (submission, workload))
    return cell


def test_a_projection_takes_the_multiplier_from_the_runs_and_the_cost_from_the_pairs() -> None:
    records = [*ranked(), *cost_runs([1.2] * 5)]
    board = board_of(records)
    cell = cell_of(board)
    assert cell.compute is not None
    assert cell.time is not None
    assert cell.compute.value == pytest.approx(1.5)
    assert cell.cost == pytest.approx(1.2), "the runs themselves cost 2.0"
    assert cell.time.value == pytest.approx(1.5 / 1.2)
    assert (cell.hardware, cell.projected_from) == (HERE, THERE)
    assert board.projected == {"w@1": THERE}
    assert [row.submission for row in board.rows] == ["a@1", "ref@1"]
    measured = cell_of(board_of(records, THERE))
    assert measured.cost == pytest.approx(2.0)
    assert measured.projected_from == ""


def test_the_tables_say_what_is_projected() -> None:
    records = [*ranked(), *cost_runs([1.2] * 5)]
    results = StoppingResults(records, {"w@1": envelope()})
    (grid,) = (one for one in results.grids() if one.is_ranking and HERE in one.title)
    assert "projected on 1 of 1 pools" in grid.title
    assert any(note.startswith("projected: w; ") and THERE in note for note in grid.notes)
    titles = [one.title for one in results.grids() if "multipliers and cost" in one.title]
    assert [f"projected from {THERE}" in title for title in titles] == [True, False]
    rows = results.as_json()["fixed_budget"]
    assert {row["projected_from"] for row in rows if row["table"] == "workload"} == {"", THERE}
    (first, _) = (row for row in rows if row["table"] == "ranking" and row["hardware"] == HERE)
    assert first["projected"] == {"w@1": THERE}


def test_the_interval_of_a_projection_contains_the_spread_of_the_pairs() -> None:
    same, spread = ([*ranked(), *cost_runs(ratios)] for ratios in ([1.2] * 5, [1.0, 1.1, 1.2, 1.3, 1.44]))
    certain, uncertain = (cell_of(board_of(records)).time for records in (same, spread))
    assert certain is not None
    assert uncertain is not None
    assert uncertain.value == pytest.approx(certain.value, rel=1e-2)
    low, high = uncertain.interval() or (1.0, 1.0)
    ends = certain.interval() or (0.0, math.inf)
    assert low < ends[0]
    assert high > ends[1]


def test_ten_pairs_are_shared_by_five_runs_so_that_all_count() -> None:
    board = board_of([*ranked(), *cost_runs([1.0] * 5 + [1.44] * 5)])
    cell = cell_of(board)
    assert cell.cost == pytest.approx(1.2)
    assert sorted(cell.studies.values()) == pytest.approx([1.2 / 1.5] * 5)


def test_runs_on_the_hardware_class_itself_are_never_replaced() -> None:
    records = [*ranked(), *ranked(hardware=HERE), *cost_runs([1.2] * 5)]
    board = board_of(records)
    assert board.projected == {}
    assert cell_of(board).cost == pytest.approx(2.0)


def test_a_measured_and_a_projected_workload_share_a_ranking() -> None:
    records = [*ranked("v", HERE), *ranked("w"), *cost_runs([1.0] * 5)]
    board = board_of(records, HERE, "v", "w")
    assert board.workloads == ("v@1", "w@1")
    assert board.projected == {"w@1": THERE}
    row = board.rows[0]
    assert row.cost == pytest.approx(math.sqrt(2.0))
    assert row.time is not None
    assert row.time.value == pytest.approx(1.5 / math.sqrt(2.0))


def test_a_submission_without_enough_pairs_has_no_time_multiplier_and_says_so() -> None:
    """A submission without any cost on the hardware class is left out."""
    others = [*runs([1.2] * 5, "b", hardware=THERE), *runs([1.2] * 5, "c", hardware=THERE)]
    board = board_of([*ranked(), *others, *cost_runs([1.2] * 5), *cost_runs([1.1] * 4, "b", session="t")])
    cell = cell_of(board, "b@1")
    assert cell.time is None
    assert cell.compute is not None
    assert cell.remark == f"its cost on {HERE} is unknown"
    assert {row.submission for row in board.rows} == {"a@1", "b@1", "ref@1"}


def test_costs_at_another_batch_size_do_not_count() -> None:
    pairs = [
        *(record for record in cost_runs([1.2] * 5, hparams={"batch_size": 7}) if record.spec.submission.name == "a"),
        *(record for record in cost_runs([1.2] * 5) if record.spec.submission.name == "ref"),
    ]
    cell = cell_of(board_of([*ranked(), *pairs]))
    assert cell.time is None
    assert cell.remark == f"its cost on {HERE} is unknown"


@pytest.mark.parametrize(
    "records",
    [
        [record for record in cost_runs([1.2] * 5) if record.spec.submission.name == "ref"],
        [record for record in cost_runs([1.2] * 5) if record.spec.submission.name == "a"],
        cost_runs([1.2] * 5, overridden=("lr",)),
        cost_runs([1.2] * 5, workload="other"),
    ],
    ids=["only the reference", "no reference", "changed settings", "another workload"],
)
def test_there_is_no_table_without_costs_of_the_reference_and_another_submission(records: list[Record]) -> None:
    boards = score_boards([*ranked(), *records], {"w@1": envelope()})
    assert [board.hardware for board in boards] == [THERE]


def test_pairs_of_different_sessions_are_not_compared() -> None:
    reference = [record for record in cost_runs([1.2] * 5) if record.spec.submission.name == "ref"]
    own = [record for record in cost_runs([1.2] * 5, session="later") if record.spec.submission.name == "a"]
    pairs = pair_costs([*reference, *own])
    assert ("a@1", 0) not in pairs.relative_to(HERE, "w@1", "ref@1").log_ratios


def test_the_class_with_the_most_runs_is_projected_and_streams_stay_apart() -> None:
    few = [record for record in ranked(hardware="cpu-few") if record.spec.study < 3]
    records = [*ranked(), *few, *map(as_stream, ranked("v")), *cost_runs([1.2] * 5)]
    boards = [
        one
        for one in score_boards(records, {"w@1": envelope(), "v@1": envelope(workload="v@1")})
        if one.hardware == HERE
    ]
    assert [(board.access, board.projected) for board in boards] == [("pool", {"w@1": THERE})]
