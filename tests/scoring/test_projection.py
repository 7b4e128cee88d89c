"""Projections of `fixed-budget`: multipliers of one hardware class, costs from `bench cost` on another one."""

from __future__ import annotations

import math
from typing import Any

import msgspec
import pytest

from harness.contract.record import Record, Session
from harness.contract.run import Purpose
from harness.report.stopping_tables import StoppingResults
from harness.scoring.cost_ratio import cost_rates
from harness.scoring.multiplier_board import MultiplierBoard, MultiplierCell, ProjectedWorkload
from harness.scoring.multipliers import score_boards
from harness.scoring.relative_costs import pair_costs
from tests.scoring import builders
from tests.scoring.test_multipliers import as_stream, envelope, run, runs

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


def ranked(workload: str = "w", hardware: str = THERE, **more: Any) -> list[Record]:
    """Five runs with a compute multiplier of 1.5 that cost 4 seconds, and the reference's runs."""
    more |= {"workload": workload, "hardware": hardware}
    return at(hardware, [*runs([1.5] * 5, seconds=4.0, **more), *runs([1.0] * 5, "ref", seconds=2.0, **more)])


def at(hardware: str, records: list[Record]) -> list[Record]:
    """The records with different run IDs on each hardware class."""
    return [msgspec.structs.replace(one, run_id=f"{one.run_id}-{hardware}") for one in records]


def boards_of(records: list[Record], *workloads: str) -> dict[tuple[str, bool], MultiplierBoard]:
    """(hardware class, whether it is projected) -> board."""
    envelopes = {f"{name}@1": envelope(workload=f"{name}@1") for name in workloads or ("w",)}
    boards = score_boards(records, envelopes)
    found = {(board.hardware, bool(board.projected)): board for board in boards}
    assert len(found) == len(boards)
    return found


def cell_of(board: MultiplierBoard, submission: str = "a@1", workload: str = "w@1") -> MultiplierCell:
    (cell,) = (one for one in board.cells if (one.submission, one.workload) == (submission, workload))
    return cell


def test_a_projection_takes_the_multiplier_from_the_runs_and_the_cost_from_the_pairs() -> None:
    boards = boards_of([*ranked(), *cost_runs([1.2] * 5)])
    assert set(boards) == {(HERE, True), (THERE, False)}
    board = boards[HERE, True]
    cell = cell_of(board)
    assert cell.compute is not None
    assert cell.time is not None
    assert cell.compute.value == pytest.approx(1.5)
    assert cell.cost == pytest.approx(1.2), "the runs themselves cost 2.0"
    assert cell.time.value == pytest.approx(1.5 / 1.2)
    assert (cell.hardware, cell.projected_from) == (HERE, THERE)
    assert board.projected == {"w@1": ProjectedWorkload(sources=(THERE,), pairs=5, sessions=1)}
    assert [row.submission for row in board.rows] == ["a@1", "ref@1"]
    assert cell_of(board, "ref@1").cost == 1.0
    measured = cell_of(boards[THERE, False])
    assert measured.cost == pytest.approx(2.0)
    assert measured.projected_from == ""


def test_the_tables_say_what_is_projected() -> None:
    results = StoppingResults([*ranked(), *cost_runs([1.2] * 5)], {"w@1": envelope()})
    (grid,) = (one for one in results.grids() if one.is_ranking and HERE in one.title)
    assert "ranking projected on 1 of 1 pools by time multiplier" in grid.title
    (note,) = (note for note in grid.notes if note.startswith("projected: w; "))
    assert THERE in note
    assert "in 5 pairs of runs in 1 session(s)" in note
    titles = [one.title for one in results.grids() if "multipliers and cost" in one.title]
    assert sorted(f"projected from {THERE}" in title for title in titles) == [False, True]
    rows = results.as_json()["fixed_budget"]
    assert {row["projected_from"] for row in rows if row["table"] == "workload"} == {"", THERE}
    (first, _) = (row for row in rows if row["table"] == "ranking" and row["hardware"] == HERE)
    assert first["projected"] == {"w@1": [THERE]}


