"""A new score column is one entry in one list."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator

import pytest

from harness.report import html, leaderboard
from harness.report.score_columns import SCORE_COLUMNS, ScoreColumn
from harness.scoring.leaderboard import Leaderboard, LeaderboardRow, build_leaderboards
from harness.scoring.stats import Spread
from harness.scoring.summary import LeaderboardQuery, summarize
from tests.report import synthetic

QUERY = LeaderboardQuery(references=("alpha",))


def total_hits(row: LeaderboardRow) -> int:
    return sum(cell.hits for cell in row.cells.values())


@pytest.fixture
def boards() -> Iterator[list[Leaderboard]]:
    """Leaderboards of the synthetic field, with one more column in the list."""
    column = ScoreColumn(
        key="total_hits",
        heading="total hits",
        value=total_hits,
        text=lambda row, board: f"{total_hits(row)} hits in all",
        spread=lambda row: Spread(low=71.0, high=72.0, kind="range"),
        highest_first=True,
    )
    SCORE_COLUMNS.append(column)
    yield build_leaderboards([summarize(record, QUERY) for record in synthetic.field()], QUERY)
    SCORE_COLUMNS.remove(column)


def test_it_appears_in_text_markdown_and_html(boards: list[Leaderboard]) -> None:
    shown = leaderboard.as_text(boards, width=300)
    assert re.search(r"trust +total hits +hills@1", shown)
    assert re.search(r"alpha@1.* 6 hits in all", shown)
    assert re.search(r"\| total hits \|.*\n.*\n.*\| 6 hits in all \|", leaderboard.as_markdown(boards))
    assert "<th class=r>total hits</th>" in leaderboard.as_html(boards)
    assert "<td class=r>6 hits in all</td>" in leaderboard.as_html(boards)


def test_it_appears_in_csv_and_json(boards: list[Leaderboard]) -> None:
    row = next(csv.DictReader(io.StringIO(leaderboard.as_csv(boards))))
    assert (row["total_hits"], row["total_hits_low"], row["total_hits_high"]) == ("6", "71.0", "72.0")
    plain = json.loads(json.dumps(leaderboard.as_json(boards, [])))["tables"][0]["rows"][0]
    assert plain["total_hits"] == 6
    assert plain["total_hits_spread"] == {"low": 71.0, "high": 72.0, "kind": "range"}


def test_it_appears_on_the_report_page(boards: list[Leaderboard]) -> None:
    (table, _) = html.payload(synthetic.page_summaries(synthetic.field()), QUERY)["tables"]
    assert table["columns"][-1] == {
        "key": "total_hits", "heading": "total hits", "right": True, "highest_first": True,
    }  # fmt: skip
    assert table["rows"][0]["total_hits"] == 6
    assert table["rows"][0]["score_texts"]["total_hits"] == "6 hits in all"


def test_a_column_that_does_not_apply_is_hidden_from_people_alone() -> None:
    boards = build_leaderboards([summarize(record, QUERY) for record in synthetic.field()], QUERY)
    assert "mean rank" not in leaderboard.as_text(boards)
    assert "mean_place" in leaderboard.as_csv(boards)
