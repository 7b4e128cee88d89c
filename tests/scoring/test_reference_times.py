"""Anchored scores are relative to frozen numbers of examples, which do not change with the table."""

from __future__ import annotations

import math
from typing import Any

import pytest

from harness.contract.envelope import EnvelopeHorizon, ReferenceEnvelope
from harness.contract.record import Record
from harness.scoring.leaderboard import Leaderboard, build_leaderboards
from harness.scoring.reference_times import frozen_examples
from harness.scoring.scores import anchored_term
from harness.scoring.summary import LeaderboardQuery, summarize
from tests.report import synthetic


def envelope(*examples: float | None, workload: str = "hills@1", reference: str = "alpha@1") -> ReferenceEnvelope:
    horizons = tuple(EnvelopeHorizon(examples=n, hparams={}, metrics=(m, m)) for n, m in ((2000, 2.0), (4000, 1.0)))
    return ReferenceEnvelope(
        workload=workload, metric="loss", goal="min", budget=4000, reference=reference, hardware="cpu-synthetic",
        horizons=horizons, target_examples=examples,
    )  # fmt: skip


def table(speed_of_reference: float, *envelopes: ReferenceEnvelope, **changes: Any) -> Leaderboard:
    records: list[Record] = [synthetic.record("alpha", study=k, speed=speed_of_reference) for k in range(3)]
    records += [synthetic.record("beta", study=k, speed=2.0) for k in range(3)]
    query = LeaderboardQuery(
        references=("alpha",), envelopes={envelope.workload: envelope for envelope in envelopes}, **changes
    )
    (board,) = build_leaderboards([summarize(record, query) for record in records], query)
    return board


def scores(board: Leaderboard) -> dict[str, float | None]:
    return {row.submission: row.anchored for row in board.rows}


def own_times(board: Leaderboard) -> bool:
    return any("relative to the reference's runs in this table" in note for note in board.notes)


def test_frozen_examples_are_a_median_that_counts_misses() -> None:
    assert frozen_examples(envelope(900.0, 1000.0, 1400.0)) == 1000.0
    assert frozen_examples(envelope(900.0, None, None)) == math.inf
    assert frozen_examples(envelope()) == math.inf


def test_a_repetition_of_the_references_runs_does_not_change_the_scores_by_examples() -> None:
    frozen = envelope(1000.0, 1100.0, 1200.0)
    first, second = (table(speed, frozen, by="examples") for speed in (1.0, 1.5))
    assert scores(first)["beta@1"] == scores(second)["beta@1"]
    (beta,) = (row for row in first.rows if row.submission == "beta@1")
    assert scores(first)["beta@1"] == pytest.approx(anchored_term(beta.cells["hills@1"].value, 1100.0))
    assert scores(first)["alpha@1"] != scores(second)["alpha@1"]
    assert not own_times(first)
    without = [table(speed, by="examples") for speed in (1.0, 1.5)]
    assert scores(without[0])["beta@1"] != scores(without[1])["beta@1"]
    assert own_times(without[0])


def test_times_are_frozen_examples_times_the_cost_in_the_table() -> None:
    """In these runs, 1,000 examples take one second."""
    board = table(1.0, envelope(1100.0), by="measured-time")
    (beta,) = (row for row in board.rows if row.submission == "beta@1")
    assert beta.anchored == pytest.approx(anchored_term(beta.cells["hills@1"].value, 1.1))
    assert beta.speedup is not None
    assert beta.speedup.value == pytest.approx(0.5, rel=0.15), "relative to the runs in the table"


@pytest.mark.parametrize(
    ("other", "changes"),
    [
        (envelope(1100.0, reference="alpha@2"), {}),
        (envelope(1100.0, workload="hills@2"), {}),
        (envelope(None, None, 1100.0), {}),
        (envelope(), {}),
        (envelope(1100.0), {"level": "easy"}),
    ],
)
def test_without_frozen_examples_the_table_has_its_own_times_and_says_so(
    other: ReferenceEnvelope, changes: dict[str, Any]
) -> None:
    board = table(1.0, other, **changes)
    assert scores(board)["alpha@1"] == pytest.approx(0.4)
    assert own_times(board)
