"""Renders leaderboards as text, Markdown, CSV, HTML and JSON."""

from __future__ import annotations

import csv
import html
import io
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from harness.errors import escape_controls
from harness.report import text
from harness.report.escaping import escape_csv, escape_markdown
from harness.report.grid import PLAIN, Grid, Palette, grid_html, grid_markdown, grid_text
from harness.report.headline import headline_json
from harness.report.leaderboard_grids import detail_grids, ranking_grid, subject, title
from harness.report.marks import mark_lines, marks_json
from harness.report.score_columns import SCORE_COLUMNS
from harness.report.values import family_json, finite_or_none, skipped_json, skipped_lines, spread_json
from harness.report.verdicts import verdicts_json
from harness.scoring.cells import Cell
from harness.scoring.details import DetailRow, WorkloadDetails
from harness.scoring.leaderboard import Leaderboard, LeaderboardRow
from harness.scoring.marked import MarkedRecord

#: Version of the JSON schema. Since version 2, the rows of `boards` and `tables` have the same order, ranks and names.
SCHEMA = 2
#: Fraction of simulated tables in which three copies of one submission do not have the same rank. It is the largest
#: value in the column `different ranks` of docs/statistics.md.
FALSE_RANKS = 0.049
#: Explanations of columns, printed below leaderboards.
EXPLAINED = (
    "anchored: mean over workloads of clip(log2(4·t_ref/t)/5, 0, 1), where t and t_ref are the times to target of the "
    "submission and of the tuned reference; 0.4 is the speed of the tuned reference",
    "profile: AlgoPerf's score; it depends on which other submissions are in the table",
    "examples, cost, time: ratios to the reference; time = examples × cost per example. On a CPU, the time between two "
    "evaluations is the median over all runs of the submission (--by measured-time shows the measured seconds)",
    "[low – high]: 95 % interval for the median, from six or more studies; {low – high}: range of fewer studies",
    "rank: best and worst rank consistent with the significant pairwise differences; copies of one submission get "
    f"different ranks in at most {FALSE_RANKS:.1%} of simulated tables (docs/statistics.md); –: runs are never ranked",
)
#: Note below a ranking that shows one row per family.
GROUPED = (
    "a family (one method with several settings) is shown by its best setting; its score is too good, because the same "
    "results chose the setting; the ranks count all settings (--group none lists them)"
)
#: Names of the amounts in `DetailRow.amounts`.
_AMOUNTS = ("seconds", "examples", "steps")


def has_content(boards: Sequence[Leaderboard]) -> bool:
    """Return whether any leaderboard has a row."""
    return any(board.rows or board.details for board in boards)


def notes(board: Leaderboard) -> list[str]:
    """Return the lines below a leaderboard: its notes, and one line for each reason why items were left out."""
    grouped = [GROUPED] if board.query.group == "all" and any(row.family for row in board.rows) else []
    return [*(f"note: {line}" for line in (*board.notes, *grouped)), *skipped_lines(board.left_out)]


def _has_ranking_by_time(boards: Sequence[Leaderboard]) -> bool:
    return any(board.rows and board.query.metric_budget is None for board in boards)


def _split_by_rank(boards: Sequence[Leaderboard]) -> tuple[list[Leaderboard], list[Leaderboard]]:
    """Return the leaderboards of ranked rulesets, and the others.

    The tables of rulesets with results of their own, such as `fixed-budget`, stand between the two.
    """
    return [board for board in boards if board.ranked], [board for board in boards if not board.ranked]


def as_text(
    boards: Sequence[Leaderboard],
    more: Sequence[Grid] = (),
    marked: Sequence[MarkedRecord] = (),
    *,
    width: int | None = None,
    palette: Palette = PLAIN,
) -> str:
    """Return leaderboards as text.

    Args:
        boards: the leaderboards.
        more: tables of rulesets with results of their own, printed before the leaderboards of unranked rulesets.
        marked: the records that were doubted or withdrawn.
        width: characters per line; None for the terminal's width (see `text.fit_table`).
        palette: terminal colours.
    """
    blocks: list[str] = []
    ranked, unranked = _split_by_rank(boards)
    blocks += _board_texts(ranked, width, palette)
    blocks += [grid_text(grid, width, palette) for grid in more]
    blocks += _board_texts(unranked, width, palette)
    if _has_ranking_by_time(boards):
        blocks.append("\n".join(palette.lines(palette.note, text.wrap(line, width)) for line in EXPLAINED))
    blocks.append("\n".join(palette.lines(palette.note, text.wrap(line, width)) for line in mark_lines(marked)))
    return "\n\n".join(block for block in blocks if block)


