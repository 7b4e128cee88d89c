"""`bench compare` and `bench diff`: compare two submissions, and show how two runs differ."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import click

from harness.cli.commands import examples, refuse_typed
from harness.cli.compare_multipliers import choose_ruleset, compare_stopped
from harness.cli.gate import gate
from harness.cli.output import note, print_json, print_text
from harness.cli.record_folders import (
    check_workloads,
    envelopes_option,
    find_envelopes,
    find_run,
    folder_options,
    installed_workloads,
    list_folders,
    make_table_records,
    one_group,
    records,
    references,
    runs_of_submission,
    workloads_option,
)
from harness.cli.resolve import NameType, open_registry
from harness.errors import EXIT_FAILED, EXIT_OK, UsageError, unknown_name_error
from harness.planning.resolve import split_names
from harness.report import comparison, run_diff
from harness.report.multiplier_comparison import multiplier_comparison_json, multiplier_comparison_text
from harness.scoring.compare import Comparison, compare_runs
from harness.scoring.gate import GateAxis
from harness.scoring.multiplier_comparison import MultiplierComparison
from harness.scoring.time_to_target import RANKED_AXES, Axis, score_run


@click.command(
    epilog=examples(
        "bench compare wsd adamw-cosine --ruleset quick --workload lm-tiny",
        "bench compare wsd adamw-cosine --runs none",
        "bench compare wsd adamw-cosine -w lm-tiny --until-decided",
    )
)
@click.argument("a", type=NameType("submission"))
@click.argument("b", type=NameType("submission"))
@folder_options
@workloads_option
@click.option("--by", type=click.Choice(RANKED_AXES), default="time", show_default=True, help="Quantity to compare.")
@click.option("--hardware", help="Hardware class to compare on, if the records have several.")
@click.option("--ruleset", help="Ruleset to compare under (default: the one that ranks, if there are several).")
@envelopes_option
@click.option(
    "--fail-if-slower-than", "limit", type=float, metavar="RATIO",
    help="Exit with code 1 if A is slower than B by more than this ratio, such as 1.05.",
)  # fmt: skip
@click.option(
    "--until-decided", is_flag=True,
    help="Make new runs until a sequential test decides, as bench gate A --against B does.",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def compare(
    context: click.Context, /, a: str, b: str, runs: Path, results: Path, workloads: tuple[str, ...], by: Axis,
    hardware: str | None, ruleset: str | None, envelopes: Path | None, limit: float | None, until_decided: bool,
    as_json: bool,
) -> int:  # fmt: skip
    """Decide whether A is faster or slower than B. Runs with equal seeds are compared in pairs.

    Times to target are compared or, under the ruleset fixed-budget, time multipliers. With fewer than six pairs, the
    result is always inconclusive. All runs should be made by one command on one machine.

    The finished runs are compared. With --until-decided, new runs are made instead, and the exit codes are those of
    bench gate.
    """
    if until_decided:
        return _run_until_decided(context)
    if limit is not None and not limit >= 1:
        raise UsageError(
            f"--fail-if-slower-than {limit}: the ratio must be at least 1", fix="give a ratio such as 1.05"
        )
    problems: list[str] = []
    registry = open_registry(context.obj)
    installed = installed_workloads(registry)
    folders = list_folders(runs, results, problems)
    selector = make_table_records(runs, results, problems, folders)
    scored = [score_run(record, by) for record in records(folders, problems, selector, note_marks=True)]
    names = split_names(workloads)
    stopped = selector.stop_records
    specs = [*(run.spec for run in scored), *(record.spec for record in stopped)]
    check_workloads(names, {spec.workload.facts.name for spec in specs})
    scored = [run for run in scored if not names or run.spec.workload.facts.name in names]
    stopped = [record for record in stopped if not names or record.spec.workload.facts.name in names]
    rulesets = {spec.ruleset.name for spec in specs}
    if ruleset is not None and specs and ruleset not in rulesets:
        raise unknown_name_error("ruleset among the results", ruleset, rulesets)
    if ruleset is None:
        chosen = [spec for spec in specs if not names or spec.workload.facts.name in names]
        ruleset = choose_ruleset([spec for spec in chosen if spec.purpose == "score"], a, b)
    if stopped := [record for record in stopped if record.spec.ruleset.name == ruleset]:
        by_multiplier = compare_stopped(
            stopped,
            a,
            b,
            by=by,
            hardware=hardware,
            envelopes=find_envelopes(envelopes, results),
            installed=installed,
        )
        if as_json:
            print_json(multiplier_comparison_json(by_multiplier))
        else:
            print_text(multiplier_comparison_text(by_multiplier))
        return _exit_code(by_multiplier, limit)
    runs_of_both = one_group([*runs_of_submission(scored, a), *runs_of_submission(scored, b)], hardware, ruleset)
    # If A and B are the same submission, every run is paired with itself. The ratio is then 1, and the verdict is
    # `inconclusive`.
    of_a, of_b = (runs_of_submission(runs_of_both, name) for name in (a, b))
    result = compare_runs(of_a, of_b, by, installed=installed, references=references(registry, None))
    if as_json:
        print_json(comparison.comparison_json(result))
    else:
        print_text(comparison.comparison_text(result))
    return _exit_code(result, limit)


def _run_until_decided(context: click.Context) -> int:
    """Run `bench gate A --against B` with the options of this call, and return its exit code."""
    unused = ("results", "hardware", "ruleset", "envelopes", "limit")
    refuse_typed(context, unused, "--until-decided makes the runs that it compares")
    values = context.params
    if values["by"] not in get_args(GateAxis):
        raise UsageError(
            f"--by {values['by']} cannot be used with --until-decided", fix=f"use {' or '.join(get_args(GateAxis))}"
        )
    if str(values["runs"]) == "none":
        raise UsageError("--until-decided needs a folder for its runs", fix="leave out --runs, or name a folder")
    arguments = [values["a"], "--against", values["b"], "--runs", str(values["runs"])]
    arguments += [word for name in values["workloads"] for word in ("--workload", name)]
    arguments += ["--by", values["by"]]
    arguments += ["--json"] if values["as_json"] else []
    with gate.make_context("gate", arguments, parent=context.parent) as call:
        code: int = gate.invoke(call)
    return code


def _exit_code(result: Comparison | MultiplierComparison, limit: float | None) -> int:
    """Return the exit code of a comparison. If A is slower than B by more than the limit, print a note."""
    if limit is None or not result.slower_than(limit):
        return EXIT_OK
    note(f"--fail-if-slower-than {limit:g}: {result.a} is slower than {result.b} by more than this ratio")
    return EXIT_FAILED


@click.command(epilog=examples("bench diff run-1f2e3d4c run-5a6b7c8d"))
@click.argument("a", type=NameType("run"))
@click.argument("b", type=NameType("run"))
@folder_options
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def diff(a: str, b: str, runs: Path, results: Path, as_json: bool) -> None:
    """Show how two runs differ: configuration, environment, outcome, curves.

    A and B are paths of runs, run_ids, or unique beginnings of run_ids.
    """
    first, second = (find_run(name, runs, results) for name in (a, b))
    if as_json:
        print_json(run_diff.diff_json(first, second))
    else:
        print_text(run_diff.diff_text(first, second))
