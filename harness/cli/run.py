"""`bench run`: submissions on workloads, each trial to its record."""

from __future__ import annotations

import re
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from harness.cli import config, resolve
from harness.cli import sweep as sweeps
from harness.cli.output import SCHEMA, json_out, lively, note
from harness.cli.resolve import open_registry
from harness.contract.entries import WorkloadEntry
from harness.contract.record import Record, TrialSummary
from harness.contract.run import ExecutionOptions, RunSpec
from harness.datasets import local
from harness.datasets.local import DataRequirement
from harness.errors import EXIT_FAILED, EXIT_OK, DataError, UsageError
from harness.execution.resources import usable_cores, visible_gpus
from harness.execution.trial import finished_summary
from harness.execution.watchers import CombinedWatcher
from harness.hardware import detect
from harness.planning import estimate, phases, plan, roles, rulesets
from harness.planning.phases import PhasedPlan, SubmissionOnWorkload
from harness.plugins.loading import load_object
from harness.plugins.observers import Observers
from harness.plugins.registry import Registry, observer_plugins
from harness.report import text
from harness.report.progress import LiveView, Plain
from harness.storage import layout, records
from harness.storage.layout import run_id

#: Failed trials that a summary lists.
LISTED = 20
#: How a trial may end without the command having failed.
GOOD = frozenset({"reached", "exhausted", "pruned"})


@click.command()
@click.argument("sweep", required=False, type=click.Path(path_type=Path, dir_okay=False), metavar="[SWEEP.yaml]")
@click.option(
    "-s", "--submission", "submissions", multiple=True, type=resolve.NameType("submission"),
    help="Names (a,b), a file ./mine.py[:Name], a class torch.optim:Adam, or parts adamw+wsd.",
)  # fmt: skip
@click.option(
    "-w", "--workload", "workloads", multiple=True, type=resolve.NameType("workload"),
    help="Names (a,b), a file ./task.py, or tier:cpu.",
)  # fmt: skip
@click.option(
    "--ruleset", default="quick", envvar="BENCH_RULESET", show_default=True,
    help="The rules to run under (bench rulesets), or a file ./mine.yaml.",
)  # fmt: skip
@click.option("--studies", type=click.IntRange(1), envvar="BENCH_STUDIES", help="Independent repetitions.")
@click.option("--seed", type=int, default=0, envvar="BENCH_SEED", show_default=True, help="Root of all seeds.")
@click.option("--set", "settings", multiple=True, metavar="NAME=VALUE", help="Set a hyperparameter (unranked).")
@click.option("--device", envvar="BENCH_DEVICE", help="cpu, cuda, mps; the workload's own when not given.")
@click.option(
    "--threads", type=click.IntRange(1), default=1, envvar="BENCH_THREADS", show_default=True,
    help="Processor threads of a trial; part of the hardware class.",
)  # fmt: skip
@click.option(
    "--gpus", "--ranks", "ranks", type=click.IntRange(1), default=1, show_default=True,
    help="Devices that share a trial; on the CPU, processes.",
)  # fmt: skip
@click.option(
    "--runs", type=click.Path(path_type=Path), default=Path("runs"), envvar="BENCH_RUNS", show_default=True,
    help="Folder of local runs.",
)  # fmt: skip
@click.option("--executor", default="local", envvar="BENCH_EXECUTOR", show_default=True, help="Where trials run.")
@click.option(
    "--executor-option", "executor_options", multiple=True, metavar="NAME=VALUE",
    help="The executor's own, such as address=auto for ray.",
)  # fmt: skip
@click.option("--jobs", type=click.IntRange(1), envvar="BENCH_JOBS", help="Trials at once; as many as fit by default.")
@click.option("--retry-failed", is_flag=True, help="Start anew what crashed, was rejected or ran out of something.")
@click.option("--force", is_flag=True, help="Start anew; what is there is kept under superseded/.")
@click.option("--prune", is_flag=True, help="End hopeless trials at half their budget; counted as missed (unranked).")
@click.option("--smoke", is_flag=True, help="A few steps of everything (unranked).")
@click.option("--profile", is_flag=True, help="Take the time apart: data, forward, backward, optimizer (unranked).")
@click.option("--deterministic", is_flag=True, help="Deterministic kernels on a GPU; slower.")
@click.option("--allow-slow", is_flag=True, help="Run a GPU workload on the CPU.")
@click.option("--in-process", is_flag=True, help="Run in this process, for a debugger.")
@click.option("--dry-run", is_flag=True, help="Print the trials and run nothing.")
@click.option("--show-config", is_flag=True, help="Print every setting and where it comes from.")
@click.option("--json", "as_json", is_flag=True, help="Print the records as JSON.")
@click.pass_context
def run(context: click.Context, /, sweep: Path | None, **options: Any) -> int:
    """Run submissions on workloads, or the plan in a file.

    Giving the same command again keeps what has finished and goes on with what has not.
    """
    if options["show_config"]:
        click.echo(text.columns([list(row) for row in config.shown(context)]))
        return EXIT_OK
    if sweep is not None:
        options = sweeps.apply(context, sweeps.read(sweep), options)
    for wanted, flag in (("submissions", "-s"), ("workloads", "-w")):
        if not options[wanted]:
            raise UsageError(f"no {wanted} named", fix=f"{flag} NAME, or a sweep file with the key {wanted}")
    registry = open_registry(context.obj)
    phased_plan = _campaign(registry, options)
    for line in (*phased_plan.skipped, *_untested(phased_plan)):
        note(line)
    registry.executor(options["executor"])  # a plan for one that does not exist is none
    if options["dry_run"]:
        _print_plan(phased_plan, options)
        return EXIT_OK
    outcomes = _carry_out(registry, phased_plan, options)
    if options["as_json"]:
        json_out({"schema": SCHEMA, "records": [_record(outcome) for outcome in outcomes]})
    else:
        _summarise(outcomes, options["runs"])
    return EXIT_OK if all(outcome.status in GOOD for outcome in outcomes) else EXIT_FAILED


