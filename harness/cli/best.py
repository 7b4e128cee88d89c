"""`bench best`: print the configuration that reached a workload's target first."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from harness.cli.output import SCHEMA, print_json
from harness.cli.record_folders import check_workloads, folder_options, records
from harness.cli.resolve import NameType
from harness.contract.run import RunSpec
from harness.errors import EXIT_FAILED, EXIT_OK
from harness.report import text
from harness.scoring.selection import keep_newest_versions
from harness.scoring.summary import LeaderboardQuery, RunSummary, summarize
from harness.scoring.time_to_target import RANKED_AXES, Axis


@click.command()
@click.argument("workload", type=NameType("workload"))
@folder_options
@click.option("--by", type=click.Choice(RANKED_AXES), default="time", show_default=True, help="Quantity to compare.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def best(workload: str, runs: Path, results: Path, by: Axis, as_json: bool) -> int:
    """Print the configuration that reached a workload's target first, as a command.

    The configuration is taken from the best single run, including runs with overrides. Use it only as a starting point:
    the best of many runs overestimates the performance of its configuration.
    """
    query = LeaderboardQuery(by=by)
    names: set[str] = set()
    summaries: list[RunSummary] = []
    for record in records(runs, results, []):
        if not record.spec.smoke and not record.spec.profile:
            names.add(record.spec.workload.facts.name)
            if record.spec.workload.facts.name == workload:
                summaries.append(summarize(record, query))
    check_workloads([workload], names)
    # Only the newest version counts, because the target of an older version may be easier.
    newest, _ = keep_newest_versions(summaries)
    hits = [summary for summary in newest if summary.result.status == "hit"]
    if not hits:
        click.echo(f"no run reached the target of {newest[0].spec.workload.facts.id}")
        return EXIT_FAILED
    first = min(hits, key=lambda summary: (summary.result.value, summary.run_id))
    command = _command_words(first.spec)
    if as_json:
        result = {"run_id": first.run_id, "hardware": first.spec.hardware, "by": by, "value": first.result.value}
        print_json({"schema": SCHEMA, **result, "hparams": first.spec.hparams, "command": " ".join(command)})
        return EXIT_OK
    # Seconds of two hardware classes cannot be compared, so only runs of this class are counted.
    run_count = sum(summary.spec.hardware == first.spec.hardware for summary in hits)
    unit = f"{first.spec.clock} seconds" if by == "time" else by
    amount = f"{text.number(first.result.value)} {unit} to target"
    click.echo(_wrap_command(command))
    remark = f"# {amount}; best of {run_count} on {first.spec.hardware}; {first.run_id}"
    click.echo("\n" + text.wrap(remark, indent="#   "))
    click.echo("\n".join(f"# {name} = {value}" for name, value in sorted(first.spec.hparams.items())))
    return EXIT_OK


def _command_words(spec: RunSpec) -> list[str]:
    """Return the command that runs a configuration again, as a list of options. It sets every hyperparameter."""
    words = ["bench run"]

    def add(option: str, value: object) -> None:
        words.append(f"{option} {shlex.quote(str(value))}")

    add("-s", _typed_name(spec.submission.name, spec.submission.load))
    add("-w", _typed_name(spec.workload.facts.name, spec.workload.load))
    if spec.root_seed:
        add("--seed", spec.root_seed)
    if spec.threads != 1:
        add("--threads", spec.threads)
    for name, value in sorted(spec.hparams.items()):
        add("--set", f"{name}={str(value).lower() if isinstance(value, bool) else value}")
    return words


def _typed_name(name: str, load: str | None) -> str:
    """Return the name for the command line: an installed name, or the path of a file that is not part of a plugin."""
    return load if load and ".py:" in load else name


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
