"""`bench report`: write one HTML file with tables and curves."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click

from harness.cli.output import note
from harness.cli.record_folders import RUN_FIRST, check_workloads, folder_options, list_folders, records, references
from harness.contract.record import Record
from harness.errors import UsageError
from harness.planning.resolve import split_names
from harness.report import html
from harness.scoring.summary import LeaderboardQuery
from harness.storage.attestations import index_attestations
from harness.system.files import write_atomically, write_error


@click.command()
@click.argument("out", type=click.Path(path_type=Path, dir_okay=False))
@folder_options
@click.option("--workload", "workloads", multiple=True, help="Only these workloads (comma-separated).")
@click.option("--reference", help="Submission to which scores are relative (default: tagged `reference`).")
@click.pass_obj
def report(
    blocked: list[str], out: Path, runs: Path, results: Path, workloads: tuple[str, ...], reference: str | None
) -> None:
    """Write OUT, an HTML file with tables and curves that can be opened without a network."""
    if out.suffix not in (".html", ".htm"):
        raise UsageError(f"{out} must end in .html", fix=f"run bench report {out.with_suffix('.html')}")
    problems: list[str] = []
    listed = list_folders(runs, results, problems)
    query = LeaderboardQuery(
        workloads=frozenset(split_names(workloads)),
        references=references(blocked, reference),
        attestations=index_attestations(listed, problems),
    )
    stop_records: list[Record] = []
    known: set[str] = set()

    def read() -> Iterator[Record]:
        for record in records(listed, problems, stop_records):
            known.add(record.spec.workload.facts.name)
            yield record

    page = html.page(read(), query, problems, stop_records)
    known |= {record.spec.workload.facts.name for record in stop_records}
    if known:
        check_workloads(query.workloads, known)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise write_error(out, error) from error
    write_atomically(out, page.encode())
    note(f"wrote {out} ({len(page) / 1e6:.1f} MB)" + ("" if known else f"; no finished runs, {RUN_FIRST}"))
