"""`bench results export`: write records as CSV, as Parquet, or as result files for the Hugging Face Hub."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from harness.cli.commands import examples
from harness.cli.output import note, print_text, write_error_of_output
from harness.cli.record_folders import installed_workloads, references
from harness.cli.resolve import open_registry
from harness.contract.marks import mark_of
from harness.contract.record import Record
from harness.contract.workload import WorkloadFacts
from harness.errors import EXIT_FAILED, EXIT_OK, UsageError
from harness.plugins.package_files import published_reference_times
from harness.report.dataframes import to_parquet
from harness.report.exports import EVAL_RESULTS, as_csv, hub_files, run_row
from harness.report.marks import mark_lines
from harness.report.table_records import TableRecords
from harness.scoring.leaderboard import build_leaderboards
from harness.scoring.marked import MarkFilter
from harness.scoring.summary import LeaderboardQuery, summarize
from harness.storage.attestations import index_attestations
from harness.storage.layout import walk_all
from harness.storage.marks import index_marks
from harness.storage.records import iter_listed_records
from harness.system.files import write_atomically

FORMATS = ("csv", "parquet", "hf")


@click.command(
    epilog=examples(
        "bench results export results --format parquet --out runs.parquet",
        "bench results export results --format hf --dataset algorace/results --out my-model",
    )
)
@click.argument("folder", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option(
    "--format",
    "output_format",
    type=click.Choice(FORMATS),
    default="csv",
    show_default=True,
    help="Format of the export.",
)
@click.option(
    "-o", "--out", type=click.Path(path_type=Path), help="Output file; for hf, the output folder (default: stdout)."
)
@click.option("--dataset", metavar="OWNER/NAME", help="For hf: dataset on the Hub that hosts the benchmark.")
@click.option("--source", default="", metavar="URL", help="For hf: address of the published records.")
@click.pass_obj
def export(
    blocked_plugins: list[str], folder: Path, output_format: str, out: Path | None, dataset: str | None, source: str
) -> int:
    """Export the records below FOLDER.

    CSV and Parquet have one row per run. The format hf writes YAML files into the folder .eval_results below --out.
    They contain the speed of each submission relative to the reference. Withdrawn records are left out.
    """
    if output_format == "parquet" and out is None:
        raise UsageError("Parquet is not text and cannot be printed", fix="name the file with --out runs.parquet")
    if output_format == "hf" and not dataset:
        raise UsageError("--format hf needs the dataset that hosts the benchmark", fix="add --dataset OWNER/NAME")
    problems: list[str] = []
    listed = list(walk_all([folder], problems))
    attestations = index_attestations(listed, problems)
    mark_filter = MarkFilter(index_marks([folder], problems, listed))
    records = list(mark_filter.without_withdrawn(iter_listed_records(listed, problems)))
    marks = mark_filter.marks
    if output_format == "hf":
        registry = open_registry(blocked_plugins)
        query = LeaderboardQuery(
            references=references(registry, None),
            attestations=attestations,
            marks=marks,
            frozen=published_reference_times(registry.workloads()),
        )
        _export_hub(records, query, installed_workloads(registry), dataset or "", source, out)
    else:
        rows = [run_row(r, attestations.get(r.content_hash, ()), mark_of(r, marks)) for r in records]
        _export_rows(rows, output_format, out)
    for line in (*mark_lines(mark_filter.marked), *(f"left out: {problem}" for problem in problems)):
        note(line)
    return EXIT_FAILED if problems else EXIT_OK


def _export_rows(rows: Sequence[dict[str, Any]], output_format: str, out: Path | None) -> None:
    if out is None:
        click.echo(as_csv(rows), nl=False)
        return
    _make_folder(out.parent)
    if output_format == "csv":
        write_atomically(out, as_csv(rows).encode(), error_for=write_error_of_output)
    else:
        import pandas as pd

        temporary = out.with_name(f".{out.name}.tmp")
        try:
            to_parquet(pd.DataFrame(rows), temporary)
            temporary.replace(out)
        except OSError as error:
            raise write_error_of_output(out, error) from None
        finally:
            temporary.unlink(missing_ok=True)
    note(f"wrote {len(rows):,} rows to {out}")


def _export_hub(
    records: Sequence[Record],
    query: LeaderboardQuery,
    installed: Sequence[WorkloadFacts],
    dataset: str,
    source: str,
    out: Path | None,
) -> None:
    table_records = TableRecords(mark_filter=MarkFilter(query.marks))
    dates: dict[str, str] = {}
    summaries = []
    for record in table_records.scored(records):
        name = record.spec.submission.id
        dates[name] = max(dates.get(name, ""), (record.finished or record.started)[:10])
        summaries.append(summarize(record, query))
    files = hub_files(build_leaderboards(summaries, query, installed), dataset, dates, source)
    if out is None:
        for name, content in files.items():
            print_text(f"# {EVAL_RESULTS}/{name}\n{content}")
        return
    _make_folder(out / EVAL_RESULTS)
    for name, content in files.items():
        write_atomically(out / EVAL_RESULTS / name, content.encode(), error_for=write_error_of_output)
    note(f"wrote {len(files):,} files to {out / EVAL_RESULTS}")


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise write_error_of_output(folder, error) from None