def _board_texts(boards: Sequence[Leaderboard], width: int | None, palette: Palette) -> Iterator[str]:
    for board in boards:
        if board.rows:
            yield grid_text(ranking_grid(board), width, palette)
        elif board.details or board.left_out:
            yield palette.lines(palette.title, text.wrap(title(board), width))
        yield "\n".join(palette.lines(palette.note, text.wrap(note, width)) for note in notes(board))
        yield from (grid_text(grid, width, palette) for grid in detail_grids(board))


def as_markdown(
    boards: Sequence[Leaderboard],
    problems: Sequence[str] = (),
    more: Sequence[Grid] = (),
    marked: Sequence[MarkedRecord] = (),
) -> str:
    """Return leaderboards as a Markdown page. It does not say when it was made, so equal results give an equal page.

    Args:
        boards: the leaderboards.
        problems: messages about files that are not valid records.
        more: tables of rulesets with results of their own, written before the leaderboards of unranked rulesets.
        marked: the records that were doubted or withdrawn.
    """
    lines = ["# Leaderboard", "", "Generated by `bench leaderboard --format md`; do not edit.", ""]
    if not has_content(boards):
        lines += ["No results yet.", ""]
    ranked, unranked = _split_by_rank(boards)
    lines += _board_markdown(ranked)
    for grid in more:
        level = "##" if grid.is_ranking else "###"
        lines += [f"{level} {escape_markdown(grid.title)}", "", *grid_markdown(grid), ""]
    lines += _board_markdown(unranked)
    if _has_ranking_by_time(boards):
        lines += ["## How to read it", "", *(f"- {line}" for line in EXPLAINED), ""]
    lines += [f"- {escape_markdown(line)}" for line in mark_lines(marked)]
    lines += [f"- left out: {escape_markdown(problem)}" for problem in problems]
    return "\n".join(lines).rstrip() + "\n"


def _board_markdown(boards: Sequence[Leaderboard]) -> Iterator[str]:
    for board in boards:
        unranked = "" if board.ranked else " (unranked)"
        yield from (f"## {escape_markdown(f'{board.hardware}, {board.ruleset}{unranked}')}", "")
        yield from (escape_markdown(subject(board)), "")
        if board.rows:
            yield from (*grid_markdown(ranking_grid(board)), "")
        yield from (*(f"- {escape_markdown(line)}" for line in notes(board)), "")
        for grid in detail_grids(board):
            yield from (f"### {escape_markdown(grid.title)}", "", *grid_markdown(grid), "")


def as_html(boards: Sequence[Leaderboard], more: Sequence[Grid] = (), marked: Sequence[MarkedRecord] = ()) -> str:
    """Return leaderboards as an HTML page of tables without a script.

    Args:
        boards: the leaderboards.
        more: tables of rulesets with results of their own, written before the leaderboards of unranked rulesets.
        marked: the records that were doubted or withdrawn.
    """
    ranked, unranked = _split_by_rank(boards)
    parts = [*_board_html(ranked), *map(grid_html, more), *_board_html(unranked)]
    parts += [f"<p>{html.escape(line)}</p>" for line in mark_lines(marked)]
    style = (
        ":root{color-scheme:light dark}body{font:16px/1.5 system-ui,sans-serif;margin:1rem}"
        "table{border-collapse:collapse;margin:1rem 0}td,th{padding:.25rem .6rem;border-bottom:1px solid #8886}"
        ".r{text-align:right}caption{text-align:left;font-weight:600}div{overflow-x:auto}"
    )
    body = "\n".join(parts) or "<p>No results yet.</p>"
    explanations = EXPLAINED if _has_ranking_by_time(boards) else ()
    explained = "".join(f"<p>{html.escape(line)}</p>" for line in explanations)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width">'
        f"<title>Leaderboard</title><style>{style}</style></head><body><main><h1>Leaderboard</h1>\n{body}"
        f"\n{explained}</main></body></html>\n"
    )


