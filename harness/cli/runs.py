"""`bench runs` and `bench note`: list runs with their metrics, and write a note about a run."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, get_args

import click

from harness.cli.commands import examples
from harness.cli.output import note, print_json, print_text
from harness.cli.record_folders import existing_folders, find_run, folder_options, is_named, workloads_option
from harness.cli.resolve import LimitedInteger, NameType, parse_grid
from harness.contract.domains import Scalar
from harness.contract.marks import mark_of
from harness.contract.record import Status, is_complete
from harness.errors import UsageError, unknown_name_error
from harness.planning.resolve import split_names
from harness.report import text
from harness.report.run_page import overview_json
from harness.scoring.run_overview import RunOverview, run_overview
from harness.storage.marks import index_marks
from harness.storage.notes import read_note, write_note
from harness.storage.records import iter_records

#: Value of `--sort` -> sort key of a run. Runs are sorted in ascending order, and runs without a value come last.
#: Metrics of different workloads cannot be compared. Runs are therefore sorted by workload first, then by metric.
SORT_KEYS: dict[str, Callable[[RunOverview], Any]] = {
    "metric": lambda run: (run.workload, run.best is None, _metric_for_sorting(run)),
    "final": lambda run: (run.workload, run.final is None, _metric_for_sorting(run, final=True)),
    "time": lambda run: (not run.hit, run.seconds),
    "examples": lambda run: (not run.hit, run.examples),
    "started": lambda run: run.started,
}


class ValueFilter:
    """A filter for values of a hyperparameter: it accepts one value (`1e-3`), or a range (`1e-4..1e-2`).

    >>> ValueFilter("1e-3").accepts(0.001), ValueFilter("1e-4..1e-2").accepts(0.02), ValueFilter("True").accepts(True)
    (True, False, True)

    Args:
        text: a value, or a range including its ends.
    """

    def __init__(self, text: str) -> None:
        low, separator, high = text.partition("..")
        self._text = text.lower()
        try:
            self._range = float(low), float(high if separator else low)
        except ValueError:
            self._range = math.inf, -math.inf

    def accepts(self, value: Scalar) -> bool:
        """Return whether a value passes the filter."""
        if isinstance(value, str | bool):
            return str(value).lower() == self._text
        return self._range[0] <= value <= self._range[1]


@click.command(
    epilog=examples("bench runs -w lm-tiny --sort metric", "bench runs --where lr=1e-3..1e-2 --status exhausted --json")
)
@click.option(
    "-s",
    "--submission",
    "submissions",
    multiple=True,
    type=NameType("submission"),
    help="Only these submissions (comma-separated).",
)
@workloads_option
@click.option("--status", "statuses", multiple=True, help="Only runs with these statuses, such as reached,exhausted.")
@click.option("--failed", is_flag=True, help="Only runs with a status other than reached or exhausted.")
@click.option(
    "--where", "settings", multiple=True, metavar="NAME=VALUE",
    help="Only runs with these values of a hyperparameter: one, several (1e-3,3e-3) or a range (1e-4..1e-2).",
)  # fmt: skip
@click.option("--since", metavar="DATE", help="Only runs that started on or after this day, such as 2026-01-31.")
@click.option("--noted", metavar="TEXT", help="Only runs whose note contains this text.")
@click.option(
    "--sort",
    "key",
    type=click.Choice(list(SORT_KEYS)),
    default="started",
    show_default=True,
    help="Value to sort by. The best metric, the shortest time or the earliest start comes first.",
)
@click.option(
    "--limit",
    type=LimitedInteger("limit"),
    help="Print at most this number of runs: the first ones, or the latest ones if they are sorted by start.",
)
@folder_options
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def runs(
    submissions: tuple[str, ...],
    workloads: tuple[str, ...],
    statuses: tuple[str, ...],
    failed: bool,
    settings: tuple[str, ...],
    since: str | None,
    noted: str | None,
    key: str,
    limit: int | None,
    runs: Path,
    results: Path,
    as_json: bool,
) -> None:
    """List runs with their best and final metric, their overrides and notes.

    The columns `seconds` and `examples` show when a run met its target, or when it ended without meeting the target.
    """
    problems: list[str] = []
    if since is not None:
        _check_date(since)
    hparams = {name: tuple(map(ValueFilter, values)) for name, values in parse_grid(settings, "--where").items()}
    submission_names, workload_names = split_names(submissions), split_names(workloads)
    status_names = split_names(statuses)
    for name in status_names:
        if name not in get_args(Status):
            raise unknown_name_error("status", name, get_args(Status))

    def is_chosen(overview: RunOverview) -> bool:
        return (
            is_named(overview.submission, submission_names)
            and is_named(overview.workload, workload_names)
            and (not status_names or overview.status in status_names)
            and not (failed and is_complete(overview.status))
            and (since is None or overview.started[: len(since)] >= since)
            and (noted is None or noted.lower() in overview.note.lower())
        )

    overviews = [
        overview
        for overview in _overviews(existing_folders(runs, results), runs, hparams, problems)
        if is_chosen(overview)
    ]
    overviews.sort(key=SORT_KEYS[key])
    shown = overviews[-(limit or 0) :] if key == "started" else overviews[:limit]
    if as_json:
        print_json({"runs": [overview_json(overview) for overview in shown], "total": len(overviews)})
    elif shown:
        print_text(text.fit_table(_rows(shown), right_aligned=frozenset({5, 6, 7, 8, 9}), leading_columns=2))
    for problem in problems:
        note(f"left out: {problem}")
    if not shown:
        note("no run matches; leave out a filter, or start runs with bench run")
    elif len(shown) < len(overviews):
        note(f"{len(shown)} of {len(overviews)} matching runs are listed; a larger --limit lists more")


@click.command("note", epilog=examples("bench note run-1f2e3d4c warmup too short"))
@click.argument("run", type=NameType("run"))
@click.argument("words", nargs=-1)
@folder_options
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def note_command(run: str, words: tuple[str, ...], runs: Path, results: Path, as_json: bool) -> None:
    """Write a note about a run. Without words, print the existing note.

    RUN is a path, a run_id, or the first characters of a run_id. Only runs in the folder of local runs can have notes.
    """
    record = find_run(run, runs, results)
    folder = runs / record.run_id
    if not folder.is_dir():
        raise UsageError(
            f"{record.run_id} is not in {runs}, and only local runs can have notes",
            fix="give with --runs the folder that contains the run's folder",
        )
    previous = read_note(folder)
    if words:
        write_note(folder, " ".join(words))
    if as_json:
        print_json({"run_id": record.run_id, "note": read_note(folder)})
    elif words:
        replaced = f" (it replaces {previous!r})" if previous else ""
        note(f"noted on {record.run_id}{replaced}")
    else:
        print_text(previous)


def _check_date(text: str) -> None:
    """Raise UsageError unless the value of `--since` is a date, or a date with a time."""
    try:
        datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(f"--since {text!r} is not a date", fix="write it as in 2026-01-31") from None


def _overviews(
    folders: Sequence[Path], runs: Path, hparams: Mapping[str, Sequence[ValueFilter]], problems: list[str]
) -> Iterator[RunOverview]:
    """Yield the overviews of all records whose hyperparameters pass the filters.

    Args:
        folders: folders of records.
        runs: folder of local runs, which contains the notes.
        hparams: name of a hyperparameter -> its filters. A value must pass at least one of them.
        problems: list to which a message is appended for each file that cannot be read.
    """
    marks = index_marks(folders, problems)
    for record in iter_records(folders, problems):
        values = record.spec.hparams
        if all(name in values and any(f.accepts(values[name]) for f in filters) for name, filters in hparams.items()):
            yield run_overview(record, read_note(runs / record.run_id), mark_of(record, marks))


def _metric_for_sorting(run: RunOverview, final: bool = False) -> float:
    """Return a run's metric as a sort key, smaller for better metrics. An accuracy, for example, is negated."""
    value = run.final if final else run.best
    if value is None or run.target is None:
        return 0.0
    return value if run.target.goal == "min" else -value


def _rows(overviews: Sequence[RunOverview]) -> list[list[str]]:
    heading = ["run", "submission", "workload", "trial", "status", "best", "final", "target", "seconds", "examples"]
    rows = [[*heading, "started", "overrides, note"]]
    for run in overviews:
        overrides = " ".join(f"{name}={_format_value(value)}" for name, value in run.overrides.items())
        remark = "  ".join(filter(None, (overrides, run.mark, run.note)))
        target = "–" if run.target is None else f"{run.target.metric} {text.target_bound(run.target)}"
        numbers = [
            _format_metric(run.best),
            _format_metric(run.final),
            target,
            f"{run.seconds:,.2f}",
            f"{run.examples:,}",
        ]
        trial = f"{run.purpose} {run.study}" + (f".{run.trial}" if run.trial else "")
        started = run.started[:16].replace("T", " ")
        rows.append([run.run_id, run.submission, run.workload, trial, run.status, *numbers, started, remark])
    return rows


def _format_metric(value: float | None) -> str:
    return "–" if value is None else f"{value:.4g}"


def _format_value(value: Any) -> str:
    return text.number(value) if isinstance(value, float) else str(value)
