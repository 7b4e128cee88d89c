"""The score columns of a leaderboard. Every output format uses the same list of columns."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from harness.report import values
from harness.report.values import NO_VALUE
from harness.scoring.factors import TimeFactors
from harness.scoring.leaderboard import Leaderboard, LeaderboardRow
from harness.scoring.stats import Spread


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreColumn:
    """One column of scores in text, Markdown, HTML, CSV, JSON and the report page.

    Args:
        key: name of the column in CSV and JSON. A column with `spread` also has `<key>_spread` in JSON, and `<key>_low`
            and `<key>_high` in CSV.
        heading: column heading in tables.
        value: function that returns the value of a row for JSON; the value may be None.
        text: function that returns the value of a row as text, with its interval or range.
        spread: function that returns the interval or range of the value; None for a column without intervals.
        csv: function that returns the value of a row for CSV; None if CSV and JSON have the same value.
        right_aligned: whether cells are aligned to the right.
        shown: function that returns whether tables show the column. CSV and JSON always contain the column.
        highest_first: whether the report page sorts the column in descending order.
    """

    key: str
    heading: str
    value: Callable[[LeaderboardRow], Any]
    text: Callable[[LeaderboardRow, Leaderboard], str]
    spread: Callable[[LeaderboardRow], Spread | None] | None = None
    csv: Callable[[LeaderboardRow], Any] | None = None
    right_aligned: bool = True
    shown: Callable[[Leaderboard], bool] = lambda board: True
    highest_first: bool = False

    def json_fields(self, row: LeaderboardRow) -> dict[str, Any]:
        """Return the column's fields in a row of JSON."""
        fields = {self.key: self.value(row)}
        if self.spread is not None:
            fields[f"{self.key}_spread"] = values.spread_json(self.spread(row))
        return fields

    def csv_fields(self, row: LeaderboardRow | None) -> dict[str, Any]:
        """Return the column's fields in a row of CSV.

        Args:
            row: the row; None for a row of runs that are never ranked. The fields of such a row are empty.
        """
        csv_value = self.csv or self.value
        fields = {self.key: None if row is None else csv_value(row)}
        if self.spread is not None:
            ends = None if row is None else self.spread(row)
            fields |= {f"{self.key}_low": ends and ends.low, f"{self.key}_high": ends and ends.high}
        return fields


def _is_ranked_by_time(board: Leaderboard) -> bool:
    return board.query.metric_budget is None


def _is_ranked_by_metric(board: Leaderboard) -> bool:
    return board.query.metric_budget is not None


def _studies_text(row: LeaderboardRow, board: Leaderboard) -> str:
    min_studies, max_studies = row.n
    return str(min_studies) if min_studies == max_studies else f"{min_studies}–{max_studies}"


def _anchored_text(row: LeaderboardRow, board: Leaderboard) -> str:
    return NO_VALUE if row.anchored is None else f"{row.anchored:.3f}{values.spread(row.anchored_spread, 3)}"


def _speedup_text(row: LeaderboardRow, board: Leaderboard) -> str:
    if row.speedup is None or row.speedup.value is None:
        return NO_VALUE
    used, total = len(row.speedup.workloads), len(board.workloads)
    return f"{row.speedup.value:.2f}×" + ("" if used == total else f" ({used} of {total})")


def _factor_column(key: str, heading: str, factor: Callable[[TimeFactors], float]) -> ScoreColumn:
    """Make the column of one factor, a ratio to the reference.

    Args:
        key: name of the column in CSV and JSON.
        heading: column heading in tables.
        factor: function that returns the ratio from the factors of a submission.
    """

    def value(row: LeaderboardRow) -> float | None:
        return None if row.factors is None else factor(row.factors)

    def ratio_text(row: LeaderboardRow, board: Leaderboard) -> str:
        ratio = value(row)
        return NO_VALUE if ratio is None else f"{ratio:.2f}×"

    return ScoreColumn(key=key, heading=heading, value=value, text=ratio_text, shown=_is_ranked_by_time)


#: All columns, from left to right. In tables, `n` is the number of studies, as a range if it differs between workloads.
#: In CSV, it is the smallest number.
SCORE_COLUMNS: Final[list[ScoreColumn]] = [
    ScoreColumn(key="n", heading="n", value=lambda row: list(row.n), text=_studies_text, csv=lambda row: row.n[0]),
    ScoreColumn(
        key="anchored",
        heading="anchored",
        value=lambda row: row.anchored,
        text=_anchored_text,
        spread=lambda row: row.anchored_spread,
        shown=_is_ranked_by_time,
        highest_first=True,
    ),
    ScoreColumn(
        key="profile",
        heading="profile",
        value=lambda row: row.profile,
        text=lambda row, board: NO_VALUE if row.profile is None else f"{row.profile:.4f}",
        shown=_is_ranked_by_time,
        highest_first=True,
    ),
    ScoreColumn(
        key="speedup",
        heading="speed-up",
        value=lambda row: row.speedup.value if row.speedup else None,
        text=_speedup_text,
        shown=_is_ranked_by_time,
        highest_first=True,
    ),
    _factor_column("examples_ratio", "examples", lambda factors: factors.examples),
    _factor_column("cost_ratio", "cost", lambda factors: factors.cost),
    _factor_column("time_ratio", "time", lambda factors: factors.time),
    ScoreColumn(
        key="mean_place",  # "place" is an earlier word for "rank"; keys stay the same between versions
        heading="mean rank",
        value=lambda row: row.mean_rank,
        text=lambda row, board: NO_VALUE if row.mean_rank is None else f"{row.mean_rank:.2f}",
        shown=_is_ranked_by_metric,
    ),
    ScoreColumn(
        key="family",
        heading="family",
        value=lambda row: values.family_json(row.family),
        text=lambda row, board: values.family_text(row.family, 3),
        csv=lambda row: row.family.name if row.family else None,
        right_aligned=False,
        shown=lambda board: any(row.family is not None for row in board.rows),
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
    ScoreColumn(
        key="sandbox",
        heading="sandbox",
        value=lambda row: row.sandbox or None,
        text=lambda row, board: row.sandbox or NO_VALUE,
        right_aligned=False,
        shown=lambda board: any(row.sandbox for row in board.rows),
    ),
]