def _board_html(boards: Sequence[Leaderboard]) -> Iterator[str]:
    for board in boards:
        if board.rows:
            yield grid_html(ranking_grid(board))
        elif board.details or board.left_out:
            yield f"<p>{html.escape(escape_controls(title(board)))}</p>"
        yield from (f"<p>{html.escape(escape_controls(line))}</p>" for line in notes(board))
        yield from map(grid_html, detail_grids(board))


# --- CSV --------------------------------------------------------------------------------------------


def as_csv(boards: Sequence[Leaderboard]) -> str:
    """Return leaderboards as CSV, with one row per submission and workload.

    A miss is `inf`. The ranks are empty in rows of runs that are never ranked. An apostrophe is put before a text that
    a spreadsheet would evaluate as a formula.
    """
    out = io.StringIO()
    writer = csv.DictWriter(out, _csv_columns(), lineterminator="\n")
    writer.writeheader()
    for board in boards:
        writer.writerows({name: escape_csv(value) for name, value in row.items()} for row in _csv_rows(board))
    return out.getvalue()


def _csv_columns() -> list[str]:
    return [
        *("hardware", "ruleset", "ranked", "by", "level", "rank_low", "rank_high", "submission"),
        *(name for column in SCORE_COLUMNS for name in column.csv_fields(None)),
        *("workload", "value", "low", "high", "spread", "studies", "hits"),
        *(f"{amount}{end}" for amount in _AMOUNTS for end in ("", "_low", "_high")),
        *("statuses", "audit_gap", "unconfirmed", "overrides", "prune", "doubted"),
    ]


def _csv_rows(board: Leaderboard) -> Iterator[dict[str, Any]]:
    details = {
        (details.workload.id, row.submission): row for details in board.details for row in details.rows if row.ranks
    }
    for row in board.rows:
        scores = {"rank_low": row.ranks[0], "rank_high": row.ranks[1], **_score_fields(row)}
        for workload, cell in row.cells.items():
            fields = {"submission": row.submission, "workload": workload, **scores, **_cell_fields(cell)}
            yield {**_table_fields(board), **fields, **_detail_fields(details.get((workload, row.submission)))}
    for workload_details in board.details:
        for detail in workload_details.rows:
            if detail.ranks is None:
                fields = {"submission": detail.submission, "workload": workload_details.workload.id}
                fields |= {"family": detail.family.name} if detail.family else {}
                studies = {"studies": detail.seconds.studies, "hits": detail.seconds.hits}
                yield {**_table_fields(board), **fields, **studies, **_detail_fields(detail)}


def _table_fields(board: Leaderboard) -> dict[str, Any]:
    names = {"hardware": board.hardware, "ruleset": board.ruleset, "ranked": board.ranked}
    return {**names, "by": _ranking_key(board), "level": board.query.level}


def _score_fields(row: LeaderboardRow) -> dict[str, Any]:
    return {name: value for column in SCORE_COLUMNS for name, value in column.csv_fields(row).items()}


def _cell_fields(cell: Cell) -> dict[str, Any]:
    ends = {"low": cell.spread.low, "high": cell.spread.high, "spread": cell.spread.kind}
    return {"value": cell.value, **ends, "studies": cell.studies, "hits": cell.hits}


def _detail_fields(detail: DetailRow | None) -> dict[str, Any]:
    if detail is None:
        return {}
    fields: dict[str, Any] = {}
    for name, cell in detail.amounts.items():
        fields |= {name: cell.value, f"{name}_low": cell.spread.low, f"{name}_high": cell.spread.high}
    statuses = " ".join(f"{status}:{count}" for status, count in sorted(detail.statuses.items()))
    overrides = json.dumps(detail.overrides) if detail.overrides else None
    marks = {"prune": detail.prune or None, "doubted": detail.doubted or None}
    audit = {"audit_gap": detail.audit_gap, "unconfirmed": detail.unconfirmed or None}
    return {**fields, "statuses": statuses, **audit, "overrides": overrides, **marks}


