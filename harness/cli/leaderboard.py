"""`bench leaderboard`: rank submissions, and print the tables in one of five formats."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import click

from harness.cli.commands import examples
from harness.cli.output import print_json, supports_color
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
from harness.errors import UsageError, unknown_name_error
from harness.planning.resolve import split_names
from harness.plugins.package_files import published_reference_times
from harness.report import leaderboard as renderers
from harness.report.grid import PLAIN, Palette
from harness.report.marks import mark_lines
from harness.report.stopping_tables import StoppingResults
from harness.report.table_records import stored_summaries
from harness.scoring.leaderboard import Leaderboard, build_leaderboards
from harness.scoring.summary import (
    Grouping,
    LeaderboardQuery,
    Level,
    RunSummary,
    parse_metric_budget,
    summarize_content,
)
from harness.scoring.time_to_target import RANKED_AXES, Axis
from harness.storage.attestations import index_attestations
from harness.storage.envelopes import read_envelopes

FORMATS = ("table", "md", "csv", "json", "html")
#: Styles of a leaderboard on a terminal.
COLOURED = Palette(
    title=partial(click.style, bold=True),
    heading=partial(click.style, dim=True),
    leader=partial(click.style, fg="green"),
    note=partial(click.style, dim=True),
)


@click.command(epilog=examples("bench leaderboard --workload lm-tiny --by examples", "bench leaderboard --format md"))
@folder_options
@envelopes_option
@click.option("--by", default="time", show_default=True, help="Rank by time, examples, steps or metric@BUDGET.")
@workloads_option
@click.option("--tier", type=click.Choice(["cpu", "gpu", "cluster"]), help="Only workloads of this tier.")
@click.option(
    "--target", "level", type=click.Choice(["easy", "main", "hard"]), default="main", show_default=True,
    help="Recompute the results at an easier or harder target.",
)  # fmt: skip
@click.option(
    "--reference",
    type=NameType("submission"),
    help="Submission to which scores are relative (default: any with the tag `reference`).",
)
@click.option(
    "--group", type=click.Choice(["unranked", "all", "none"]), default="unranked", show_default=True,
    help="If a method has rows with several settings, show only the best row, with the spread of the rows. Group only "
    "rows without a rank, all rows, or none.",
)  # fmt: skip
@click.option(
    "--format", "output_format", type=click.Choice(FORMATS), default="table", show_default=True, help="Output format."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON (the same as --format json).")
@click.pass_obj
def leaderboard(
    blocked_plugins: list[str], runs: Path, results: Path, envelopes: Path | None, by: str, workloads: tuple[str, ...],
    tier: str | None, level: Level, reference: str | None, group: Grouping, output_format: str, as_json: bool,
) -> None:  # fmt: skip
    """Rank submissions, and show time, examples and steps to the target on each workload."""
    registry = open_registry(blocked_plugins)
    query = leaderboard_query(by, level, workloads=workloads, tier=tier, references=references(registry, reference))
    problems: list[str] = []
    folders = list_folders(runs, results, problems)
    selector = make_table_records(runs, results, problems, folders)
    marks = selector.mark_filter.marks
    query = replace(
        query,
        attestations=index_attestations(folders, problems),
        marks=marks,
        group=group,
        frozen=published_reference_times(registry.workloads()),
    )
    stored = stored_summaries(RunSummary, summarize_content, query, existing_folders(runs, results))
    run_summaries = list(summaries(folders, problems, selector, query, stored))
    specs = [*(one.spec for one in run_summaries), *(record.spec for record in selector.stop_records)]
    if specs:
        check_workloads(query.workloads, {spec.workload.facts.name for spec in specs})
        check_reference(reference, specs)
    other_records = [*selector.stop_records, *selector.cost_records]
    other_records = [record for record in other_records if query.wants(record.spec.workload.facts)]
    installed = [facts for facts in installed_workloads(registry) if query.wants(facts)]
    reference_envelopes = read_envelopes(find_envelopes(envelopes, results))
    stopping_results = StoppingResults(other_records, reference_envelopes, installed, query.attestations)
    marked = [item for item in selector.mark_filter.marked if query.wants(item.facts)]
    boards = build_leaderboards(run_summaries, query, installed)
    output_format = "json" if as_json else output_format
    if output_format == "json":
        print_json(renderers.as_json(boards, problems, marked) | stopping_results.as_json())
    elif output_format == "md":
        click.echo(renderers.as_markdown(boards, problems, stopping_results.grids(), marked), nl=False)
    elif output_format == "csv":
        click.echo(renderers.as_csv(boards), nl=False)
    elif output_format == "html":
        click.echo(renderers.as_html(boards, stopping_results.grids(), marked), nl=False)
    elif renderers.has_content(boards) or stopping_results.grids():
        coloured = supports_color(sys.stdout)
        palette = COLOURED if coloured else PLAIN
        shown = renderers.as_text(boards, stopping_results.grids(), marked, palette=palette)
        click.echo(shown, color=coloured)
    else:
        click.echo("\n".join([_explain_no_runs(boards, len(specs)), *mark_lines(marked)]))


def leaderboard_query(
    by: str, level: Level, *, workloads: Sequence[str], tier: str | None, references: tuple[str, ...]
) -> LeaderboardQuery:
    """Return the leaderboard query for the options of the command.

    Raises:
        UsageError: the value of `--by` is unknown, or `--target` is combined with a metric at a budget.
    """
    metric = parse_metric_budget(by.removeprefix("metric@")) if by.startswith("metric@") else None
    if metric is not None and level != "main":
        raise UsageError(f"--by {by} --target {level}: a metric at a budget has no target", fix="leave out --target")
    axes: dict[str, Axis] = {axis: axis for axis in RANKED_AXES}
    if metric is None and by not in axes:
        raise unknown_name_error("--by", by, [*axes, "metric@budget"])
    return LeaderboardQuery(
        by=axes.get(by, "time"),
        metric_budget=metric,
        level=level,
        workloads=frozenset(split_names(workloads)),
        tier=tier,
        references=references,
    )


def _explain_no_runs(boards: Sequence[Leaderboard], records: int) -> str:
    """Return a message that no run is shown, with the reasons.

    Args:
        boards: the leaderboards, without rows.
        records: number of records, including those that `--tier` or `--workload` leaves out.
    """
    reasons = Counter(skip.reason for board in boards for skip in board.left_out)
    if not reasons and records:
        return f"none of {records:,} records is on the chosen workloads; leave out --tier or --workload"
    if not reasons:
        return f"no finished runs; {RUN_FIRST}"
    return "no finished runs" + "".join(f"; {count} left out ({reason})" for reason, count in reasons.items())
