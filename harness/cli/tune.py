"""`bench tune`: search the hyperparameters of a submission, and store the best setting."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from harness.cli.commands import examples
from harness.cli.dry_run import note_missing
from harness.cli.output import note, print_json, print_text
from harness.cli.resolve import LimitedInteger, NameType, format_grid, open_registry
from harness.cli.trial_options import (
    allow_slow_option,
    device_option,
    executor_option,
    jobs_option,
    retry_failed_option,
    runs_option,
    seed_option,
    threads_option,
)
from harness.cli.watching import observe_option, watch_trials
from harness.contract.run import ExecutionOptions, RunSpec
from harness.contract.watcher import Watcher
from harness.errors import EXIT_FAILED, EXIT_OK, BenchError, UsageError
from harness.planning.resolve import split_names
from harness.planning.search import find_edges, find_neighbours, parse_range
from harness.report import text
from harness.report.tune import TuneReport, plan_rows, tune_json, tune_text
from harness.scoring.search import Combination, SearchBy
from harness.tuning.best_settings import FILE, write_best_setting
from harness.tuning.session import TuneOptions, TuneResult, TuneSession
from harness.tuning.setup import TuneRequest, TuneSetup, set_up_search


class GateOrExamples(click.ParamType[int | str]):
    """A number of examples, or the word `gate` for the budget of `bench gate`."""

    name = "examples"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int | str:
        if value == "gate":
            return "gate"
        try:
            number = int(str(value).replace("_", ""))
        except ValueError:
            number = 0
        if number < 1:
            self.fail(f"{value!r} must be a number of examples, or the word gate", param, ctx)
        return number


@dataclass(frozen=True, kw_only=True)
class TuneFlags:
    """The options of `bench tune`, one field for each."""

    workloads: tuple[str, ...]
    trials: int
    only: str | None
    ranges: tuple[str, ...]
    studies: int
    budget: int | str | None
    by: SearchBy | None
    combination: Combination
    write: bool
    settings_file: Path
    seed: int
    device: str | None
    threads: int
    runs: Path
    executor: str
    jobs: int | None
    retry_failed: bool
    allow_slow: bool
    observe: tuple[str, ...]
    dry_run: bool
    as_json: bool


@click.command(
    "tune",
    epilog=examples(
        "bench tune wsd -w lm-tiny --trials 8", "bench tune ./mine.py -w lm-tiny --only lr --budget gate --write"
    ),
)
@click.argument("submission", type=NameType("submission"))
@click.option(
    "-w", "--workload", "workloads", multiple=True, type=NameType("workload"), help="Comma-separated workloads."
)
@click.option(
    "--trials", type=LimitedInteger("trials"), default=8, show_default=True, help="Number of settings to try."
)
@click.option("--only", metavar="NAME", help="Search only this hyperparameter, at values around its default.")
@click.option(
    "--range", "ranges", multiple=True, metavar="NAME=LOW..HIGH", help="Range in which a hyperparameter is searched."
)
@click.option(
    "--studies", type=LimitedInteger("studies"), default=1, show_default=True, help="Number of seeds per setting."
)
@click.option(
    "--budget", type=GateOrExamples(), metavar="EXAMPLES",
    help="Number of examples after which every run and its schedule end, or `gate` for the budget of bench gate.",
)  # fmt: skip
@click.option(
    "--by", type=click.Choice(["metric", "time", "examples"]),
    help="Rank by the metric at the budget, or by the time or the examples to the target. "
    "Default: metric with --budget, otherwise time.",
)  # fmt: skip
@click.option(
    "--combine", "combination", type=click.Choice(["rank", "ratio"]), default="rank", show_default=True,
    help="Rank settings over several workloads by their mean rank, or by their mean ratio to the best setting.",
)  # fmt: skip
@click.option("--write", is_flag=True, help="Store the best setting for bench run --best.")
@click.option(
    "--settings", "settings_file", type=click.Path(path_type=Path, dir_okay=False), default=FILE, show_default=True,
    help="File of the best known settings.",
)  # fmt: skip
@seed_option
@device_option
@threads_option
@runs_option
@executor_option
@jobs_option
@retry_failed_option
@allow_slow_option
@observe_option
@click.option("--dry-run", is_flag=True, help="Print the settings and the cost without running anything.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def tune(blocked_plugins: list[str], /, submission: str, **values: Any) -> int:
    """Search the hyperparameters of a submission.

    Without --only, the whole search space is searched. The defaults are tried first, then points of a quasi-random
    sequence. The seeds of a search are never used for scores. If the command is repeated, only unfinished trials are
    run. A larger --trials adds settings.
    """
    flags = TuneFlags(**values)
    registry = open_registry(blocked_plugins)
    skipped: list[str] = []
    missing: list[BenchError] = []
    setup = set_up_search(_request(submission, flags), registry, skipped, missing if flags.dry_run else None)
    for line in skipped:
        note(line)

    def watch(specs: Sequence[RunSpec]) -> AbstractContextManager[Watcher]:
        return watch_trials(registry, len(specs), specs)

    options = TuneOptions(
        runs=flags.runs,
        executor=flags.executor,
        execution=ExecutionOptions(jobs=flags.jobs, retry_failed=flags.retry_failed),
        combination=flags.combination,
    )
    registry.executor(flags.executor)  # an unknown executor is an error even in a dry run
    session = TuneSession(registry, options, watch=watch)
    cost = session.cost(setup)
    if flags.dry_run:
        _print_plan(setup, flags, cost)
        note_missing(missing)
        return EXIT_OK
    note(f"{len(setup.points)} settings of {setup.entry.name}, {cost}")
    result = session.run(setup)
    stored = ""
    if flags.write and result.winner is not None:
        stored = _store(result, flags.settings_file)
    report = _report(submission, result, flags, stored)
    if flags.as_json:
        print_json(tune_json(report))
    else:
        print_text(tune_text(report))
    return EXIT_FAILED if result.winner is None else EXIT_OK


def _request(submission: str, flags: TuneFlags) -> TuneRequest:
    if not flags.workloads:
        raise UsageError("no workload is named", fix="name a workload with -w NAME")
    ranges: dict[str, tuple[float, float]] = {}
    for option in flags.ranges:
        name, ends = parse_range(option)
        if name in ranges:
            raise UsageError(f"--range {name} is given twice", fix="keep one of the ranges")
        ranges[name] = ends
    return TuneRequest(
        submission=submission,
        workloads=split_names(flags.workloads),
        trials=flags.trials,
        only=flags.only,
        ranges=ranges,
        studies=flags.studies,
        by=flags.by or ("metric" if flags.budget is not None else "time"),
        budget=flags.budget,
        seed=flags.seed,
        threads=flags.threads,
        device=flags.device,
        allow_slow=flags.allow_slow,
    )


def _print_plan(setup: TuneSetup, flags: TuneFlags, cost: Any) -> None:
    if flags.as_json:
        settings = [setup.search.values_of(point) for point in setup.points]
        fields = {"settings": settings, "runs": cost.runs, "missing": cost.missing, "core_minutes": cost.minutes}
        print_json({"submission": setup.entry.name, "left_out": list(setup.left_out), **fields})
        return
    print_text(text.columns(plan_rows(setup.search, setup.points)))
    for line in setup.left_out:
        note(f"left out: {line}")
    ends = ", ".join(
        f"{w.name} to {f'{w.budget:,} examples' if setup.runs_to_end else 'its target'}" for w in setup.workloads
    )
    note(f"{ends}; {cost}")


def _store(result: TuneResult, path: Path) -> str:
    """Store the best setting in a file and return the file's path."""
    replaced = write_best_setting(path, result.best_setting(path.parent))
    if replaced is not None:
        old_values = " ".join(f"{name}={value}" for name, value in replaced.hparams.items()) or "the defaults"
        note(f"{path}: replaced {old_values} (found on {replaced.found})")
    return str(path)


def _report(submission: str, result: TuneResult, flags: TuneFlags, stored: str) -> TuneReport:
    setup, ranking = result.setup, result.ranking
    winner = ranking[0]
    by_point = {str(setting.point): setting for setting in ranking}
    neighbours = find_neighbours(setup.search, winner.point, setup.points)
    command = ["bench", "run", "-s", submission, "-w", ",".join(split_names(flags.workloads))]
    for assignment in format_grid({name: (value,) for name, value in winner.point.items()}):
        command += ["--set", assignment]
    return TuneReport(
        submission=submission,
        search=setup.search,
        by=setup.request.by,
        combination=flags.combination,
        budgets={w.entry.facts.id: w.budget for w in setup.workloads} if setup.runs_to_end else {},
        studies=setup.request.studies,
        ranking=ranking,
        neighbours=tuple(by_point[str(point)] for point in neighbours),
        edges=tuple(find_edges(setup.search, setup.composition.space, winner.point, setup.points)),
        left_out=setup.left_out,
        runs=result.runs,
        core_minutes=result.core_minutes,
        command=shlex.join(command) if result.winner is not None else "",
        stored=stored,
    )
