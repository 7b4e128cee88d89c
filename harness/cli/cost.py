"""`bench cost`: measure the cost per example of submissions, relative to one of the submissions."""

from __future__ import annotations

from pathlib import Path

import click

from harness.calibration.cost_runs import measure_costs, plan_cost_runs
from harness.cli.commands import examples
from harness.cli.output import note, print_json, print_text
from harness.cli.resolve import LimitedInteger, NameType, open_registry, parse_assignments
from harness.cli.trial_options import (
    allow_slow_option,
    device_option,
    runs_option,
    seed_option,
    threads_option,
)
from harness.cli.watching import watch_trials
from harness.errors import UsageError
from harness.planning.internal_rulesets import COST_RULESET
from harness.planning.phases import SubmissionOnWorkload
from harness.planning.requirements import runnable_workloads
from harness.planning.resolve import check_distinct_names, resolve_submission, split_names
from harness.planning.trials import PlanSettings
from harness.report.cost import costs_json, costs_text
from harness.scoring.cost_ratio import cost_ratios


@click.command("cost", epilog=examples("bench cost muon-wsd,adamw-cosine -w lm-tiny"))
@click.argument("submissions", type=NameType("submission"), metavar="A,B[,C]")
@click.option(
    "-w", "--workload", "workloads", multiple=True, required=True, type=NameType("workload"),
    help="Comma-separated workloads.",
)  # fmt: skip
@click.option("--to", "baseline", help="Submission whose cost counts as 1 (default: the last one).")
@click.option(
    "--pairs",
    type=LimitedInteger("pairs"),
    default=10,
    show_default=True,
    help="Number of runs of each submission on each workload.",
)
@click.option(
    "--intervals", type=LimitedInteger("intervals"), default=8, show_default=True,
    help="Number of evaluations per run; on a stream, per stage.",
)  # fmt: skip
@click.option("--set", "settings", multiple=True, metavar="NAME=VALUE", help="Set a hyperparameter.")
@seed_option
@threads_option
@device_option
@allow_slow_option
@runs_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def cost(
    blocked_plugins: list[str], submissions: str, workloads: tuple[str, ...], baseline: str | None, pairs: int,
    intervals: int, settings: tuple[str, ...], seed: int, threads: int, device: str | None, allow_slow: bool,
    runs: Path, as_json: bool,
) -> None:  # fmt: skip
    """Measure the cost per example of submissions in short runs that alternate.

    The ratio of two costs depends much less on the machine than a time in seconds. Every call repeats all measurements.
    Runs end after a few evaluations, so the result says nothing about the metric.

    bench leaderboard uses the costs to project rankings of fixed-budget to this hardware class, if the reference of the
    workload is among the submissions, with default hyperparameters and at least five pairs.
    """
    registry = open_registry(blocked_plugins)
    names = split_names([submissions])
    if len(names) < 2:
        raise UsageError(f"{submissions}: a comparison needs at least two submissions", fix="name them as A,B")
    found = {name: resolve_submission(name, registry) for name in names}
    check_distinct_names(found)
    entries = list(found.values())
    baseline = baseline or entries[-1].name
    if baseline not in {entry.name for entry in entries}:
        raise UsageError(
            f"--to {baseline}: this submission is not among {', '.join(names)}", fix="name one of these submissions"
        )
    skipped: list[str] = []
    overrides = parse_assignments(settings, "--set")
    planned = [
        SubmissionOnWorkload(
            submission=entry,
            workload=workload,
            settings=PlanSettings(ruleset=COST_RULESET, seed=seed, threads=threads, device=chosen, overrides=overrides),
        )
        for workload, chosen in runnable_workloads(split_names(workloads), registry, device, allow_slow, skipped)
        for entry in entries
    ]
    for line in skipped:
        note(line)
    if not planned:
        raise UsageError("there is no workload to measure on", fix="; ".join(skipped) or "name a workload with -w")
    specs = plan_cost_runs(planned, registry, repetitions=pairs, intervals=intervals)
    with watch_trials(registry, len(specs)) as watcher:
        ratios = cost_ratios(measure_costs(specs, runs, watcher, registry), baseline)
    if as_json:
        print_json(costs_json(ratios, baseline))
    else:
        print_text(costs_text(ratios, baseline))