def _carry_out(registry: Registry, phased_plan: PhasedPlan, options: dict[str, Any]) -> list[TrialSummary]:
    """What became of every trial, in the order of the plan whatever the order in which they ended."""
    how = ExecutionOptions(
        force=options["force"],
        retry_failed=options["retry_failed"],
        jobs=options["jobs"],
        in_process=options["in_process"],
        options={
            name: str(value)
            for name, value in resolve.settings(options["executor_options"], "--executor-option").items()
        },
    )
    if how.in_process and len(phased_plan.phase1) + phased_plan.pending > 1:
        count = len(phased_plan.phase1) + phased_plan.pending
        raise UsageError(f"--in-process runs one trial, and these are {count}", fix="name one of each")
    execute = load_object(registry.executor(options["executor"]).load)
    with watching(registry, len(phased_plan.phase1) + phased_plan.pending) as watcher:
        outcomes = _in_order(phased_plan.phase1, execute(phased_plan.phase1, options["runs"], watcher, how))
        ended = all(outcome.status != "interrupted" for outcome in outcomes)
        if phased_plan.pending_pairs and ended:
            phase2 = phased_plan.phase2({outcome.run_id: _record(outcome) for outcome in outcomes})
            outcomes += _in_order(phase2, execute(phase2, options["runs"], watcher, how))
        elif phased_plan.pending_pairs:
            note("a stop is chosen when all tuning trials have ended: give the same command again")
    return outcomes


def _in_order(specs: Sequence[RunSpec], outcomes: Iterable[TrialSummary]) -> list[TrialSummary]:
    places = {run_id(spec): i for i, spec in enumerate(specs)}
    return sorted(outcomes, key=lambda outcome: places.get(outcome.run_id, len(places)))


def _record(outcome: TrialSummary) -> Record:
    return records.read_record(Path(outcome.path) / layout.RECORD)


# --- what to run --------------------------------------------------------------------------------


