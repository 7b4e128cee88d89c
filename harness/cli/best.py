"""`bench best`: print the configuration with the best run on a workload."""

from __future__ import annotations

import math
import shlex
from collections.abc import Sequence
from pathlib import Path

import click

from harness.cli.commands import examples
from harness.cli.output import print_json, print_text
from harness.cli.record_folders import (
    check_workloads,
    folder_options,
    installed_workloads,
    is_named,
    list_folders,
    make_table_records,
    records,
)
from harness.cli.resolve import NameType, open_registry
from harness.contract.run import RunSpec
from harness.errors import EXIT_FAILED, EXIT_OK, UsageError, unknown_name_error
from harness.planning.commands import run_options
from harness.planning.resolve import split_names
from harness.report import text
from harness.scoring.selection import keep_newest_versions
from harness.scoring.summary import LeaderboardQuery, RunSummary, summarize
from harness.scoring.time_to_target import RANKED_AXES, Axis


@click.command(epilog=examples("bench best lm-tiny --by examples"))
@click.argument("workload", type=NameType("workload"))
@click.option(
    "-s",
    "--submission",
    "submissions",
    multiple=True,
    type=NameType("submission"),
    help="Only these submissions (comma-separated).",
)
@folder_options
@click.option("--by", type=click.Choice(RANKED_AXES), default="time", show_default=True, help="Quantity to compare.")
@click.option("--hardware", help="Only runs on this hardware class.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def best(
    blocked_plugins: list[str],
    workload: str,
    submissions: tuple[str, ...],
    runs: Path,
    results: Path,
    by: Axis,
    hardware: str | None,
    as_json: bool,
) -> int:
    """Print the command of the configuration that needed the least time to reach a workload's target.

    With --by, another quantity than time is compared. The configurations are compared by their best single runs,
    including runs with overrides. Use the result only as a starting point: the best of many runs overestimates the
    performance of its configuration. Seconds are compared within one hardware class, which --hardware chooses.

    If no run reached the target, the configuration with the best metric is printed, and the exit code is 1.
    """
    query = LeaderboardQuery(by=by)
    workload_names: set[str] = set()
    requested_names = split_names(submissions)
    submission_names: set[str] = set()
    summaries: list[RunSummary] = []
    problems: list[str] = []
    folders = list_folders(runs, results, problems)
    selector = make_table_records(runs, results, problems, folders)
    for record in records(folders, problems, selector, note_marks=True):
        if not record.spec.smoke and not record.spec.profile:
            workload_names.add(record.spec.workload.facts.name)
            if record.spec.workload.facts.name == workload:
                submission_names.add(record.spec.submission.name)
                if is_named(record.spec.submission.id, requested_names):
                    summaries.append(summarize(record, query))
    check_workloads([workload], workload_names)
    for name in requested_names:
        if name.partition("@")[0] not in submission_names:
            raise unknown_name_error(f"submission among the results on {workload}", name, submission_names)
    if not summaries:
        raise UsageError(f"no run of {', '.join(requested_names)} on {workload}", fix="leave out the version (@…)")
    # Only the installed or the newest version counts, because the target of an older version may be easier.
    newest, _ = keep_newest_versions(summaries, installed_workloads(open_registry(blocked_plugins)))
    if hardware is not None:
        classes = {summary.spec.hardware for summary in newest}
        newest = [summary for summary in newest if summary.spec.hardware == hardware]
        if not newest:
            raise unknown_name_error(f"hardware class among the results on {workload}", hardware, classes)
    hits = [summary for summary in newest if summary.result.status == "hit"]
    if not hits:
        return _print_nearest(newest, as_json)
    classes = {summary.spec.hardware for summary in hits}
    if by in ("time", "measured-time") and len(classes) > 1:
        raise UsageError(
            f"runs on several hardware classes reached the target of {workload}, and their seconds cannot be compared",
            fix=f"add --hardware with one of {', '.join(sorted(classes))}, or --by examples",
        )
    fastest = min(hits, key=lambda summary: (summary.result.value, summary.run_id))
    command = _command_words(fastest.spec)
    if as_json:
        _print_json(fastest, "by", by, fastest.result.value)
        return EXIT_OK
    # The hardware class is printed beside the number of runs, so only the runs of this class are counted.
    run_count = sum(summary.spec.hardware == fastest.spec.hardware for summary in hits)
    unit = f"{fastest.spec.clock} seconds" if by == "time" else by
    amount = f"{text.number(fastest.result.value)} {unit} to target"
    print_text(_wrap_command(command))
    _print_remark(fastest, f"{amount}; best of {run_count} on {fastest.spec.hardware}; {fastest.run_id}")
    return EXIT_OK


def _print_nearest(summaries: Sequence[RunSummary], as_json: bool) -> int:
    """Print the configuration with the best metric, for a workload on which no run has reached the target."""
    facts = summaries[0].spec.workload.facts
    measured = [summary for summary in summaries if summary.best is not None]
    if not measured:
        print_text(f"no run reached the target of {facts.id}")
        return EXIT_FAILED
    target = facts.targets[0]

    def sort_key(summary: RunSummary) -> tuple[float, str]:
        value = math.inf if summary.best is None else summary.best
        return (value if target.goal == "min" else -value), summary.run_id

    nearest = min(measured, key=sort_key)
    if as_json:
        _print_json(nearest, "metric", target.metric, nearest.best)
        return EXIT_FAILED
    print_text(f"# no run reached the target of {facts.id}; the best {target.metric}:")
    print_text(_wrap_command(_command_words(nearest.spec)))
    bound = text.target_bound(target)
    remark = f"{target.metric} best {nearest.best:.4g}, target {bound}; best of {len(measured)}; {nearest.run_id}"
    _print_remark(nearest, remark)
    return EXIT_FAILED


def _print_json(chosen: RunSummary, kind: str, quantity: str, value: float | None) -> None:
    """Print the chosen run as JSON.

    Args:
        chosen: the run.
        kind: name of the JSON field for `quantity`: `by` if the run reached the target, otherwise `metric`.
        quantity: the quantity by which the run was chosen.
        value: the value of this quantity.
    """
    result = {"run_id": chosen.run_id, "hardware": chosen.spec.hardware, kind: quantity, "value": value}
    command = " ".join(_command_words(chosen.spec))
    fields = {"reached": kind == "by", "hparams": chosen.spec.hparams, "command": command}
    print_json(result | fields)


def _print_remark(chosen: RunSummary, remark: str) -> None:
    """Print a remark and the hyperparameters of a run as comments of a shell."""
    print_text("\n" + text.wrap(f"# {remark}", indent="#   "))
    print_text("\n".join(f"# {name} = {value}" for name, value in sorted(chosen.spec.hparams.items())))


def _command_words(spec: RunSpec) -> list[str]:
    """Return the command that runs a configuration again. Each item has one option with its value: `-s wsd`."""
    return ["bench run", *(shlex.join(option) for option in run_options(spec, sorted(spec.hparams)))]


def _wrap_command(words: list[str]) -> str:
    """Return a command as text, with backslashes at line breaks.

    Lines fit the terminal's width. Without a terminal, the command is one line.
    """
    width = text.terminal_width()
    lines = [words[0]]
    for word in words[1:]:
        if width is not None and len(lines[-1]) + len(word) + 3 > width:
            lines.append(f"  {word}")
        else:
            lines[-1] += f" {word}"
    return " \\\n".join(lines)
