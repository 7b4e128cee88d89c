"""Makes the tables of a leaderboard: the ranking with its scores, and one table per workload."""

from __future__ import annotations

import math
from collections.abc import Sequence

from harness.contract.workload import Target
from harness.report import text, values
from harness.report.grid import Grid
from harness.report.headline import headline_sentences
from harness.report.marks import DOUBT
from harness.report.score_columns import SCORE_COLUMNS
from harness.report.values import NO_VALUE, family_text, rank_range
from harness.scoring.cells import Cell
from harness.scoring.details import DetailRow, WorkloadDetails
from harness.scoring.leaderboard import Leaderboard, LeaderboardRow

#: Text for a run that broke before it had a metric at the budget.
BROKE = "broke"
#: Quantity by which a leaderboard compares submissions (`--by`) -> its name in titles. Quantities that are absent here,
#: such as `examples`, have the same name in titles.
AXES = {
    "time": "{clock} seconds",
    "measured-time": "{clock} seconds as measured",
    "wall": "wall seconds",
    "process": "process seconds",
}
#: Number of columns at the left (rank and submission) that are repeated if a wide table is split into several tables.
LEADING_COLUMNS = 2


def title(board: Leaderboard) -> str:
    """Return the title of a leaderboard, such as `1xH200, external@1: wall seconds to target`."""
    unranked = "" if board.ranked else ", unranked"
    return f"{board.hardware}, {board.ruleset}{unranked}: {subject(board)}"


def subject(board: Leaderboard) -> str:
    """Return the quantity by which a leaderboard compares submissions, such as `process seconds to target`."""
    if board.query.metric_budget is not None:
        return f"metric at {board.query.metric_budget}"
    level = "" if board.query.level == "main" else f"{board.query.level} "
    axis = AXES.get(board.query.by, board.query.by).format(clock=board.clock)
    return f"{axis} to {level}target"


def ranking_grid(board: Leaderboard) -> Grid:
    """Make the ranking table: scores, and a cell for each workload."""
    rows = shown_rows(board)
    columns = [
        ["rank", *(rank_range(row.ranks) for row in rows)],
        ["submission", *(_name_with_signs(row.submission, board, row.doubted) for row in rows)],
    ]
    left_aligned = {1}
    for column in SCORE_COLUMNS:
        if column.shown(board):
            left_aligned |= set() if column.right_aligned else {len(columns)}
            columns.append([column.heading, *(column.text(row, board) for row in rows)])
    for facts in board.workloads:
        name = facts.id + (" (coarse)" if facts.coarse else "")
        columns.append([name, *(workload_cell(row.cells.get(facts.id), board) for row in rows)])
    heading, *cells = (list(row) for row in zip(*columns, strict=True))
    return Grid(
        title=title(board),
        heading=heading,
        rows=cells,
        right_aligned=frozenset(range(len(columns))) - left_aligned,
        leading_columns=LEADING_COLUMNS,
        first_row_leads=bool(rows) and _leads_alone(rows[0]),
        sentences=headline_sentences(board),
    )


def shown_rows(board: Leaderboard) -> list[LeaderboardRow]:
    """Return the rows of the ranking. With `--group all`, only the best row of each family is shown.

    A family consists of the rows with the same code and different settings. The reference is always shown, because the
    scores are relative to it.
    """
    if board.query.group != "all":
        return list(board.rows)
    return [row for row in board.rows if row.family is None or row.family.is_best or row.submission == board.reference]


def _shown_details(details: WorkloadDetails, board: Leaderboard) -> list[DetailRow]:
    """Return the rows that a workload's table shows.

    A row with ranks is shown if the ranking shows its submission. A family of runs that are never ranked is shown by
    its best row, except with `--group none`.
    """
    shown = {row.submission for row in shown_rows(board)}
    grouped = board.query.group != "none"
    return [
        row
        for row in details.rows
        if (row.submission in shown if row.ranks else row.family is None or row.family.is_best or not grouped)
    ]


def _leads_alone(row: LeaderboardRow) -> bool:
    """Return whether a row is the only row with the best rank."""
    return row.ranks == (1, 1)


def _name_with_signs(submission: str, board: Leaderboard, doubted: int) -> str:
    return submission + (" (reference)" if submission == board.reference else "") + (f" {DOUBT}" if doubted else "")