def _campaign(registry: Registry, options: dict[str, Any]) -> PhasedPlan:
    """Every trial.

    Raises:
        UsageError: there is none, or something is wrong with what was asked for.
    """
    settings = plan.Settings(
        ruleset=rulesets.ruleset(options["ruleset"]),
        studies=options["studies"],
        seed=options["seed"],
        overrides=resolve.settings(options["settings"]),
        device=options["device"],
        threads=options["threads"],
        smoke=options["smoke"],
        profile=options["profile"],
        deterministic=options["deterministic"],
        prune=options["prune"],
        ranks=options["ranks"],
    )
    entries = [resolve.submission(name, registry) for name in resolve.split(options["submissions"])]
    lacking: list[str] = []
    pairs = [
        SubmissionOnWorkload(submission=entry, workload=workload, settings=replace(settings, device=device))
        for workload, device in _workloads(registry, options, lacking)
        for entry in entries
    ]
    references = [entry for entry in registry.submissions() if roles.REFERENCE_TAG in entry.tags]
    phased_plan = phases.plan_phases(pairs, registry, references)
    phased_plan = replace(phased_plan, skipped=(*lacking, *phased_plan.skipped))
    if not phased_plan.phase1:
        raise UsageError("nothing to run", fix="; ".join(phased_plan.skipped) or None)
    return phased_plan


def _workloads(registry: Registry, options: dict[str, Any], skipped: list[str]) -> Iterator[tuple[WorkloadEntry, str]]:
    """The workloads asked for, each with its device. One asked for by its tier is skipped when its data are not here.

    Raises:
        UsageError: a GPU is needed and there is none.
        DataError: one asked for by its own name lacks its data; names the command that fetches them.
    """
    for name in resolve.split(options["workloads"]):
        for workload in resolve.workloads(name, registry):
            device = _device(registry, workload, options["device"], options["allow_slow"])
            needs = map(DataRequirement.parse, workload.needs_data)
            lacking = {need.fetch_command: said for need in needs if (said := _lacking(registry, need)) is not None}
            damaged = "".join(f": {said}" for said in lacking.values() if said)
            if not lacking:
                yield workload, device
            elif name.startswith("tier:"):
                skipped.append(f"skipped: {workload.name} needs data{damaged} ({'; '.join(lacking)})")
            else:
                what = damaged or " that are not here"
                raise DataError(f"{workload.name} needs data{what}", fix="; ".join(lacking))


def _untested(phased_plan: PhasedPlan) -> list[str]:
    devices = sorted({spec.device for spec in phased_plan.phase1})
    return [f"warning: {line}" for line in map(detect.untested_warning, devices) if line]


def _lacking(registry: Registry, need: DataRequirement) -> str | None:
    """What is wrong with the data that are here, by a look at names and sizes; empty when some are not here at all.

    None when nothing is wrong.
    """
    entry = registry.dataset(need.dataset)
    if local.missing(entry, need.only(entry)):
        return ""
    try:
        local.dataset_path(entry, need.only(entry))
    except DataError as error:
        return error.what
    return None


def _device(registry: Registry, workload: WorkloadEntry, asked: str | None, allow_slow: bool) -> str:
    """The device to run on.

    Raises:
        UsageError: a GPU is needed and there is none, or there is no such device.
    """
    if asked is not None and not re.fullmatch(r"cpu|mps|cuda(:\d+)?", asked):
        raise UsageError(f"unknown device {asked!r}", fix="one of cpu, cuda, cuda:0 …, mps")
    wanted = asked or ("cpu" if workload.facts.tier == "cpu" else "cuda")
    if wanted.startswith("cuda") and not detect.gpu_name():
        if workload.facts.tier == "cpu":
            raise UsageError(
                f"--device {wanted}: this machine has no GPU", fix=f"without --device {workload.name} runs on the CPU"
            )
        if allow_slow:
            return "cpu"
        sibling = _cpu_sibling(registry, workload)
        instead = f"its CPU sibling is {sibling}; " if sibling else ""
        raise UsageError(
            f"{workload.name} runs on a GPU and this machine has none", fix=f"{instead}--allow-slow runs it on the CPU"
        )
    if wanted == "cpu" and workload.facts.tier != "cpu" and not allow_slow:
        raise UsageError(f"{workload.name} is of tier {workload.facts.tier}", fix="--allow-slow runs it on the CPU")
    return wanted


def _cpu_sibling(registry: Registry, workload: WorkloadEntry) -> str | None:
    """The name of the first sibling, tier by tier downward, that a CPU is enough for."""
    while workload.facts.tier != "cpu" and workload.sibling:
        workload = registry.workload(workload.sibling)
    return workload.name if workload.facts.tier == "cpu" else None


