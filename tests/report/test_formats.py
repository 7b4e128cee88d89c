"""One ranking in five formats: the same order, ranks and interval ends in text, Markdown, CSV, JSON and HTML."""

from __future__ import annotations

import csv
import html
import io
import json
import math
import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.report import synthetic
from tests.report.conftest import Bench

AMOUNTS = {"process seconds": 2, "examples": 0, "steps": 0}
#: Both ends of an interval or range as printed, and its first bracket.
Ends = tuple[str, str, str]


@dataclass
class Page:
    """What any format says.

    Args:
        ranking: submission and rank as printed, in order.
        details: workload -> the same, runs that are never ranked included.
        ends: (table, submission, column) -> the ends of its spread.
    """

    ranking: list[tuple[str, str]] = field(default_factory=list)
    details: dict[str, list[tuple[str, str]]] = field(default_factory=lambda: defaultdict(list))
    ends: dict[tuple[str, str, str], Ends] = field(default_factory=dict)


@pytest.fixture(params=[3, 8], ids=["ranges", "intervals"])
def records(request: pytest.FixtureRequest, tmp_path: Path) -> None:
    field = [r for r in synthetic.field(studies=request.param) if r.spec.hardware == "cpu-synthetic"]
    exploring = [synthetic.exploring("beta", study, speed=0.5) for study in range(3)]
    synthetic.write(tmp_path / "runs", [*field, *exploring])


def test_every_format_shows_the_same_ranking(bench: Bench, records: None) -> None:
    outputs = {
        form: bench("leaderboard", "--reference", "alpha", "--format", form).out
        for form in ("table", "md", "csv", "json", "html")
    }
    pages = {
        "table": read_grids(text_grids(outputs["table"])),
        "md": read_grids(markdown_grids(outputs["md"])),
        "html": read_grids(html_grids(outputs["html"])),
        "json": read_json(outputs["json"]),
        "csv": read_csv(outputs["csv"]),
    }
    expected = pages["json"]
    assert [name for name, _ in expected.ranking] == [f"{name}@1" for name in synthetic.SPEED]
    assert len(expected.ends) > 15
    assert expected.details["hills@1"][-1] == ("beta@1 [lr=0.01]", "–"), "a run with an override has no rank"
    for form, page in pages.items():
        assert page.ranking == expected.ranking, form
        assert dict(page.details) == dict(expected.details), form
        assert page.ends == expected.ends, form


def test_statuses_and_hits_are_in_every_format(bench: Bench, records: None) -> None:
    for form in ("table", "md", "html"):
        output = bench("leaderboard", "--format", form).out
        assert re.search(r"beta@1\b.*\d reached, 1 crashed", output), form
    boards = json.loads(bench("leaderboard", "--json").out)["boards"]
    (beta,) = [row for board in boards for row in board["rows"] if "crashed" in row["statuses"]]
    assert beta["statuses"]["crashed"] == 1
    assert beta["n"] == beta["hits"] + 1
    assert "crashed:1 reached:" in bench("leaderboard", "--format", "csv").out


def test_a_table_of_runs_with_overrides_alone_has_no_ranks(bench: Bench, tmp_path: Path) -> None:
    tried = [synthetic.exploring("alpha", 0, lr, speed=speed) for lr, speed in ((0.1, 2.0), (0.01, 1.0))]
    synthetic.write(tmp_path / "runs", tried)
    shown = bench("leaderboard", "--group", "none").out
    assert shown.index("–  alpha@1 [lr=0.01]") < shown.index("–  alpha@1 [lr=0.1]"), "the quickest first"
    grouped = bench("leaderboard").out
    assert "–  alpha@1 [lr=0.01]" in grouped
    assert "alpha@1 [lr=0.1]" not in grouped, "one method with several settings is one row"
    assert "alpha: best of 2 {1.10 – 2.20}" in grouped
    plain = json.loads(bench("leaderboard", "--json").out)
    assert plain["tables"][0]["rows"] == []
    assert [(row["overrides"], row["ranks"]) for row in plain["boards"][0]["rows"]] == [
        ({"lr": 0.01}, None),
        ({"lr": 0.1}, None),
    ]
    assert plain["left_out"] == {"overrides: never ranked": 2}
    for form in ("md", "html", "csv"):
        assert "alpha@1" in bench("leaderboard", "--format", form).out


def test_smoke_runs_are_left_out_of_the_details_too(bench: Bench, tmp_path: Path) -> None:
    smoke = synthetic.record("alpha", study=1, spec={"smoke": True})
    profiled = synthetic.record("alpha", study=2, spec={"profile": True})
    synthetic.write(tmp_path / "runs", [synthetic.record("alpha"), smoke, profiled])
    (board,) = json.loads(bench("leaderboard", "--json").out)["boards"]
    assert [(row["n"], row["statuses"]) for row in board["rows"]] == [(1, {"reached": 1})]


def test_details_are_at_the_target_asked_for(bench: Bench, results: Path) -> None:
    assert "hills@1: loss ≤ 1 nats" in bench("leaderboard").out
    assert "hills@1: loss ≤ 1.5 nats" in bench("leaderboard", "--target", "easy").out


# --- readers ----------------------------------------------------------------------------------------

