"""The score columns of a leaderboard: one list, from which every format takes them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from harness.report import values
from harness.report.values import NO_VALUE
from harness.scoring.leaderboard import Leaderboard, LeaderboardRow
from harness.scoring.stats import Spread


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreColumn:
    """One column of scores, in text, Markdown, HTML, CSV, JSON and the report page.

    Args:
        key: its name in CSV and JSON; a spread adds `<key>_spread` to JSON, `<key>_low` and `<key>_high` to CSV.
        heading: its name for people.
        value: the number or word as JSON has it; None where there is none.
        text: the same as people read it, with its spread.
        spread: the ends of the value's interval or range, for a column that has them.
        csv: the value as CSV has it, where that differs from JSON.
        right: whether cells are aligned to the right.
        shown: whether people see the column in a table; CSV and JSON always have it.
        highest_first: whether the report page sorts by it from the highest value down.
    """

    key: str
    heading: str
    value: Callable[[LeaderboardRow], Any]
    text: Callable[[LeaderboardRow, Leaderboard], str]
    spread: Callable[[LeaderboardRow], Spread | None] | None = None
    csv: Callable[[LeaderboardRow], Any] | None = None
    right: bool = True
    shown: Callable[[Leaderboard], bool] = lambda board: True
    highest_first: bool = False

    def json_fields(self, row: LeaderboardRow) -> dict[str, Any]:
        """The column's fields in a row of JSON."""
        fields = {self.key: self.value(row)}
        if self.spread is not None:
            fields[f"{self.key}_spread"] = values.spread_json(self.spread(row))
        return fields

    def csv_fields(self, row: LeaderboardRow | None) -> dict[str, Any]:
        """The column's fields in a row of CSV; empty for runs that are never ranked."""
        read = self.csv or self.value
        fields = {self.key: None if row is None else read(row)}
        if self.spread is not None:
            ends = None if row is None else self.spread(row)
            fields |= {f"{self.key}_low": ends and ends.low, f"{self.key}_high": ends and ends.high}
        return fields


def _ranks_times(board: Leaderboard) -> bool:
    return board.query.metric is None


def _ranks_metrics(board: Leaderboard) -> bool:
    return board.query.metric is not None


def _n(row: LeaderboardRow, board: Leaderboard) -> str:
    fewest, most = row.n
    return str(fewest) if fewest == most else f"{fewest}–{most}"


def _anchored(row: LeaderboardRow, board: Leaderboard) -> str:
    return NO_VALUE if row.anchored is None else f"{row.anchored:.3f}{values.spread(row.anchored_spread, 3)}"


def _speedup(row: LeaderboardRow, board: Leaderboard) -> str:
    if row.speedup is None or row.speedup.value is None:
        return NO_VALUE
    used, total = len(row.speedup.workloads), len(board.workloads)
    return f"{row.speedup.value:.2f}×" + ("" if used == total else f" ({used} of {total})")


#: Every column, from left to right. A new score is one more entry here.
SCORE_COLUMNS: Final[list[ScoreColumn]] = [
    ScoreColumn(key="n", heading="n", value=lambda row: list(row.n), text=_n, csv=lambda row: row.n[0]),
    ScoreColumn(
        key="anchored",
        heading="anchored",
        value=lambda row: row.anchored,
        text=_anchored,
        spread=lambda row: row.anchored_spread,
        shown=_ranks_times,
        highest_first=True,
    ),
    ScoreColumn(
        key="profile",
        heading="profile",
        value=lambda row: row.profile,
        text=lambda row, board: NO_VALUE if row.profile is None else f"{row.profile:.4f}",
        shown=_ranks_times,
        highest_first=True,
    ),
    ScoreColumn(
        key="speedup",
        heading="speed-up",
        value=lambda row: row.speedup.value if row.speedup else None,
        text=_speedup,
        shown=_ranks_times,
        highest_first=True,
    ),
    ScoreColumn(
        key="mean_place",
        heading="mean rank",
        value=lambda row: row.mean_rank,
        text=lambda row, board: NO_VALUE if row.mean_rank is None else f"{row.mean_rank:.2f}",
        shown=_ranks_metrics,
    ),
    ScoreColumn(
        key="peak_memory_bytes",
        heading="peak memory",
        value=lambda row: row.memory or None,
        text=lambda row, board: f"{row.memory / 2**20:,.0f} MiB" if row.memory else NO_VALUE,
    ),
    ScoreColumn(
        key="trust",
        heading="trust",
        value=lambda row: row.trust,
        text=lambda row, board: row.trust,
        right_aligned=False,
    ),
]