def test_the_interval_of_a_projection_contains_the_spread_of_the_pairs() -> None:
    same, spread = ([*ranked(), *cost_runs(ratios)] for ratios in ([1.2] * 5, [1.0, 1.1, 1.2, 1.3, 1.44]))
    certain, uncertain = (cell_of(boards_of(records)[HERE, True]).time for records in (same, spread))
    assert certain is not None
    assert uncertain is not None
    assert uncertain.value == pytest.approx(certain.value, rel=1e-2)
    low, high = uncertain.interval() or (1.0, 1.0)
    ends = certain.interval() or (0.0, math.inf)
    assert low < ends[0]
    assert high > ends[1]


def test_ten_pairs_are_shared_by_five_runs_so_that_all_count() -> None:
    cell = cell_of(boards_of([*ranked(), *cost_runs([1.0] * 5 + [1.44] * 5)])[HERE, True])
    assert cell.cost == pytest.approx(1.2)
    assert sorted(cell.studies.values()) == pytest.approx([1.2 / 1.5] * 5)


def test_runs_of_equal_studies_have_the_same_pairs() -> None:
    """Also if a submission lacks a study or has more of them: the noise of the reference cancels in differences."""
    ratios = [1.0, 1.1, 1.2, 1.3, 1.4]
    more = at(THERE, runs([1.5] * 6, "b", hardware=THERE)) + at(THERE, runs([1.5] * 5, "c", hardware=THERE))[1:]
    costs = [record for name in ("b", "c") for record in cost_runs(ratios, name, session="t")]
    board = boards_of([*ranked(), *more, *cost_runs(ratios, session="t"), *costs])[HERE, True]
    by_study = {name: {key[-1]: value for key, value in cell_of(board, f"{name}@1").studies.items()} for name in "abc"}
    assert [len(studies) for studies in by_study.values()] == [5, 6, 4]
    for study, value in by_study["a"].items():
        assert by_study["b"][study] == pytest.approx(value)
        assert by_study["c"].get(study, value) == pytest.approx(value)


def test_the_reference_needs_no_pair_for_each_of_its_runs() -> None:
    more = at(THERE, [run(1.0, "ref", study, hardware=THERE) for study in (5, 6, 7)])
    board = boards_of([*ranked(), *more, *cost_runs([1.2] * 5)])[HERE, True]
    assert len(cell_of(board, "ref@1").studies) == 8


def test_a_measured_ranking_is_never_changed() -> None:
    """Not even by costs of few submissions on another workload, or by runs of the reference with other code."""
    measured = [*ranked("v", HERE), *at(HERE, runs([1.3] * 5, "b", workload="v", hardware=HERE))]
    alone = boards_of(measured, "v", "w")[HERE, False]
    boards = boards_of([*measured, *ranked("w"), *cost_runs([1.0] * 5)], "v", "w")
    assert boards[HERE, False] == alone
    other = [changed(record, code_hash="bbbb") for record in [*ranked("w"), *cost_runs([1.0] * 5)]]
    assert boards_of([*measured, *other], "v", "w")[HERE, False] == alone


def test_a_projected_ranking_contains_the_measured_workloads() -> None:
    records = [*ranked("v", HERE), *ranked("w"), *cost_runs([1.0] * 5)]
    board = boards_of(records, "v", "w")[HERE, True]
    assert board.workloads == ("v@1", "w@1")
    assert set(board.projected) == {"w@1"}
    row = board.rows[0]
    assert row.cost == pytest.approx(math.sqrt(2.0))
    assert row.time is not None
    assert row.time.value == pytest.approx(1.5 / math.sqrt(2.0))


@pytest.mark.parametrize("purpose", ["score", "tuning"])
def test_own_runs_on_the_hardware_class_do_not_end_a_projection(purpose: Purpose) -> None:
    """Only scored runs of the reference do. One's own submission is compared with the projected ones."""
    own = at(HERE, runs([1.4] * 5, "mine", hardware=HERE, purpose=purpose))
    board = boards_of([*ranked(), *own, *cost_runs([1.2] * 5), *cost_runs([1.0] * 5, "mine", session="t")])[HERE, True]
    assert cell_of(board).cost == pytest.approx(1.2)
    mine = [cell for cell in board.cells if cell.submission == "mine@1"]
    assert [cell.cost for cell in mine] == ([pytest.approx(1.0)] if purpose == "score" else [])


def test_a_workload_that_was_measured_here_is_not_projected() -> None:
    boards = boards_of([*ranked(), *ranked(hardware=HERE), *cost_runs([1.2] * 5)])
    assert set(boards) == {(HERE, False), (THERE, False)}