#: Title, heading, rows.
Table = tuple[str, list[str], list[list[str]]]


def text_grids(output: str) -> list[Table]:
    """Tables of plain text; a table that was split by columns keeps its title in every part."""
    tables: list[Table] = []
    title = ""
    for paragraph in output.split("\n\n"):
        lines = [re.split(r" {2,}", line.strip()) for line in paragraph.splitlines()]
        heads = [i for i, cells in enumerate(lines) if cells[:2] == ["rank", "submission"]]
        if heads:
            head = heads[0]
            title = paragraph.splitlines()[0] if head else title
            tables.append((title, lines[head], lines[head + 1 :]))
    return tables


def markdown_grids(output: str) -> list[Table]:
    tables: list[Table] = []
    title = ""
    for paragraph in output.split("\n\n"):
        if paragraph.startswith("#"):
            title = paragraph.lstrip("# ")
        elif paragraph.startswith("| rank | submission"):
            heading, _, *rows = [
                [cell.strip() for cell in line.strip("|").split("|")] for line in paragraph.split("\n")
            ]
            tables.append((title, heading, rows))
    return tables


def html_grids(output: str) -> list[Table]:
    tables: list[Table] = []
    for table in re.findall(r"<table>.*?</table>", output, flags=re.S):
        title = re.search(r"<caption>(.*?)</caption>", table)
        rows = [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row) for row in re.findall(r"<tr>.*?</tr>", table)]
        heading, *body = [[html.unescape(cell) for cell in row] for row in rows]
        assert title
        tables.append((html.unescape(title[1]), heading, body))
    return tables


def read_grids(tables: Iterable[Table]) -> Page:
    page = Page()
    for title, heading, rows in tables:
        workload = title.partition(":")[0] if re.match(r"\w+@\d+:", title) else ""
        names = [(row[1].removesuffix(" (reference)"), row[0]) for row in rows]
        if workload:
            page.details[workload] = names
        else:
            assert page.ranking in ([], names), "every part of a split table repeats rank and submission"
            page.ranking = names
        for row, (name, _) in zip(rows, names, strict=True):
            for column, cell in zip(heading, row, strict=True):
                shown = re.search(r"([\[{])(\S+) – (\S+)[\]}]", cell)
                if shown and column != "submission":
                    page.ends[workload, name, column] = (shown[2], shown[3], shown[1])
    return page


def printed(low: float | None, high: float | None, kind: str, digits: int) -> Ends | None:
    """Ends as people read them, where a miss is null or infinite."""
    ends = [math.inf if end is None else float(end) for end in (low, high)]
    if ends[0] == ends[1]:
        return None
    shown = ["missed" if math.isinf(end) else f"{end:,.{digits}f}" for end in ends]
    return shown[0], shown[1], "[" if kind == "interval" else "{"


def put(page: Page, key: tuple[str, str, str], ends: Ends | None) -> None:
    if ends is not None:
        page.ends[key] = ends


def printed_rank(low: int | str, high: int | str) -> str:
    return str(low) if low == high else f"{low}–{high}"


def read_json(output: str) -> Page:
    page = Page()
    plain = json.loads(output)
    (table,) = plain["tables"]
    for row in table["rows"]:
        page.ranking.append((row["submission"], printed_rank(*row["ranks"])))
        spreads = {"anchored": (row["anchored_spread"], 3)}
        spreads |= {name: (cell["spread"], 2) for name, cell in row["cells"].items()}
        for column, (spread, digits) in spreads.items():
            ends = printed(spread["low"], spread["high"], spread["kind"], digits)
            put(page, ("", row["submission"], column), ends)
    for board in plain["boards"]:
        for row in board["rows"]:
            settings = ", ".join(f"{name}={value}" for name, value in row["overrides"].items())
            name = row["submission"] + (f" [{settings}]" if settings else "")
            rank = "–" if row["ranks"] is None else printed_rank(*row["ranks"])
            page.details[board["workload"]].append((name, rank))
            for column, digits in AMOUNTS.items():
                spread = row[column.removeprefix("process ")]
                ends = printed(spread["low"], spread["high"], spread["kind"], digits)
                put(page, (board["workload"], name, column), ends)
    return page


def read_csv(output: str) -> Page:
    page = Page()
    for row in csv.DictReader(io.StringIO(output)):
        settings = ", ".join(f"{name}={value}" for name, value in json.loads(row["overrides"] or "{}").items())
        name = row["submission"] + (f" [{settings}]" if settings else "")
        ranked, workload = bool(row["rank_low"]), row["workload"]
        rank = printed_rank(row["rank_low"], row["rank_high"]) if ranked else "–"
        page.details[workload].append((name, rank))
        if ranked:
            if (name, rank) not in page.ranking:
                page.ranking.append((name, rank))
            put(page, ("", name, workload), printed(float(row["low"]), float(row["high"]), row["spread"], 2))
            ends = (float(row["anchored_low"]), float(row["anchored_high"]))
            put(page, ("", name, "anchored"), printed(*ends, row["spread"], 3))
        for column, digits in AMOUNTS.items():
            amount = column.removeprefix("process ")
            low, high = float(row[f"{amount}_low"]), float(row[f"{amount}_high"])
            put(page, (workload, name, column), printed(low, high, row["spread"], digits))
    return page
