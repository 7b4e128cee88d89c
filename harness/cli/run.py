"""`bench run`: submissions on workloads, each trial to its record."""

from __future__ import annotations

import importlib
import re
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from harness import holdings, plan, provenance, rulesets
from harness.cli import config, names
from harness.cli.names import open_registry
from harness.cli.output import SCHEMA, json_out, lively, note
from harness.errors import EXIT_FAILED, EXIT_OK, DataError, UsageError
from harness.loading import load_object
from harness.observers import Observers
from harness.plugins import Registry, observer_plugins
from harness.report import text
from harness.report.progress import LiveView, Plain, Several
from harness.store import RECORD, run_id
from harness.supervise import Transport
from harness.types import Record, RunSpec, WorkloadEntry

#: How a trial may end without the command having failed.
GOOD = frozenset({"reached", "exhausted", "pruned"})


@click.command()
@click.option(
    "-s", "--submission", "submissions", multiple=True, required=True, type=names.NameType("submission"),
    help="Names (a,b), a file ./mine.py[:Name], a class torch.optim:Adam, or parts adamw+wsd.",
)  # fmt: skip
@click.option(
    "-w", "--workload", "workloads", multiple=True, required=True, type=names.NameType("workload"),
    help="Names (a,b), a file ./task.py, or tier:cpu.",
)  # fmt: skip
@click.option("--ruleset", default="quick", envvar="BENCH_RULESET", show_default=True, help="The rules to run under.")
@click.option("--studies", type=click.IntRange(1), envvar="BENCH_STUDIES", help="Independent repetitions.")
@click.option("--seed", type=int, default=0, envvar="BENCH_SEED", show_default=True, help="Root of all seeds.")
@click.option("--set", "settings", multiple=True, metavar="NAME=VALUE", help="Set a hyperparameter (unranked).")
@click.option("--device", envvar="BENCH_DEVICE", help="cpu, cuda, mps; the workload's own when not given.")
@click.option(
    "--threads", type=click.IntRange(1), default=1, envvar="BENCH_THREADS", show_default=True,
    help="Processor threads of a trial; part of the hardware class.",
)  # fmt: skip
@click.option(
    "--runs", type=click.Path(path_type=Path), default=Path("runs"), envvar="BENCH_RUNS", show_default=True,
    help="Folder of local runs.",
)  # fmt: skip
@click.option("--executor", default="local", envvar="BENCH_EXECUTOR", show_default=True, help="Where trials run.")
@click.option("--force", is_flag=True, help="Start anew; what is there is kept under superseded/.")
@click.option("--smoke", is_flag=True, help="A few steps of everything (unranked).")
@click.option("--profile", is_flag=True, help="Take the time apart: data, forward, backward, optimizer (unranked).")
@click.option("--deterministic", is_flag=True, help="Deterministic kernels on a GPU; slower.")
@click.option("--allow-slow", is_flag=True, help="Run a GPU workload on the CPU.")
@click.option("--in-process", is_flag=True, help="Run in this process, for a debugger.")
@click.option("--dry-run", is_flag=True, help="Print the trials and run nothing.")
@click.option("--show-config", is_flag=True, help="Print every setting and where it comes from.")
@click.option("--json", "as_json", is_flag=True, help="Print the records as JSON.")
@click.pass_context
def run(context: click.Context, /, **options: Any) -> int:
    """Run submissions on workloads.

    Giving the same command again keeps what has finished and goes on with what has not.
    """
    if options["show_config"]:
        click.echo(text.columns([list(row) for row in config.shown(context)]))
        return EXIT_OK
    registry = open_registry(context.obj)
    specs = _plan(registry, options)
    if options["dry_run"]:
        _print_plan(specs, options["as_json"])
        return EXIT_OK
    execute = load_object(registry.executor(options["executor"]).load)
    records: list[Record] = []
    with _watching(registry, len(specs)) as watcher:
        transport = _in_process(specs) if options["in_process"] else None
        records.extend(execute(specs, options["runs"], watcher, force=options["force"], transport=transport))
    if options["as_json"]:
        json_out({"schema": SCHEMA, "records": records})
    else:
        _summarise(records, options["runs"])
    return EXIT_OK if all(record.status in GOOD for record in records) else EXIT_FAILED


# --- what to run --------------------------------------------------------------------------------


def _plan(registry: Registry, options: dict[str, Any]) -> list[RunSpec]:
    """Every trial, in order: by workload, then study, so that submissions alternate on the same machine state."""
    settings = plan.Settings(
        ruleset=rulesets.ruleset(options["ruleset"]),
        studies=options["studies"],
        seed=options["seed"],
        overrides=names.settings(options["settings"]),
        device=options["device"],
        threads=options["threads"],
        smoke=options["smoke"],
        profile=options["profile"],
        deterministic=options["deterministic"],
    )
    entries = [names.submission(name, registry) for name in names.split(options["submissions"])]
    specs: list[RunSpec] = []
    skipped: list[str] = []
    for workload, device in _workloads(registry, options, skipped):
        planned: list[Sequence[RunSpec]] = []
        for entry in entries:
            reason = plan.ineligible(plan.compose(entry, registry), workload.facts, settings.ruleset)
            if reason:
                skipped.append(f"skipped: {entry.name} on {workload.name}: {reason}")
                continue
            planned.append(plan.plan(workload, entry, registry, replace(settings, device=device)))
        specs += [spec for trials in zip(*planned, strict=True) for spec in trials]
    for line in skipped:
        note(line)
    if not specs:
        raise UsageError("nothing to run", fix="; ".join(skipped) or None)
    return specs