def test_a_submission_without_enough_pairs_has_no_time_multiplier_and_says_so() -> None:
    """A submission without any cost on the hardware class is left out."""
    others = [*runs([1.2] * 5, "b", hardware=THERE), *runs([1.2] * 5, "c", hardware=THERE)]
    pairs = [*cost_runs([1.2] * 5), *cost_runs([1.1] * 4, "b")]
    board = boards_of([*ranked(), *at(THERE, others), *pairs])[HERE, True]
    cell = cell_of(board, "b@1")
    assert cell.time is None
    assert cell.compute is not None
    assert cell.remark == f"its cost on {HERE} is unknown"
    assert {row.submission for row in board.rows} == {"a@1", "b@1", "ref@1"}


@pytest.mark.parametrize("change", [{"batch_size": 7}, {"code_hash": "bbbb"}], ids=str)
def test_costs_of_other_code_or_at_another_batch_size_do_not_count(change: dict[str, Any]) -> None:
    pairs = cost_runs([0.1] * 5)
    pairs = [changed(one, **change) if one.spec.submission.name == "a" else one for one in pairs]
    cell = cell_of(boards_of([*ranked(), *pairs])[HERE, True])
    assert cell.time is None
    assert cell.remark == f"its cost on {HERE} is unknown"


def changed(record: Record, *, code_hash: str = "", batch_size: object = None) -> Record:
    spec = record.spec
    spec = msgspec.structs.replace(
        spec,
        submission=msgspec.structs.replace(spec.submission, code_hash=code_hash),
        hparams=dict(spec.hparams) if batch_size is None else {"batch_size": batch_size},
    )
    return msgspec.structs.replace(record, spec=spec)


def only(submission: str, records: list[Record]) -> list[Record]:
    return [record for record in records if record.spec.submission.name == submission]


@pytest.mark.parametrize(
    "records",
    [
        only("ref", cost_runs([1.2] * 5)),
        [changed(one, batch_size=size) for size in (None, 7) for one in only("ref", cost_runs([1.2] * 5))],
        only("a", cost_runs([1.2] * 5)),
        cost_runs([1.2] * 5, overridden=("lr",)),
        cost_runs([1.2] * 5, smoke=True),
        cost_runs([1.2] * 5, workload="other"),
        [msgspec.structs.replace(one, sessions=()) for one in cost_runs([1.2] * 5)],
        [msgspec.structs.replace(one, points=builders.points([9.0, 9.0], 0.0)) for one in cost_runs([1.2] * 5)],
        [*only("ref", cost_runs([1.2] * 5)), *only("a", cost_runs([1.2] * 5, session="later"))],
    ],
    ids=[
        "only the reference", "the reference twice", "no reference", "changed settings", "smoke", "another workload",
        "no session", "no seconds", "different sessions",
    ],
)  # fmt: skip
def test_there_is_no_table_without_pairs_of_the_reference_and_another_submission(records: list[Record]) -> None:
    assert set(boards_of([*ranked(), *records])) == {(THERE, False)}


def test_the_class_with_the_most_submissions_is_projected() -> None:
    """Tuning trials, plugins without costs and classes without the reference do not count."""
    tuning = at("cpu-busy", runs([1.5] * 20, hardware="cpu-busy", purpose="tuning"))
    plugins = at("cpu-busy", runs([1.5] * 20, "plugin", hardware="cpu-busy"))
    board = boards_of([*ranked(), *tuning, *plugins, *cost_runs([1.2] * 5)])[HERE, True]
    assert board.projected["w@1"].sources == (THERE,)


def test_streams_stay_apart() -> None:
    records = [*ranked(), *map(as_stream, ranked("v")), *cost_runs([1.2] * 5)]
    boards = score_boards(records, {"w@1": envelope(), "v@1": envelope(workload="v@1")})
    assert [(board.access, set(board.projected)) for board in boards if board.hardware == HERE] == [("pool", {"w@1"})]


def test_whole_runs_pay_their_construction_once() -> None:
    """The cost runs have 20 examples, 10 of them after the first evaluation, and a whole run has 100."""
    pairs = pair_costs([cost_run("ref", 0, 1.0)])
    ((seconds,),) = (blocks.values() for arms in pairs.seconds.values() for blocks in arms.values())
    per_example, construction = cost_rates(cost_run("ref", 0, 1.0))
    assert seconds == pytest.approx(construction + 100 * per_example)
