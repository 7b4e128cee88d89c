"""`bench run`: parse the options, run the trials, and print a summary."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from harness.cli import config
from harness.cli import sweep as sweeps
from harness.cli.commands import examples
from harness.cli.dry_run import print_plan
from harness.cli.output import note, print_json, print_text
from harness.cli.resolve import LimitedInteger, NameType, open_registry, parse_assignments, parse_grid
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
from harness.cli.watching import find_requested_observers, observe_option, watch_trials
from harness.contract.record import TrialSummary, is_retryable, is_success
from harness.contract.run import ExecutionOptions, Nonce
from harness.errors import EXIT_FAILED, EXIT_OK, UsageError
from harness.execution.run_trials import check_executor, has_unfinished, read_summarized, run_to_summaries
from harness.hardware import detect
from harness.planning.nonces import public_beacon, request_nonce, submission_sources
from harness.planning.phases import PhasedPlan
from harness.planning.plan import BestSettingsOf, plan
from harness.plugins.registry import Registry
from harness.report import text
from harness.storage.layout import RECORD, run_id
from harness.tuning.best_settings import FILE
from harness.tuning.known_settings import KnownSettings

#: Maximum number of failed trials that the summary lists.
MAX_LISTED_FAILURES = 20


@click.command(
    epilog=examples(
        "bench run -s wsd,adamw-cosine -w lm-tiny --studies 5",
        "bench run -s ./my_optimizer.py -w resnet-digits --set lr=1e-3,3e-3",
        "bench run -s wsd -w tier:cpu --dry-run",
    )
)
@click.argument("sweep", required=False, type=click.Path(path_type=Path, dir_okay=False), metavar="[SWEEP.yaml]")
@click.option(
    "-s", "--submission", "submissions", multiple=True, type=NameType("submission"),
    help="Comma-separated submissions: names, files ./mine.py[:Name], classes torch.optim:Adam, or parts adamw+wsd.",
)  # fmt: skip
@click.option(
    "-w", "--workload", "workloads", multiple=True, type=NameType("workload"),
    help="Comma-separated workloads: names, files ./task.py, or tier:cpu for a tier.",
)  # fmt: skip
@click.option(
    "--ruleset", type=NameType("ruleset"), default="quick", envvar="BENCH_RULESET", show_default=True,
    help="Name of a ruleset (bench rulesets), or a file ./mine.yaml.",
)  # fmt: skip
@click.option(
    "--studies", type=LimitedInteger("studies"), envvar="BENCH_STUDIES", help="Number of independent repetitions."
)
@click.option(
    "--tuning-studies",
    type=LimitedInteger("tuning_studies"),
    help="Number of studies that choose a setting or a stop, under a ruleset that has them. More studies choose better"
    " if the workload has much noise.",
)
@seed_option
@click.option(
    "--nonce", default="none", envvar="BENCH_NONCE", show_default=True, metavar="beacon|local|HEX|none",
    help="Derive the seeds from a number: the next round of a public randomness beacon, a random number of this "
    "machine, or the given 64 hexadecimal digits.",
)  # fmt: skip
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="NAME=VALUE",
    help="Set a hyperparameter (never ranked). lr=1e-3,3e-3 runs a grid.",
)
@click.option(
    "--best",
    "use_best",
    is_flag=True,
    help="Use the best known settings (bench tune --write). Works only with the ruleset quick.",
)
@click.option(
    "--settings", "settings_file", type=click.Path(path_type=Path, dir_okay=False), default=FILE, show_default=True,
    help="File of the best known settings.",
)  # fmt: skip
@device_option
@threads_option
@click.option(
    "--gpus", "--ranks", "ranks", type=LimitedInteger("ranks"), default=1, show_default=True,
    help="Number of GPUs per trial; on the CPU, number of processes per trial.",
)  # fmt: skip
@runs_option
@executor_option
@click.option(
    "--executor-option", "executor_options", multiple=True, metavar="NAME=VALUE",
    help="Set an option of the executor, such as address=auto for ray.",
)  # fmt: skip
@jobs_option
@retry_failed_option
@click.option("--force", is_flag=True, help="Rerun finished trials. Their earlier files are moved to superseded/.")
@click.option(
    "--prune",
    is_flag=True,
    help="From half of the budget on, end a trial that is far from the target (never ranked).",
)
@click.option("--smoke", is_flag=True, help="Run only a few steps of each trial (never ranked).")
@click.option(
    "--profile", is_flag=True, help="Time the phases of a step: data, forward, backward, optimizer (never ranked)."
)
@click.option(
    "--grad-norm", is_flag=True, help="Store the norm of the gradients at every evaluation. This takes no scored time."
)
@click.option("--deterministic", is_flag=True, help="Use deterministic, slower kernels on a GPU.")
@click.option("--whole-evaluation", is_flag=True, help="Use the whole score split in every evaluation.")
@click.option(
    "--shadow-evaluation",
    is_flag=True,
    help="Repeat each evaluation on a part of the score split with the whole split, and compare the two decisions.",
)
@allow_slow_option
@click.option("--in-process", is_flag=True, help="Run one trial in this process, for a debugger.")
@click.option(
    "--fresh-workers", is_flag=True, help="Start every trial's worker as a new process instead of forking it."
)
@observe_option
@click.option(
    "--dry-run", is_flag=True, help="Print the trials, their estimated time and what this machine lacks for them."
)
@click.option("--show-config", is_flag=True, help="Print every option, its value and the source of the value.")
@click.option("--json", "as_json", is_flag=True, help="Print the records as JSON.")
@click.pass_context
def run(context: click.Context, /, sweep: Path | None, show_config: bool, **values: Any) -> int:
    """Run submissions on workloads, or the plan in a sweep file.

    If the same command is run again, finished trials are skipped and the others are resumed.
    """
    if show_config:
        rows = config.option_rows(context)
        if values["as_json"]:
            print_json({"options": {name: {"value": value, "source": source} for name, value, source in rows}})
        else:
            print_text(text.columns([list(row) for row in rows]))
        return EXIT_OK
    if sweep is not None:
        values = sweeps.apply(context, sweeps.read(sweep), values)
    options = RunOptions(**values)
    for names, noun, flag in ((options.submissions, "submissions", "-s"), (options.workloads, "workloads", "-w")):
        if not names:
            raise UsageError(f"no {noun} are named", fix=f"add {flag} NAME, or give a sweep file with the key {noun}")
    registry = open_registry(context.obj)
    phased_plan = options.plan(registry)
    for line in (*phased_plan.skipped, *_untested_warnings(phased_plan)):
        note(line)
    # An unknown executor or observer is also an error in a dry run.
    check_executor(options.executor, options.execution(), registry)
    find_requested_observers(registry)
    if options.dry_run:
        print_plan(phased_plan, options.runs, options.execution(), options.as_json)
        return EXIT_OK
    summaries = _run(registry, phased_plan, options)
    if options.as_json:
        print_json({"records": [read_summarized(summary) for summary in summaries]})
    else:
        _print_summary(summaries, options.runs)
    return EXIT_OK if all(is_success(summary.status) for summary in summaries) else EXIT_FAILED


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """The options of `bench run`, one field for each except `--show-config`. They include values of a sweep file."""

    submissions: tuple[str, ...]
    workloads: tuple[str, ...]
    ruleset: str
    studies: int | None
    tuning_studies: int | dict[str, int] | None
    seed: int
    nonce: str
    settings: tuple[str, ...]
    use_best: bool
    settings_file: Path
    device: str | None
    threads: int
    ranks: int
    runs: Path
    executor: str
    executor_options: tuple[str, ...]
    jobs: int | None
    retry_failed: bool
    force: bool
    prune: bool
    smoke: bool
    profile: bool
    grad_norm: bool
    deterministic: bool
    whole_evaluation: bool
    shadow_evaluation: bool
    allow_slow: bool
    in_process: bool
    fresh_workers: bool
    observe: tuple[str, ...]
    dry_run: bool
    as_json: bool

    def plan(self, registry: Registry) -> PhasedPlan:
        """Plan the trials for these options.

        Raises:
            UsageError: two options conflict, or no submission has a best known setting. Other causes: see
                `harness.plan`.
            DataError: see `harness.plan`.
        """
        if self.nonce != "none" and self.seed:
            problem = f"--seed {self.seed} has no effect with --nonce {self.nonce}, from which all seeds are derived"
            raise UsageError(problem, fix="leave out --seed, or --nonce")
        if not self.use_best:
            return self._plan_with_nonce(registry, None)
        if self.ruleset != "quick":
            problem = (
                f"--best cannot be used with the ruleset {self.ruleset}, because best known settings are never ranked"
            )
            raise UsageError(problem, fix="leave out --best, or use --ruleset quick")
        known_settings = KnownSettings(self.settings_file)
        phased_plan = self._plan_with_nonce(registry, known_settings.values)
        for line in known_settings.lines(phased_plan):
            note(line)
        return phased_plan

    def _plan_with_nonce(self, registry: Registry, best_settings: BestSettingsOf | None) -> PhasedPlan:
        """Plan the trials. If the options ask for a nonce, request it, and plan the trials again with its seeds."""
        phased_plan = self._plan(registry, best_settings)
        if self.nonce == "none" or self.dry_run:
            return phased_plan  # A dry run writes nothing and requests no nonce.
        requested = request_nonce(self.nonce, submission_sources(phased_plan), self.runs, public_beacon())
        if requested is None:
            return phased_plan
        if requested.message:
            note(f"warning: {requested.message}")
        return self._plan(registry, best_settings, requested.nonce)

    def _plan(self, registry: Registry, best_settings: BestSettingsOf | None, nonce: Nonce | None = None) -> PhasedPlan:
        return plan(
            self.submissions,
            self.workloads,
            ruleset=self.ruleset,
            studies=self.studies,
            tuning_studies=self.tuning_studies,
            seed=self.seed,
            overrides=parse_grid(self.settings, "--set"),
            best_settings=best_settings,
            device=self.device,
            threads=self.threads,
            ranks=self.ranks,
            smoke=self.smoke,
            profile=self.profile,
            deterministic=self.deterministic,
            prune=self.prune,
            screening=not self.whole_evaluation,
            nonce=nonce,
            allow_slow=self.allow_slow,
            require_machine=not self.dry_run,
            registry=registry,
        )

    def execution(self) -> ExecutionOptions:
        """Return the options for the executor."""
        assignments = parse_assignments(self.executor_options, "--executor-option")
        return ExecutionOptions(
            force=self.force,
            retry_failed=self.retry_failed,
            jobs=self.jobs,
            in_process=self.in_process,
            shadow_evaluation=self.shadow_evaluation,
            fresh_workers=self.fresh_workers,
            grad_norm=self.grad_norm,
            options={name: str(value) for name, value in assignments.items()},
        )


def _run(registry: Registry, phased_plan: PhasedPlan, options: RunOptions) -> list[TrialSummary]:
    """Run the trials of a plan and return their summaries in the order of the plan."""
    execution, total = options.execution(), len(phased_plan) + phased_plan.pending
    if execution.in_process and total > 1:
        problem = f"--in-process runs only one trial, but the plan has {total} trials"
        raise UsageError(problem, fix="give one submission, one workload and --studies 1")
    with watch_trials(registry, total, phased_plan) as watcher:
        summaries = list(
            run_to_summaries(
                phased_plan,
                options.runs,
                executor=options.executor,
                options=execution,
                watcher=watcher,
                registry=registry,
            )
        )
    if phased_plan.pending_pairs and has_unfinished(summaries):
        note("the stop or setting is chosen when all tuning trials have finished: run the same command again")
    return _sort_as_planned(summaries, phased_plan)


def _sort_as_planned(summaries: Iterable[TrialSummary], phased_plan: PhasedPlan) -> list[TrialSummary]:
    """Sort summaries in the order of the plan. Trials of the first phase come before trials of the second phase."""
    phase1_index = {run_id(spec): index for index, spec in enumerate(phased_plan)}
    positions = {
        (pair.submission.name, pair.workload.name): index for index, pair in enumerate(phased_plan.pending_pairs)
    }

    def sort_key(summary: TrialSummary) -> tuple[int, ...]:
        if summary.run_id in phase1_index:
            return (0, phase1_index[summary.run_id])
        spec = summary.spec
        names = spec.submission.name, spec.workload.facts.name
        return (1, spec.study, spec.trial, positions.get(names, len(positions)))

    return sorted(summaries, key=sort_key)


def _untested_warnings(phased_plan: PhasedPlan) -> list[str]:
    """Return a warning for each device of the plan on which the harness has not been tested."""
    devices = sorted({spec.device for spec in phased_plan})
    return [f"warning: {line}" for line in map(detect.untested_warning, devices) if line]


# --- output -------------------------------------------------------------------------------------


def _print_summary(summaries: Sequence[TrialSummary], runs: Path) -> None:
    counts = Counter(summary.status for summary in summaries)
    kept_count = sum(summary.kept for summary in summaries)
    kept_failures = sum(summary.kept and is_retryable(summary.status) for summary in summaries)
    remedy = f"--retry-failed reruns the {kept_failures} that failed" if kept_failures else "--force repeats them"
    kept_note = f" ({kept_count} had already finished; {remedy})" if kept_count else ""
    print_text(", ".join(f"{count} {status}" for status, count in counts.most_common()) + kept_note)
    if sys.stdout.isatty():
        note(f"run bench leaderboard{f' --runs {runs}' if runs != Path('runs') else ''} to see the results as tables")
    failures = [summary for summary in summaries if not is_success(summary.status)]
    if len(failures) > MAX_LISTED_FAILURES:
        print_text(f"the first {MAX_LISTED_FAILURES} of {len(failures)} failed trials:")
    for summary in summaries:
        title = f"{summary.spec.submission.name} on {summary.spec.workload.facts.name}"
        if summary in failures[:MAX_LISTED_FAILURES]:
            log = Path(summary.path) / "worker.log"
            file = log if summary.status == "crashed" and log.exists() else Path(summary.path) / RECORD
            print_text(f"{title}: {summary.status}, {file}")
        if summary.spec.profile:
            profile = read_summarized(summary).profile
            total = sum(profile.values()) or 1.0
            print_text(f"{title}: " + ", ".join(f"{phase} {seconds / total:.0%}" for phase, seconds in profile.items()))
