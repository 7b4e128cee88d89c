"""Renders the report: one HTML file with tables and curves. It contains the plotting library and works offline."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
from collections.abc import Iterable, Iterator, Sequence
from importlib import resources
from pathlib import Path
from types import MappingProxyType
from typing import Any

import msgspec

from harness import __version__
from harness.contract.record import Record
from harness.contract.workload import Stage, Target, WorkloadFacts
from harness.errors import BenchError
from harness.report import leaderboard, verdicts
from harness.report.grid import Grid
from harness.report.headline import headline_sentences
from harness.report.leaderboard_grids import detail_grids, shown_rows, title, workload_cell
from harness.report.marks import mark_lines
from harness.report.page_runs import PageRuns, PageSummary, is_on_page
from harness.report.score_columns import SCORE_COLUMNS
from harness.report.stopping_tables import StoppingResults, tuning_grids
from harness.report.values import finite_or_none, rank_range
from harness.report.verdicts import verdict_matrix
from harness.scoring.leaderboard import Leaderboard, build_leaderboards
from harness.scoring.marked import MarkedRecord
from harness.scoring.selection import keep_newest_versions, select_usable, table_key
from harness.scoring.summary import LeaderboardQuery, distinguish_sources
from harness.scoring.tuning import curves
from harness.storage.envelopes import Envelopes

#: Script files of the plotting library Bokeh.
PLOTTING = ("bokeh.min.js", "bokeh-api.min.js")


def page(
    summaries: Iterable[PageSummary],
    query: LeaderboardQuery,
    problems: Sequence[str] = (),
    stop_records: Sequence[Record] = (),
    marked: Sequence[MarkedRecord] = (),
    envelopes: Envelopes = MappingProxyType({}),
    installed: Sequence[WorkloadFacts] = (),
    cost_records: Sequence[Record] = (),
) -> str:
    """Return the report as HTML.

    The lists `problems`, `stop_records`, `cost_records` and `marked` are read after the last summary. The caller may
    therefore fill them while the summaries are iterated.

    Args:
        summaries: the summaries of all records of leaderboards. They are iterated once.
        query: the selection and ranking of the leaderboard.
        problems: messages about files that are not valid records.
        stop_records: records of rulesets whose runs end at a stop.
        marked: the records that were doubted or withdrawn.
        envelopes: the envelopes of the reference, by `name@version` of the workload.
        installed: facts of the installed workloads, by which a table finds the workloads that it lacks.
        cost_records: the runs of `bench cost`.

    Raises:
        BenchError: the plotting library is not installed.
    """
    scripts = plotting_scripts()
    data = payload(summaries, query, installed)
    data["problems"] = list(problems)
    data["marked"] = mark_lines([item for item in marked if query.wants(item.facts)])
    records_with_stop = [record for record in stop_records if query.wants(record.spec.workload.facts)]
    data["records"] += len(records_with_stop)
    wanted_workloads = [facts for facts in installed if query.wants(facts)]
    tabulated = [*records_with_stop, *(record for record in cost_records if query.wants(record.spec.workload.facts))]
    stopping_grids = StoppingResults(tabulated, envelopes, wanted_workloads, query.attestations).grids()
    data["more"] += [_grid_json(grid) for grid in stopping_grids]
    assets = {name: _read_asset(name) for name in ("page.html", "page.css", "page.js")}
    blocks = "".join(
        f'<script type="text/plain" data-block="{number}">{block}</script>'
        for number, block in enumerate(data["blocks"].values())
    )
    data["blocks"] = {name: number for number, name in enumerate(data["blocks"])}
    # Every `<` in the data is escaped, so that no text in a record can end the script element.
    encoded = json.dumps(data, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
    return (
        assets["page.html"]
        .replace("/*STYLE*/", assets["page.css"])
        .replace("<!--PLOTTING-->", "".join(f"<script>{script}</script>" for script in scripts))
        .replace("/*SCRIPT*/", assets["page.js"])
        .replace("<!--BLOCKS-->", blocks)
        .replace("/*DATA*/", encoded)
    )


def plotting_scripts() -> list[str]:
    """Return the scripts of the plotting library Bokeh. They are read from the Python package `bokeh`.

    Raises:
        BenchError: Bokeh is not installed.
    """
    spec = importlib.util.find_spec("bokeh")
    if spec is None or not spec.submodule_search_locations:
        raise BenchError("the report needs Bokeh, which is not installed", fix='pip install "algorace[report]"')
    folder = Path(spec.submodule_search_locations[0]) / "server" / "static" / "js"
    scripts = [(folder / name).read_text(encoding="utf-8") for name in PLOTTING]
    return [script.replace("</script", "<\\/script") for script in scripts]


def _read_asset(name: str) -> str:
    """Return the text of a file in the folder `assets`."""
    return resources.files("harness.report").joinpath("assets", name).read_text(encoding="utf-8")


# --- data of the page -------------------------------------------------------------------------------


def payload(
    summaries: Iterable[PageSummary], query: LeaderboardQuery, installed: Sequence[WorkloadFacts] = ()
) -> dict[str, Any]:
    """Return the data from which the page's script draws tables and curves (see `page_runs`)."""
    wanted = [summary for summary in summaries if query.wants(summary.spec.workload.facts)]
    runs = PageRuns()
    workloads: dict[str, dict[str, dict[str, Any]]] = {}
    machines: dict[tuple[str, str, bytes], dict[str, Any]] = {}
    for summary, scored in _shown_runs(wanted, installed):
        facts = summary.spec.workload.facts
        workloads.setdefault("|".join(table_key(summary)), {}).setdefault(facts.id, _workload_json(facts))
        runs.add(summary, scored=scored)
        _count_run_of_machine(machines, summary)
    boards = build_leaderboards(wanted, query, installed)
    tuned = tuning_grids(curves(wanted))
    return {
        "version": __version__,
        "records": len(wanted),
        "tables": [_table_json(board) for board in boards],
        "opens": _first_shown(boards),
        "verdicts_explained": verdicts.EXPLAINED,
        "explained": list(leaderboard.EXPLAINED),
        "workloads": workloads,
        "machines": list(machines.values()),
        "more": [_grid_json(grid) for grid in tuned],
        **runs.data(),
    }


