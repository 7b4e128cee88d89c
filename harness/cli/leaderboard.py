"""`bench leaderboard`: results as tables."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from harness import store
from harness.cli import names
from harness.cli.output import json_out, lively, note
from harness.errors import StoreError
from harness.report import table


@click.command()
@click.option("--runs", type=click.Path(path_type=Path), default=Path("runs"), envvar="BENCH_RUNS", show_default=True)
@click.option(
    "--results", type=click.Path(path_type=Path), default=Path("results"), envvar="BENCH_RESULTS", show_default=True
)
@click.option("--workload", "wanted", multiple=True, help="Only these workloads (a,b).")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def leaderboard(runs: Path, results: Path, wanted: tuple[str, ...], as_json: bool) -> None:
    """Show time, examples and steps to target: median and range over studies."""
    folders = [folder for folder in (runs, results) if folder.is_dir()]
    if not folders:
        raise StoreError(f"no results: neither {runs} nor {results} is a folder", fix="bench run … makes some")
    records, problems = store.read_all(folders)
    chosen = set(names.split(wanted))
    board = table.leaderboard(r for r in records if not chosen or r.spec.workload.facts.name in chosen)
    for problem in problems:
        note(f"left out: {problem}")
    if as_json:
        json_out(table.as_json(board))
    elif not board.boards:
        click.echo("no finished runs" + "".join(f"; {n} left out ({why})" for why, n in board.left_out.items()))
    elif lively(sys.stdout):
        draw(board)
    else:
        click.echo(table.as_text(board))


def draw(board: table.Leaderboard) -> None:
    """The tables in colour."""
    from rich.console import Console
    from rich.table import Table

    console = Console()
    for one in board.boards:
        heading, *rows = table.cells(one)
        drawn = Table(*heading, title=table.header(one), title_justify="left", title_style="bold", header_style="dim")
        for column in (0, 2, 3, 4, 5):
            drawn.columns[column].justify = "right"
        for index, row in enumerate(rows):
            drawn.add_row(*row, style="green" if index == 0 and one.rows[0].hits else None)
        console.print(drawn)
    for reason, count in sorted(board.left_out.items()):
        console.print(f"[dim]left out: {count} ({reason})[/]")
