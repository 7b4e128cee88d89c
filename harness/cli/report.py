"""`bench report`: one HTML file with tables and curves."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click

from harness.cli.output import note
from harness.cli.record_folders import MAKES_SOME, folder_options, records, references
from harness.contract.record import Record
from harness.errors import UsageError, unknown
from harness.planning.resolve import split_names
from harness.report import html
from harness.scoring.summary import LeaderboardQuery
from harness.system.files import write_atomically, write_error


@click.command()
@click.argument("out", type=click.Path(path_type=Path, dir_okay=False))
@folder_options
@click.option("--workload", "wanted", multiple=True, help="Only these workloads (a,b).")
@click.option("--reference", help="Submission that anchors the scores (default: the one tagged `reference`).")
@click.pass_obj
def report(
    blocked: list[str], out: Path, runs: Path, results: Path, wanted: tuple[str, ...], reference: str | None
) -> None:
    """Write OUT, one HTML file that needs no network."""
    if out.suffix not in (".html", ".htm"):
        raise UsageError(f"{out} should end in .html")
    query = LeaderboardQuery(workloads=frozenset(split_names(wanted)), references=references(blocked, reference))
    problems: list[str] = []
    staged: list[Record] = []
    known: set[str] = set()

    def read() -> Iterator[Record]:
        for record in records(runs, results, problems, staged):
            known.add(record.spec.workload.facts.name)
            yield record

    text = html.page(read(), query, problems, staged)
    known |= {record.spec.workload.facts.name for record in staged}
    for name in sorted(query.workloads - known if known else ()):
        raise unknown("workload among the results", name, known)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise write_error(out, error) from error
    write_atomically(out, text.encode())
    note(f"wrote {out} ({len(text) / 1e6:.1f} MB)" + ("" if known else f"; no finished runs, {MAKES_SOME}"))