# --- how it is watched --------------------------------------------------------------------------


@contextmanager
def watching(registry: Registry, total: int) -> Iterator[CombinedWatcher]:
    manager, warnings = observer_plugins(registry)
    for warning in warnings:
        note(f"warning: {warning}")
    # Redrawing is for terminals alone, whatever FORCE_COLOR says of colour.
    view = LiveView(total) if lively() and sys.stderr.isatty() else Plain(total)
    with view:
        yield CombinedWatcher([view, Observers(manager)])


# --- what is printed ----------------------------------------------------------------------------


def _print_plan(phased_plan: PhasedPlan, options: dict[str, Any]) -> None:
    specs = phased_plan.phase1
    folders = [folder for folder in (options["runs"], Path("results")) if folder.is_dir()]
    estimates = estimate.Estimates(folders)
    if options["as_json"]:
        rows_ = [{"run_id": run_id(spec), "seconds": estimates.of(spec), "spec": spec} for spec in specs]
        json_out({"schema": SCHEMA, "specs": rows_, "pending": phased_plan.pending})
        return
    rows = [["run", "submission", "workload", "for", "study", "trial", "device", "about", "hyperparameters"]]
    for spec in specs:
        hparams = " ".join(f"{name}={value}" for name, value in spec.hparams.items())
        about = estimates.of(spec)
        row = [run_id(spec), spec.submission.name, spec.workload.facts.id, spec.purpose, str(spec.study)]
        row += [str(spec.trial), spec.device, "?" if about is None else text.seconds(about), hparams]
        rows.append(row)
    click.echo(text.columns(rows))
    how = ExecutionOptions(force=options["force"], retry_failed=options["retry_failed"])
    left = [spec for spec in specs if finished_summary(spec, run_id(spec), options["runs"], how) is None]
    jobs = options["jobs"] or _at_once(specs)
    total, unknown_ = estimates.total(left, jobs)
    pending_pairs = f", then {phased_plan.pending} to the stops that these choose" if phased_plan.pending else ""
    estimated = f"; about {text.seconds(total)} at {jobs} at once, by earlier records" if unknown_ < len(left) else ""
    before = f", {len(specs) - len(left)} of them finished" if len(left) < len(specs) else ""
    note(f"{len(specs)} trials{before}{pending_pairs}{estimated}")
    if unknown_:
        note(f"no earlier record for {unknown_} of them on this hardware: not in the estimate")


def _at_once(specs: Sequence[RunSpec]) -> int:
    """How many fit on this machine; how many fit on others nobody knows here."""
    cores = max((spec.ranks * spec.threads for spec in specs), default=1)
    gpus = max((spec.ranks for spec in specs if spec.device.startswith("cuda")), default=0)
    fit = len(usable_cores()) // cores
    return max(1, min(fit, len(visible_gpus()) // gpus) if gpus else fit)


def _summarise(outcomes: Sequence[TrialSummary], runs: Path) -> None:
    counts = Counter(outcome.status for outcome in outcomes)
    kept = sum(outcome.kept for outcome in outcomes)
    before = f" ({kept} from before)" if kept else ""
    click.echo(", ".join(f"{count} {status}" for status, count in counts.most_common()) + before)
    if sys.stdout.isatty():
        note(f"bench leaderboard{f' --runs {runs}' if runs != Path('runs') else ''} shows them as tables")
    bad = [outcome for outcome in outcomes if outcome.status not in GOOD]
    if len(bad) > LISTED:
        click.echo(f"the first {LISTED} of {len(bad)} that failed:")
    for outcome in outcomes:
        names_ = f"{outcome.spec.submission.name} on {outcome.spec.workload.facts.name}"
        if outcome in bad[:LISTED]:
            log = Path(outcome.path) / "worker.log"
            file = log if outcome.status == "crashed" and log.exists() else Path(outcome.path) / layout.RECORD
            click.echo(f"{names_}: {outcome.status}, {file}")
        if outcome.spec.profile:
            profile = records.read_record(Path(outcome.path) / layout.RECORD).profile
            total = sum(profile.values()) or 1.0
            click.echo(f"{names_}: " + ", ".join(f"{phase} {spent / total:.0%}" for phase, spent in profile.items()))
