"""`bench report`: write one HTML file with tables and curves."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click

from harness.cli.commands import examples
from harness.cli.output import note, print_json, write_error_of_output
from harness.cli.record_folders import (
    RUN_FIRST,
    check_reference,
    check_workloads,
    envelopes_option,
    existing_folders,
    find_envelopes,
    folder_options,
    installed_workloads,
    list_folders,
    make_table_records,
    references,
    summaries,
    workloads_option,
)
from harness.cli.resolve import NameType, open_registry
from harness.contract.run import RunSpec
from harness.errors import UsageError
from harness.planning.resolve import split_names
from harness.plugins.package_files import published_reference_times
from harness.report import html
from harness.report.page_runs import PageSummary, summarize_for_page
from harness.report.table_records import stored_summaries
from harness.scoring.summary import LeaderboardQuery
from harness.storage.attestations import index_attestations
from harness.storage.envelopes import read_envelopes
from harness.system.files import write_atomically
from harness.system.units import format_size


@click.command(epilog=examples("bench report report.html --workload lm-tiny"))
@click.argument("out", type=click.Path(path_type=Path, dir_okay=False))
@folder_options
@envelopes_option
@workloads_option
@click.option(
    "--reference",
    type=NameType("submission"),
    help="Submission to which scores are relative (default: any with the tag `reference`).",
)
@click.option("--json", "as_json", is_flag=True, help="Print the path, the size and the workloads of the file as JSON.")
@click.pass_obj
def report(
    blocked_plugins: list[str],
    out: Path,
    runs: Path,
    results: Path,
    envelopes: Path | None,
    workloads: tuple[str, ...],
    reference: str | None,
    as_json: bool,
) -> None:
    """Write OUT, an HTML file with tables and curves that can be opened offline."""
    if out.suffix not in (".html", ".htm"):
        raise UsageError(f"{out} must end in .html", fix=f"run bench report {out.with_suffix('.html')}")
    registry = open_registry(blocked_plugins)
    problems: list[str] = []
    listed = list_folders(runs, results, problems)
    table_records = make_table_records(runs, results, problems, listed)
    query = LeaderboardQuery(
        workloads=frozenset(split_names(workloads)),
        references=references(registry, reference),
        attestations=index_attestations(listed, problems),
        marks=table_records.mark_filter.marks,
        frozen=published_reference_times(registry.workloads()),
    )
    specs: dict[tuple[str, str], RunSpec] = {}

    def remember(spec: RunSpec) -> None:
        specs.setdefault((spec.submission.id, spec.workload.facts.name), spec)

    def read() -> Iterator[PageSummary]:
        values = stored_summaries(PageSummary, summarize_for_page, query, existing_folders(runs, results))
        for summary in summaries(listed, problems, table_records, query, values):
            remember(summary.spec)
            yield summary

    # The lists of `table_records` are complete only after `html.page` has read all summaries.
    page = html.page(
        read(),
        query,
        problems,
        table_records.stop_records,
        table_records.mark_filter.marked,
        read_envelopes(find_envelopes(envelopes, results)),
        installed_workloads(registry),
        table_records.cost_records,
    )
    for record in table_records.stop_records:
        remember(record.spec)
    workload_names = sorted({workload for _, workload in specs})
    if specs:
        check_workloads(query.workloads, workload_names)
        check_reference(reference, specs.values())
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise write_error_of_output(out, error) from error
    content = page.encode()
    write_atomically(out, content, error_for=write_error_of_output)
    if as_json:
        print_json({"path": str(out), "bytes": len(content), "workloads": workload_names, "problems": problems})
        return
    note(f"wrote {out} ({format_size(len(content))})" + ("" if workload_names else f"; no finished runs, {RUN_FIRST}"))
