"""The leaderboard in words and numbers: cells once, then text, Markdown, CSV, HTML or JSON."""

from __future__ import annotations

import csv
import html
import io
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from harness.report import table, text
from harness.scoring.cells import Cell
from harness.scoring.leaderboard import Leaderboard, LeaderboardRow
from harness.scoring.scores import Skipped
from harness.scoring.stats import Spread

SCHEMA = 1
MISSED = "missed"
BROKE = "broke"
NO_RUN = "–"
#: Columns wider than this go to a table of their own.
WIDTH = 140
#: The worst share of simulated tables of three copies of one submission in which two had different ranks.
FALSE_RANKS = 0.049
AXES = {"time": "{clock} seconds", "wall": "wall seconds", "process": "process seconds"}
CSV_COLUMNS = (
    *("hardware", "ruleset", "ranked", "by", "level", "rank_low", "rank_high", "submission", "trust", "n"),
    *("anchored", "anchored_low", "anchored_high", "spread", "profile", "speedup", "mean_place", "peak_memory_bytes"),
    *("workload", "value", "low", "high", "studies", "hits"),
)
EXPLAINED = (
    "anchored: mean over workloads of clip(log2(4·t_ref/t)/5, 0, 1); 0.4 is the reference's own",
    "profile: AlgoPerf's score; it depends on which other submissions are in the table",
    "[low – high]: 95 % interval for the median from six studies on; {low – high}: under six the range of the studies",
    "rank: best and worst that the pairs told apart leave; copies of one submission are told apart in "
    f"{FALSE_RANKS:.1%} of tables at most (simulated: docs/statistics.md)",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """A table as strings: heading, rows, and the columns that are numbers."""

    title: str
    heading: list[str]
    rows: list[list[str]]
    right: frozenset[int]


# --- one table --------------------------------------------------------------------------------------


def title(one: Leaderboard) -> str:
    """Hardware class, ruleset, what is counted; whether it ranks."""
    unranked = "" if one.ranked else ", unranked"
    return f"{one.hardware}, {one.ruleset}{unranked}: {_what(one)}"


def _what(one: Leaderboard) -> str:
    if one.query.metric is not None:
        return f"metric at {one.query.metric}"
    level = "" if one.query.level == "main" else f"{one.query.level} "
    return f"{axis(one)} to {level}target"


def axis(one: Leaderboard) -> str:
    """What is counted, in words."""
    return AXES.get(one.query.by, one.query.by).format(clock=one.clock)


def grids(one: Leaderboard) -> list[Grid]:
    """Scores and cells as one grid where it fits, otherwise as several that do."""
    lead, cells = _lead(one), _cell_columns(one)
    grid = full_grid(one)
    if _width(grid) <= WIDTH:
        return [grid]
    made = [_grid(title(one), [*lead, *_score_columns(one)])]
    name = f"{one.hardware}, {one.ruleset}: {_what(one)}"
    columns: list[list[str]] = []
    for column in cells:
        if columns and _width(_grid(name, [*lead, *columns, column])) > WIDTH:
            made.append(_grid(name, [*lead, *columns]))
            columns = []
        columns.append(column)
    return [*made, _grid(name, [*lead, *columns])] if columns else made


def full_grid(one: Leaderboard) -> Grid:
    """Everything side by side."""
    return _grid(title(one), [*_lead(one), *_score_columns(one), *_cell_columns(one)])


def _grid(name: str, columns: Sequence[list[str]]) -> Grid:
    rows = [list(row) for row in zip(*columns, strict=True)]
    return Grid(title=name, heading=rows[0], rows=rows[1:], right=frozenset(range(len(columns))) - {1})


def _width(grid: Grid) -> int:
    return sum(max(len(row[i]) for row in (grid.heading, *grid.rows)) + 2 for i in range(len(grid.heading)))


def _lead(one: Leaderboard) -> list[list[str]]:
    return [["rank", *(rank(row) for row in one.rows)], ["submission", *(_name(row, one) for row in one.rows)]]


def _score_columns(one: Leaderboard) -> list[list[str]]:
    columns = [["n", *(_n(row) for row in one.rows)]]
    if one.query.metric is not None:
        columns.append(["mean place", *(f"{row.place or 0:.2f}" for row in one.rows)])
    else:
        columns += [
            ["anchored", *(anchored(row) for row in one.rows)],
            ["profile", *(NO_RUN if row.profile is None else f"{row.profile:.4f}" for row in one.rows)],
            ["speed-up", *(_speedup(row, one) for row in one.rows)],
        ]
    columns.append(["peak memory", *(_memory(row.memory) for row in one.rows)])
    columns.append(["trust", *(row.trust for row in one.rows)])
    return columns


def _cell_columns(one: Leaderboard) -> list[list[str]]:
    return [
        [facts.id + (" (coarse)" if facts.coarse else ""), *(cell(row.cells.get(facts.id), one) for row in one.rows)]
        for facts in one.workloads
    ]


def rank(row: LeaderboardRow) -> str:
    """`2`, or `1–3` where pairs cannot be told apart."""
    return str(row.ranks[0]) if row.ranks[0] == row.ranks[1] else f"{row.ranks[0]}–{row.ranks[1]}"


def _name(row: LeaderboardRow, one: Leaderboard) -> str:
    return row.submission + (" (reference)" if row.submission == one.reference else "")


def _n(row: LeaderboardRow) -> str:
    return str(row.n[0]) if row.n[0] == row.n[1] else f"{row.n[0]}–{row.n[1]}"


def anchored(row: LeaderboardRow) -> str:
    """The primary score with its spread."""
    return NO_RUN if row.anchored is None else f"{row.anchored:.3f}{spread(row.anchored_spread, 3)}"


def _speedup(row: LeaderboardRow, one: Leaderboard) -> str:
    if row.speedup is None or row.speedup.value is None:
        return NO_RUN
    of = (
        ""
        if len(row.speedup.workloads) == len(one.workloads)
        else f" ({len(row.speedup.workloads)} of {len(one.workloads)})"
    )
    return f"{row.speedup.value:.2f}×{of}"


def _memory(size: int) -> str:
    return NO_RUN if not size else f"{size / 2**20:,.0f} MiB"


def cell(one: Cell | None, board: Leaderboard) -> str:
    """A median with its spread; a miss and a workload without a run have their marks."""
    if one is None:
        return NO_RUN
    metric = board.query.metric is not None
    digits = 4 if metric else 2 if board.query.by in AXES else 0
    without = BROKE if metric else MISSED
    shown = without if math.isinf(one.value) else f"{one.value:,.{digits}f}"
    if one.hits < one.studies:
        shown += f" ({one.studies - one.hits}/{one.studies} broke)" if metric else f" ({one.hits}/{one.studies} hit)"
    return shown + ("*" if one.early else "") + spread(one.spread, digits, without)


def spread(ends: Spread | None, digits: int, infinite: str = MISSED) -> str:
    """` [low – high]` for an interval, ` {low – high}` for a range, nothing where there is none.

    >>> spread(Spread(low=1.0, high=2.0, kind="range"), 1)
    ' {1.0 – 2.0}'
    """
    if ends is None or ends.low == ends.high:
        return ""
    low, high = (infinite if math.isinf(end) else f"{end:,.{digits}f}" for end in (ends.low, ends.high))
    return f" [{low} – {high}]" if ends.kind == "interval" else f" {{{low} – {high}}}"


def below(one: Leaderboard) -> list[str]:
    """What is said below a table: notes, and what was left out and why."""
    return [*(f"note: {line}" for line in one.notes), *left_out(one.left_out)]


def left_out(skipped: Iterable[Skipped], most: int = 3) -> list[str]:
    """One line per reason, with the first few that it holds for."""
    by_reason: dict[tuple[str, str], list[str]] = {}
    for one in skipped:
        by_reason.setdefault(("incomplete" if one.counted else "left out", one.why), []).append(one.what)
    lines = []
    for (fate, why), what in by_reason.items():
        more = f", and {len(what) - most} more" if len(what) > most else ""
        lines.append(f"{fate}: {len(what)} ({why}): {', '.join(what[:most])}{more}")
    return lines


# --- whole outputs ----------------------------------------------------------------------------------


def _shown(boards: Sequence[Leaderboard]) -> list[Leaderboard]:
    return [one for one in boards if one.rows]


def as_text(boards: Sequence[Leaderboard], per_workload: table.Leaderboard, more: Sequence[Grid] = ()) -> str:
    """Everything as plain text; `more` are tables of another kind."""
    blocks = []
    for one in boards:
        if one.rows:
            blocks += [f"{g.title}\n{text.columns([g.heading, *g.rows], right=g.right)}" for g in grids(one)]
        if one.rows or one.left_out:
            blocks.append("\n".join(below(one)) if one.rows else "\n".join([title(one), *below(one)]))
    if any(one.rows and one.query.metric is None for one in boards):
        blocks.append("\n".join(EXPLAINED))
    blocks += [f"{g.title}\n{text.columns([g.heading, *g.rows], right=g.right)}" for g in more]
    blocks.append(table.as_text(per_workload))
    return "\n\n".join(block for block in blocks if block)


def as_markdown(
    boards: Sequence[Leaderboard],
    per_workload: table.Leaderboard,
    problems: Sequence[str] = (),
    more: Sequence[Grid] = (),
) -> str:
    """A page, made to be committed: no date and no machine path in it."""
    lines = ["# Leaderboard", "", "Generated by `bench leaderboard --format md`; do not edit.", ""]
    if not _shown(boards):
        lines += ["No results yet.", ""]
    for one in boards:
        lines += [f"## {one.hardware}, {one.ruleset}{'' if one.ranked else ' (unranked)'}", "", f"{_what(one)}", ""]
        if one.rows:
            lines += [*_markdown_grid(full_grid(one)), ""]
        lines += [*(f"- {line}" for line in below(one)), ""]
    if any(one.rows and one.query.metric is None for one in boards):
        lines += ["## How to read it", "", *(f"- {line}" for line in EXPLAINED), ""]
    for grid in more:
        lines += [f"### {grid.title}", "", *_markdown_grid(grid), ""]
    for board in per_workload.boards:
        heading, *rows = table.cells(board)
        right = frozenset({0, 2, 3, 4, 5})
        grid = Grid(title=table.header(board), heading=heading, rows=rows, right=right)
        lines += [f"### {grid.title}", "", *_markdown_grid(grid), ""]
    lines += [f"- left out: {problem}" for problem in problems]
    return "\n".join(lines).rstrip() + "\n"


def _markdown_grid(grid: Grid) -> list[str]:
    def row(values: Sequence[str]) -> str:
        return "| " + " | ".join(value.replace("|", "\\|") for value in values) + " |"

    rule = "|" + "|".join("--:" if i in grid.right else "---" for i in range(len(grid.heading))) + "|"
    return [row(grid.heading), rule, *(row(r) for r in grid.rows)]


def as_csv(boards: Sequence[Leaderboard]) -> str:
    """One row per submission and workload: numbers only; a miss is `inf`."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(CSV_COLUMNS)
    for one in boards:
        for row in one.rows:
            ends, speed = row.anchored_spread, row.speedup.value if row.speedup else None
            by = f"metric@{one.query.metric}" if one.query.metric else one.query.by
            kind = next((c.spread.kind for c in row.cells.values()), "")
            first = [one.hardware, one.ruleset, one.ranked, by, one.query.level, *row.ranks, row.submission]
            scores = [row.anchored, ends.low if ends else None, ends.high if ends else None, kind, row.profile, speed]
            for name, c in row.cells.items():
                cells = [name, c.value, c.spread.low, c.spread.high, c.studies, c.hits]
                writer.writerow([*first, row.trust, row.n[0], *scores, row.place, row.memory or None, *cells])
    return out.getvalue()


def as_html(boards: Sequence[Leaderboard], per_workload: table.Leaderboard, more: Sequence[Grid] = ()) -> str:
    """A plain page of tables, without a script."""
    parts = []
    for one in _shown(boards):
        parts += [*(_html_grid(full_grid(one)),), *(f"<p>{html.escape(line)}</p>" for line in below(one))]
    parts += map(_html_grid, more)
    for board in per_workload.boards:
        heading, *rows = table.cells(board)
        right = frozenset({0, 2, 3, 4, 5})
        parts.append(_html_grid(Grid(title=table.header(board), heading=heading, rows=rows, right=right)))
    style = (
        ":root{color-scheme:light dark}body{font:16px/1.5 system-ui,sans-serif;margin:1rem}"
        "table{border-collapse:collapse;margin:1rem 0}td,th{padding:.25rem .6rem;border-bottom:1px solid #8886}"
        ".r{text-align:right}caption{text-align:left;font-weight:600}div{overflow-x:auto}"
    )
    body = "\n".join(parts) or "<p>No results yet.</p>"
    explained = "".join(f"<p>{html.escape(line)}</p>" for line in EXPLAINED)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width">'
        f"<title>Leaderboard</title><style>{style}</style></head><body><h1>Leaderboard</h1>\n{body}\n{explained}"
        "</body></html>\n"
    )


def _html_grid(grid: Grid) -> str:
    def row(values: Sequence[str], tag: str) -> str:
        cells = (
            f"<{tag}{' class=r' if i in grid.right else ''}>{html.escape(v)}</{tag}>" for i, v in enumerate(values)
        )
        return f"<tr>{''.join(cells)}</tr>"

    rows = "".join(row(r, "td") for r in grid.rows)
    caption = f"<caption>{html.escape(grid.title)}</caption>"
    return f"<div><table>{caption}<thead>{row(grid.heading, 'th')}</thead><tbody>{rows}</tbody></table></div>"


# --- JSON -------------------------------------------------------------------------------------------


def as_json(boards: Sequence[Leaderboard], per_workload: table.Leaderboard, problems: Sequence[str]) -> dict[str, Any]:
    """Plain data; a miss is null."""
    return {
        **table.as_json(per_workload),
        "tables": [standings_json(one) for one in boards],
        "problems": list(problems),
    }


def standings_json(one: Leaderboard) -> dict[str, Any]:
    """One table as plain data."""
    return {
        "hardware": one.hardware,
        "ruleset": one.ruleset,
        "ranked": one.ranked,
        "clock": one.clock,
        "by": f"metric@{one.query.metric}" if one.query.metric else one.query.by,
        "level": one.query.level,
        "reference": one.reference,
        "workloads": [facts.id for facts in one.workloads],
        "counted": list(one.anchored_workloads),
        "rows": [_row_json(row) for row in one.rows],
        "ties": [list(pair) for pair in one.ties],
        "notes": list(one.notes),
        "left_out": [{"what": s.what, "why": s.why, "counted": s.counted} for s in one.left_out],
    }


def _row_json(row: LeaderboardRow) -> dict[str, Any]:
    return {
        "submission": row.submission,
        "ranks": list(row.ranks),
        "trust": row.trust,
        "n": list(row.n),
        "anchored": row.anchored,
        "anchored_spread": _spread_json(row.anchored_spread),
        "profile": row.profile,
        "speedup": row.speedup.value if row.speedup else None,
        "speedup_workloads": list(row.speedup.workloads) if row.speedup else [],
        "mean_place": row.place,
        "peak_memory_bytes": row.memory or None,
        "cells": {
            name: {
                "value": finite(c.value),
                "spread": _spread_json(c.spread),
                "studies": c.studies,
                "hits": c.hits,
                "stopped_early": c.early,
            }
            for name, c in row.cells.items()
        },
    }


def _spread_json(ends: Spread | None) -> dict[str, Any] | None:
    return None if ends is None else {"low": finite(ends.low), "high": finite(ends.high), "kind": ends.kind}


def finite(value: float | None) -> float | None:
    """A number that JSON has; None for a miss."""
    return value if value is not None and math.isfinite(value) else None