def _workloads(registry: Registry, options: dict[str, Any], skipped: list[str]) -> Iterator[tuple[WorkloadEntry, str]]:
    """The workloads asked for, each with its device. One asked for by its tier is skipped when its data are not here.

    Raises:
        UsageError: a GPU is needed and there is none.
        DataError: one asked for by its own name lacks its data; names the command that fetches them.
    """
    for name in names.split(options["workloads"]):
        for workload in names.workloads(name, registry):
            device = _device(registry, workload, options["device"], options["allow_slow"])
            remedies = [_remedy(need) for need in workload.needs_data if _lacks(registry, need)]
            if not remedies:
                yield workload, device
            elif name.startswith("tier:"):
                skipped.append(f"skipped: {workload.name} needs data ({'; '.join(remedies)})")
            else:
                raise DataError(f"{workload.name} needs data that are not here", fix="; ".join(remedies))


def _remedy(need: str) -> str:
    """The command that fetches `dataset`, or `dataset/pattern`."""
    name, slash, pattern = need.partition("/")
    return f"bench data get {name}" + (f" --only '{pattern}'" if slash else "")


def _lacks(registry: Registry, need: str) -> bool:
    """Whether any file is missing of `dataset`, or of `dataset/pattern`."""
    name, slash, pattern = need.partition("/")
    return bool(holdings.missing(registry.dataset(name), (pattern,) if slash else ()))


def _device(registry: Registry, workload: WorkloadEntry, asked: str | None, allow_slow: bool) -> str:
    """The device to run on.

    Raises:
        UsageError: a GPU is needed and there is none, or there is no such device.
    """
    if asked is not None and not re.fullmatch(r"cpu|mps|cuda(:\d+)?", asked):
        raise UsageError(f"unknown device {asked!r}", fix="one of cpu, cuda, cuda:0 …, mps")
    wanted = asked or ("cpu" if workload.facts.tier == "cpu" else "cuda")
    if wanted.startswith("cuda") and not provenance.gpu_name():
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
def _watching(registry: Registry, total: int) -> Iterator[Several]:
    manager, warnings = observer_plugins(registry)
    for warning in warnings:
        note(f"warning: {warning}")
    # Redrawing is for terminals alone, whatever FORCE_COLOR says of colour.
    view = LiveView(total) if lively() and sys.stderr.isatty() else Plain(total)
    with view:
        yield Several([view, Observers(manager)])


def _in_process(specs: Sequence[RunSpec]) -> Transport:
    """The worker's own entry, in this process.

    By name: nothing on this side imports torch, so that planning, tables and `--help` stay light.
    """
    if len(specs) > 1:
        raise UsageError(f"--in-process runs one trial, and these are {len(specs)}", fix="name one of each")
    transport: Transport = importlib.import_module("harness.worker.host").execute
    return transport


# --- what is printed ----------------------------------------------------------------------------


def _print_plan(specs: Sequence[RunSpec], as_json: bool) -> None:
    if as_json:
        json_out({"schema": SCHEMA, "specs": [{"run_id": run_id(spec), "spec": spec} for spec in specs]})
        return
    rows = [["run", "submission", "workload", "study", "trial", "device", "hyperparameters"]]
    for spec in specs:
        hparams = " ".join(f"{name}={value}" for name, value in spec.hparams.items())
        row = [run_id(spec), spec.submission.name, spec.workload.facts.id, str(spec.study), str(spec.trial)]
        rows.append([*row, spec.device, hparams])
    click.echo(text.columns(rows))


def _summarise(records: Sequence[Record], runs: Path) -> None:
    counts = Counter(record.status for record in records)
    click.echo(", ".join(f"{count} {status}" for status, count in counts.most_common()))
    if sys.stdout.isatty():
        note(f"bench leaderboard{f' --runs {runs}' if runs != Path('runs') else ''} shows them as tables")
    for record in records:
        if record.status not in GOOD:
            path = runs / record.run_id / ("worker.log" if record.status == "crashed" else RECORD)
            click.echo(f"{record.spec.submission.name} on {record.spec.workload.facts.name}: {record.status}, {path}")
        if record.profile:
            total = sum(record.profile.values()) or 1.0
            parts = ", ".join(f"{phase} {spent / total:.0%}" for phase, spent in record.profile.items())
            click.echo(f"{record.spec.submission.name} on {record.spec.workload.facts.name}: {parts}")