def _shown_runs(
    summaries: Iterable[PageSummary], installed: Sequence[WorkloadFacts]
) -> Iterator[tuple[PageSummary, bool]]:
    """Yield each run that the page draws, and whether a table scores it.

    As in the tables, runs with an old version, budget or target of a workload are left out. If a version of a
    submission has several sources, the source's hash is added to the version.
    """
    by_table: dict[tuple[str, str], list[PageSummary]] = {}
    for summary in summaries:
        by_table.setdefault(table_key(summary), []).append(summary)
    for members in by_table.values():
        named, _ = distinguish_sources(keep_newest_versions(members, installed)[0])
        # Two records may have one run_id, and only one of them is scored.
        scored = set(map(id, select_usable(named)[0]))
        for summary in filter(is_on_page, named):
            yield summary, id(summary) in scored


def _first_shown(boards: Sequence[Leaderboard]) -> str:
    """Return the id of the table that the page opens on, or an empty text.

    It is the table with the most submissions. If several have equally many, a ranked table comes first, then the table
    with the most workloads.
    """
    if not boards:
        return ""
    return _table_id(max(boards, key=lambda board: (len(board.rows), board.ranked, len(board.workloads))))


def _table_id(board: Leaderboard) -> str:
    return f"{board.hardware}|{board.ruleset}"


def _grid_json(grid: Grid) -> dict[str, Any]:
    return {"title": grid.title, "heading": grid.heading, "rows": grid.rows, "right": sorted(grid.right_aligned),
            "stick": grid.leading_columns - 1, "lead": grid.sentences, "notes": grid.notes}  # fmt: skip


def _table_json(board: Leaderboard) -> dict[str, Any]:
    """Return the JSON of a leaderboard, with additional fields for the page, such as the texts of the cells."""
    columns = [column for column in SCORE_COLUMNS if column.shown(board)]
    headline = headline_sentences(board)
    board = dataclasses.replace(board, rows=tuple(shown_rows(board)))
    plain = leaderboard.leaderboard_fields(board)
    for fields, row in zip(plain["rows"], board.rows, strict=True):
        fields["ratios"] = {workload: finite_or_none(ratio) for workload, ratio in row.ratios.items()}
        fields["rank"] = rank_range(row.ranks)
        fields["score_texts"] = {column.key: column.text(row, board) for column in columns}
        fields["cell_texts"] = {workload: workload_cell(cell, board) for workload, cell in row.cells.items()}
    return {
        **plain,
        "id": _table_id(board),
        "title": title(board),
        "headline": headline,
        "matrix": verdict_matrix(board.verdicts, [row.submission for row in board.rows]),
        "columns": [
            {"key": c.key, "heading": c.heading, "right": c.right_aligned, "highest_first": c.highest_first}
            for c in columns
        ],
        "details": [_grid_json(grid) for grid in detail_grids(board)],
        "below": leaderboard.notes(board),
    }


def _workload_json(facts: WorkloadFacts) -> dict[str, Any]:
    target = facts.targets[0]
    return {"metric": target.metric, "goal": target.goal, "target": target.value, "unit": target.unit,
            "coarse": facts.coarse, "stages": [_stage_json(stage, target) for stage in facts.stages]}  # fmt: skip


def _stage_json(stage: Stage, primary: Target) -> dict[str, Any]:
    """Return the name of a stage, and its target on the workload's primary metric (None if it has no such target)."""
    values = [target.value for target in stage.targets if target.metric == primary.metric]
    return {"name": stage.name, "target": values[0] if values else None}


def _count_run_of_machine(machines: dict[tuple[str, str, bytes], dict[str, Any]], summary: PageSummary) -> None:
    spec = summary.spec
    key = (spec.hardware, spec.device, summary.environment)
    if key not in machines:
        fields = msgspec.json.decode(summary.environment) or {}
        machines[key] = {"hardware": spec.hardware, "device": spec.device, **fields, "runs": 0}
    machines[key]["runs"] += 1