def workload_cell(cell: Cell | None, board: Leaderboard) -> str:
    """Return a median with its interval or range as text; a dash if there is no run.

    A miss is `missed`. In a table of metrics, a run that broke is `broke`.
    """
    if cell is None:
        return NO_VALUE
    is_metric = board.query.metric_budget is not None
    digits = 4 if is_metric else 2 if board.query.by in AXES else 0
    infinite = BROKE if is_metric else values.MISSED
    shown = infinite if math.isinf(cell.value) else f"{cell.value:,.{digits}f}"
    if cell.hits < cell.studies:
        broken = f" ({cell.studies - cell.hits}/{cell.studies} broke)"
        shown += broken if is_metric else f" ({cell.hits}/{cell.studies} hit)"
    return shown + ("*" if cell.early else "") + values.spread(cell.spread, digits, infinite)


def detail_grids(board: Leaderboard) -> list[Grid]:
    """Make one table for each workload, in the order and with the ranks of the leaderboard."""
    return [_detail_grid(details, board) for details in board.details]


def _detail_grid(details: WorkloadDetails, board: Leaderboard) -> Grid:
    heading = ["rank", "submission", "hits", f"{board.clock} seconds", "examples", "steps"]
    shown = _shown_details(details, board)
    has_families = any(row.family is not None for row in shown)
    has_gaps = any(row.audit_gap is not None for row in shown)
    heading += [*(["audit gap"] if has_gaps else []), "ended"]
    rows = [
        [
            rank_range(row.ranks),
            detail_name(row, board),
            f"{row.seconds.hits}/{row.seconds.studies}",
            values.median(row.seconds, 2),
            values.median(row.examples, 0),
            values.median(row.steps, 0),
            *([_format_gap(row.audit_gap)] if has_gaps else []),
            _describe_endings(row, details.targets),
            *([family_text(row.family, 2)] if has_families else []),
        ]
        for row in shown
    ]
    heading += ["family"] if has_families else []
    return Grid(
        title=_detail_title(details),
        heading=heading,
        rows=rows,
        right_aligned=frozenset({0, 2, 3, 4, 5, 6} if has_gaps else {0, 2, 3, 4, 5}),
        leading_columns=LEADING_COLUMNS,
        first_row_leads=bool(shown) and shown[0].ranks == (1, 1),
    )


def _format_gap(gap: float | None) -> str:
    return NO_VALUE if gap is None else f"{gap:+.2g}"


def _detail_title(details: WorkloadDetails) -> str:
    """Return a workload and its primary target, such as `lm-tiny@3: loss ≤ 1.07 nats per token`."""
    name = details.workload.id + (" (coarse)" if details.workload.coarse else "")
    if not details.targets:
        return name
    target = details.targets[0]
    unit = f" {target.unit}" if target.unit else ""
    return f"{name}: {target.metric} {text.target_bound(target)}{unit}"


def detail_name(row: DetailRow, board: Leaderboard) -> str:
    """Return the name of a submission, followed by its overrides and `--prune`, such as `wsd@1 [lr=0.01]`."""
    changes = [
        f"{name}={text.number(value) if isinstance(value, float) else value}" for name, value in row.overrides.items()
    ]
    if row.prune:
        changes.append("--prune")
    if not changes:
        return _name_with_signs(row.submission, board, row.doubted)
    return f"{row.submission} [{', '.join(changes)}]" + (f" {DOUBT}" if row.doubted else "")


def _describe_endings(row: DetailRow, targets: Sequence[Target]) -> str:
    """Return the final statuses of the runs, most frequent first. For misses, add the best metric and the target.

    For example `4 reached, 1 crashed` or `3 exhausted; missed, best 0.0902, target 0.0683`.
    """
    ordered = sorted(row.statuses.items(), key=lambda item: (-item[1], item[0]))
    statuses = ", ".join(f"{count} {status}" for status, count in ordered)
    if row.unconfirmed:
        statuses += f"; {row.unconfirmed} not confirmed on the split audit"
    if row.best is None or not targets:
        return statuses
    return f"{statuses}; missed, best {row.best:.4g}, target {text.number(targets[0].value)}"