# --- JSON -------------------------------------------------------------------------------------------


def as_json(
    boards: Sequence[Leaderboard], problems: Sequence[str], marked: Sequence[MarkedRecord] = ()
) -> dict[str, Any]:
    """Return leaderboards as plain data. A miss is null.

    Args:
        boards: the leaderboards.
        problems: messages about files that are not valid records.
        marked: the records that were doubted or withdrawn.
    """
    skipped = Counter(skip.reason for board in boards for skip in board.left_out if not skip.counted)
    return {
        "schema": SCHEMA,
        "boards": [_details_json(details, board) for board in boards for details in board.details],
        "left_out": dict(skipped),
        "tables": [leaderboard_json(board) for board in boards],
        "marked": marks_json(marked),
        "problems": list(problems),
    }


def leaderboard_json(board: Leaderboard) -> dict[str, Any]:
    """Return one leaderboard as plain data."""
    return {
        **leaderboard_fields(board),
        "headline": headline_json(board),
        "ties": [[pair.a, pair.b] for pair in board.verdicts if pair.verdict != "faster"],
        "verdicts": verdicts_json(board.verdicts),
        "left_out": skipped_json(board.left_out),
    }


def leaderboard_fields(board: Leaderboard) -> dict[str, Any]:
    """Return a leaderboard as plain data, without its headline, its verdicts and the reasons for what was left out."""
    return {
        "hardware": board.hardware,
        "ruleset": board.ruleset,
        "ranked": board.ranked,
        "clock": board.clock,
        "by": _ranking_key(board),
        "level": board.query.level,
        "reference": board.reference,
        "workloads": [facts.id for facts in board.workloads],
        "counted": list(board.anchor_times),
        "anchor_times": dict(board.anchor_times),
        "rows": [_row_json(row) for row in board.rows],
        "notes": list(board.notes),
    }


def _ranking_key(board: Leaderboard) -> str:
    return f"metric@{board.query.metric_budget}" if board.query.metric_budget else board.query.by


def _row_json(row: LeaderboardRow) -> dict[str, Any]:
    return {
        "submission": row.submission,
        "ranks": list(row.ranks),
        **{name: value for column in SCORE_COLUMNS for name, value in column.json_fields(row).items()},
        "doubted": row.doubted,
        "speedup_workloads": list(row.speedup.workloads) if row.speedup else [],
        "cells": {workload: _cell_json(cell) for workload, cell in row.cells.items()},
    }


def _cell_json(cell: Cell) -> dict[str, Any]:
    return {
        "value": finite_or_none(cell.value),
        "spread": spread_json(cell.spread),
        "studies": cell.studies,
        "hits": cell.hits,
        "stopped_early": cell.early,
    }


def _details_json(details: WorkloadDetails, board: Leaderboard) -> dict[str, Any]:
    return {
        "workload": details.workload.id,
        "hardware": board.hardware,
        "ruleset": board.ruleset,
        "ranked": board.ranked,
        "clock": board.clock,
        "rows": [_detail_json(row) for row in details.rows],
    }


def _detail_json(row: DetailRow) -> dict[str, Any]:
    return {
        "submission": row.submission,
        "ranks": None if row.ranks is None else list(row.ranks),
        "overrides": dict(row.overrides),
        "prune": row.prune,
        "n": row.seconds.studies,
        "hits": row.seconds.hits,
        **{
            name: {"median": finite_or_none(cell.value), **(spread_json(cell.spread) or {})}
            for name, cell in row.amounts.items()
        },
        "statuses": dict(row.statuses),
        "best": row.best,
        "audit_gap": row.audit_gap,
        "unconfirmed": row.unconfirmed,
        "doubted": row.doubted,
        "family": family_json(row.family),
    }
