"""`bench leaderboard` and `bench best`: results as tables, and the configuration that did best."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click

from harness.cli.output import SCHEMA, json_out, lively
from harness.cli.record_folders import MAKES_SOME, folder_options, records, references
from harness.cli.resolve import NameType
from harness.contract.record import Record
from harness.contract.run import RunSpec
from harness.errors import EXIT_FAILED, EXIT_OK, UsageError, unknown
from harness.planning.resolve import split_names
from harness.report import leaderboard as renderers
from harness.report import table, text
from harness.report.stopping_tables import Stops
from harness.scoring.leaderboard import Leaderboard, build_leaderboards
from harness.scoring.selection import keep_newest_versions
from harness.scoring.summary import LeaderboardQuery, MetricBudget, RunSummary, parse_metric_budget, summarize
from harness.scoring.time_to_target import Axis

FORMATS = ("table", "md", "csv", "json", "html")
AXES: dict[str, Axis] = {"time": "time", "examples": "examples", "steps": "steps"}


@click.command()
@folder_options
@click.option("--by", default="time", show_default=True, help="time, examples, steps or metric@BUDGET.")
@click.option("--workload", "wanted", multiple=True, help="Only these workloads (a,b).")
@click.option("--tier", type=click.Choice(["cpu", "gpu", "cluster"]), help="Only workloads of this tier.")
@click.option(
    "--target", "level", type=click.Choice(["easy", "main", "hard"]), default="main", show_default=True,
    help="Recompute at an easier or a harder target.",
)  # fmt: skip
@click.option("--reference", help="Submission that anchors the scores (default: the one tagged `reference`).")
@click.option("--format", "form", type=click.Choice(FORMATS), default="table", show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print JSON, as --format json does.")
@click.pass_obj
def leaderboard(blocked: list[str], /, **options: Any) -> None:
    """Show ranks and scores, then time, examples and steps to target per workload."""
    query = _leaderboard_query(blocked, options)
    problems: list[str] = []
    staged: list[Record] = []
    read = records(options["runs"], options["results"], problems, staged)
    summaries = [summarize(record, query) for record in read]
    staged = [record for record in staged if query.wants(record.spec.workload.facts)]
    _check_names(summaries, query)
    stops = Stops(staged)
    boards = build_leaderboards(summaries, query)
    chosen = [one for one in summaries if query.wants(one.spec.workload.facts)]
    per_workload = table.leaderboard(chosen)
    form = "json" if options["as_json"] else options["form"]
    if form == "json":
        json_out({**renderers.as_json(boards, per_workload, problems), **stops.as_json()})
    elif form == "md":
        click.echo(renderers.as_markdown(boards, per_workload, problems, stops.grids()), nl=False)
    elif form == "csv":
        click.echo(renderers.as_csv(boards), nl=False)
    elif form == "html":
        click.echo(renderers.as_html(boards, per_workload, stops.grids()), nl=False)
    elif not per_workload.boards and not any(one.rows for one in boards) and not staged:
        without = "".join(f"; {n} left out ({why})" for why, n in per_workload.left_out.items())
        click.echo(f"no finished runs{without}" if without or summaries else f"no finished runs; {MAKES_SOME}")
    elif lively(sys.stdout):
        draw(boards, per_workload, stops.grids())
    else:
        click.echo(renderers.as_text(boards, per_workload, stops.grids()))


def _leaderboard_query(blocked: list[str], options: dict[str, Any]) -> LeaderboardQuery:
    by = options["by"]
    metric: MetricBudget | None = None
    if by.startswith("metric@"):
        metric = parse_metric_budget(by.removeprefix("metric@"))
    elif by not in AXES:
        raise unknown("--by", by, [*AXES, "metric@budget"])
    if metric is not None and options["level"] != "main":
        raise UsageError("a metric at a budget has no target", fix="leave --target away")
    return LeaderboardQuery(
        by=AXES.get(by, "time"),
        metric=metric,
        level=options["level"],
        workloads=frozenset(split_names(options["wanted"])),
        tier=options["tier"],
        references=references(blocked, options["reference"]),
    )


def _check_names(summaries: list[RunSummary], query: LeaderboardQuery) -> None:
    known = {one.spec.workload.facts.name for one in summaries}
    for name in sorted(query.workloads):
        if summaries and name not in known:
            raise unknown("workload among the results", name, known)


def draw(boards: list[Leaderboard], per_workload: table.Leaderboard, more: Sequence[renderers.Grid] = ()) -> None:
    """The tables in colour."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console()
    if console.width < 120:
        # Cells would be cut off: plain columns wrap at the same places everywhere.
        click.echo(renderers.as_text(boards, per_workload, more))
        return

    def show(grid: renderers.Grid, *, first_leads: bool) -> None:
        style: dict[str, Any] = {"title_justify": "left", "title_style": "bold", "header_style": "dim"}
        drawn = Table(title=escape(grid.title), **style)
        for i, name in enumerate(grid.heading):
            drawn.add_column(escape(name), justify="right" if i in grid.right else "left")
        for index, row in enumerate(grid.rows):
            drawn.add_row(*map(escape, row), style="green" if index == 0 and first_leads else None)
        console.print(drawn)

    for one in boards:
        if one.rows:
            for grid in renderers.grids(one):
                show(grid, first_leads=one.rows[0].ranks == (1, 1))
        for line in renderers.below(one):
            console.print(f"[dim]{escape(line)}[/]")
    for each in per_workload.boards:
        heading, *rows = table.cells(each)
        right = frozenset({0, 2, 3, 4, 5})
        show(
            renderers.Grid(title=table.header(each), heading=heading, rows=rows, right=right),
            first_leads=bool(each.rows[0].hits),
        )
    for grid in more:
        show(grid, first_leads=False)
    for reason, count in sorted(per_workload.left_out.items()):
        console.print(f"[dim]left out: {count} ({escape(reason)})[/]")


# --- best -------------------------------------------------------------------------------------------


@click.command()
@click.argument("workload", type=NameType("workload"))
@folder_options
@click.option("--by", type=click.Choice(list(AXES)), default="time", show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def best(workload: str, runs: Path, results: Path, by: str, as_json: bool) -> int:
    """Print the configuration that reached a workload's target first, ready to copy.

    It is the best of all single runs, those with hyperparameters set by hand included: a place to start from, not a
    verdict, since the luckiest of many runs looks better than it is.
    """
    axis = AXES[by]
    problems: list[str] = []
    seen: set[str] = set()
    finished: list[RunSummary] = []
    for one in _finished(records(runs, results, problems), axis):
        seen.add(one.spec.workload.facts.name)
        if one.spec.workload.facts.name == workload:
            finished.append(one)
    if workload not in seen:
        raise unknown("workload among the results", workload, seen)
    # The target of an older version may have been an easier one.
    newest, _ = keep_newest_versions(finished)
    found = [one for one in newest if one.outcome.status == "hit"]
    if not found:
        click.echo(f"no run reached the target of {newest[0].spec.workload.facts.id}")
        return EXIT_FAILED
    first = min(found, key=lambda one: (one.outcome.value, one.run_id))
    # Seconds of two hardware classes do not compare; the best of each would be several answers.
    same = [one for one in found if one.spec.hardware == first.spec.hardware]
    command = run_command(first.spec)
    if as_json:
        plain = {"run_id": first.run_id, "hardware": first.spec.hardware, "by": by, "value": first.outcome.value}
        json_out({"schema": SCHEMA, **plain, "hparams": first.spec.hparams, "command": command})
        return EXIT_OK
    unit = f"{first.spec.clock} seconds" if by == "time" else by
    amount = f"{text.number(first.outcome.value)} {unit} to target"
    click.echo(command)
    click.echo(f"\n# {amount}; best of {len(same)} on {first.spec.hardware}; {first.run_id}")
    click.echo("\n".join(f"# {name} = {value}" for name, value in sorted(first.spec.hparams.items())))
    return EXIT_OK


def _finished(read: Iterator[Record], axis: Axis) -> Iterator[RunSummary]:
    query = LeaderboardQuery(by=axis)
    for record in read:
        if not record.spec.smoke and not record.spec.profile:
            yield summarize(record, query)


def run_command(spec: RunSpec) -> str:
    """The command line that runs this configuration again, with every hyperparameter spelt out."""
    import shlex

    submission = _spelt(spec.submission.name, spec.submission.load)
    pieces = ["bench", "run", "-s", submission, "-w", _spelt(spec.workload.facts.name, spec.workload.load)]
    if spec.root_seed:
        pieces += ["--seed", str(spec.root_seed)]
    if spec.threads != 1:
        pieces += ["--threads", str(spec.threads)]
    for name, value in sorted(spec.hparams.items()):
        pieces += ["--set", f"{name}={str(value).lower() if isinstance(value, bool) else value}"]
    return " ".join(map(shlex.quote, pieces))


def _spelt(name: str, load: str | None) -> str:
    """What a user types for it: its file, for what is not installed."""
    return load if load and ".py:" in load else name
