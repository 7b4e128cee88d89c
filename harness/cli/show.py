"""`bench show`: describe a workload, a submission, a part or a run, and draw its curve."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import click

from harness.cli.commands import examples
from harness.cli.list import submission_json
from harness.cli.output import note, print_json, print_text
from harness.cli.record_folders import folder_options
from harness.cli.resolve import LimitedInteger, NameType, open_registry, parse_assignments
from harness.cli.schedule import HORIZON, CurveRequest, ScheduleCurve, resolve_curve
from harness.cli.show_run import names_run, show_run
from harness.contract import hyperparameters
from harness.contract.domains import Space
from harness.contract.entries import PartEntry, Source, SubmissionEntry, WorkloadEntry
from harness.contract.part_kinds import PART_KINDS
from harness.contract.workload import Stage, Target, WorkloadFacts
from harness.errors import BenchError, UsageError, unknown_name_error
from harness.planning.compose import Composition, compose
from harness.planning.resolve import resolve_submission, resolve_workload
from harness.plugins.locating import split_file_name
from harness.plugins.package_files import published_power
from harness.plugins.registry import Registry
from harness.report import curve as plotting
from harness.report import text
from harness.report.power import power_json, power_summary


class Steps(click.ParamType[tuple[int, ...]]):
    """A parameter that is a comma-separated list of updates: `0,50,100`."""

    name = "steps"

    def convert(
        self, value: str | tuple[int, ...], param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, ...]:
        if isinstance(value, tuple):
            return value
        if not re.fullmatch(r"\s*\d+\s*(,\s*\d+\s*)*", value):
            self.fail(f"{value!r} is not a list of updates such as 0,50,100", param, ctx)
        return tuple(int(step) for step in value.split(","))


@click.command(
    epilog=examples(
        "bench show wsd",
        "bench show rex --set warmup=100 --horizon 1000 --at 0,50,100,1000 --json",
        "bench show schedule:uba --set phi=1 --plot uba.svg",
        "bench show run-1f2e3d4c",
    )
)
@click.argument("name", type=NameType("entry"))
@click.option("--set", "pairs", multiple=True, metavar="NAME=VALUE", help="Set a hyperparameter.")
@click.option(
    "--horizon", type=LimitedInteger("horizon"), metavar="N", help="Number of updates in the budget (default: 1000)."
)
@click.option("--at", type=Steps(), metavar="T,T…", help="Print the factors at these updates, such as 0,50,100.")
@click.option(
    "--workload",
    "-w",
    type=NameType("workload"),
    metavar="NAME",
    help="Workload that determines the budget, batch size, tokens and stages.",
)
@click.option(
    "--tasks",
    type=LimitedInteger("tasks"),
    metavar="N",
    help="Show the schedule on a stream of N tasks of equal length.",
)
@click.option(
    "--plot",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Write the curve to a file: .svg or .html, or with the extra `plot` also .png or .pdf.",
)
@folder_options
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def show(
    blocked_plugins: list[str],
    name: str,
    pairs: tuple[str, ...],
    horizon: int | None,
    at: tuple[int, ...] | None,
    workload: str | None,
    tasks: int | None,
    plot: Path | None,
    runs: Path,
    results: Path,
    as_json: bool,
) -> None:
    """Describe a workload, a submission, a part or a run, and draw its curve.

    A schedule's factors multiply the peak learning rate. The schedule of a submission covers the fraction
    `horizon_fraction` of the budget. A schedule that is named alone covers the whole budget. Its hyperparameters then
    have the defaults of its function: no warmup, and a final factor of 0.

    A run is named by its path, its run_id, or the first characters of its run_id.
    """
    if names_run(name):
        unusable_flags = [
            flag
            for flag, value in (
                *(("--set", pairs), ("--horizon", horizon), ("--at", at)),
                *(("-w", workload), ("--tasks", tasks), ("--plot", plot)),
            )
            if value
        ]
        if unusable_flags:
            raise UsageError(
                f"{name} is a run, and {unusable_flags[0]} cannot be used for runs",
                fix=f"leave out {', '.join(unusable_flags)}",
            )
        show_run(name, runs, results, as_json)
        return
    registry = open_registry(blocked_plugins)
    entry = _find_entry(name, registry)
    facts = resolve_workload(workload, registry).facts if workload else None
    request = CurveRequest(
        overrides=parse_assignments(pairs, "--set"), horizon=horizon, at=at, facts=facts, tasks=tasks
    )
    curve_is_required = request.needs_curve or plot is not None
    curve = _entry_curve(entry, registry, request, curve_is_required)
    if plot is not None:
        assert curve is not None
        plotting.write(curve.panels(), plot, title=name)
        note(f"wrote {plot}")
    if as_json:
        print_json(_entry_json(entry, registry) | (curve.json() if curve else {}))
    else:
        _show_entry(entry, registry)
        if curve:
            print_text(curve.text())


def _entry_curve(
    entry: WorkloadEntry | SubmissionEntry | PartEntry, registry: Registry, request: CurveRequest, required: bool
) -> ScheduleCurve | None:
    """Return the curve of an entry's schedule, or None if the entry has no schedule.

    Args:
        entry: the entry.
        registry: the plugins.
        request: the options of the command.
        required: whether a missing curve is an error.

    Raises:
        UsageError: a curve is required and the entry has no schedule, or a hyperparameter is not valid.
        PluginError: a curve is required and the schedule cannot be loaded or raises an exception.
    """
    curve, reason = None, ""
    if isinstance(entry, WorkloadEntry) or (isinstance(entry, PartEntry) and entry.kind != "schedule"):
        reason = "only submissions and schedules have such a curve"
        if isinstance(entry, PartEntry):
            _check_hyperparameters(entry, request)  # Invalid values are reported first.
    else:
        try:
            curve = resolve_curve(entry if isinstance(entry, PartEntry) else compose(entry, registry), request)
            reason = "the method step() of the submission sets the learning rate without a schedule"
            if curve is not None:
                curve.panels()  # An exception in the schedule must be raised before anything is printed.
        except BenchError as error:
            if required:
                raise
            curve = None
            note(f"no curve: {error}")
    if required and curve is None:
        raise UsageError(
            f"{entry.name} has no learning-rate curve: {reason}",
            fix="leave out --set, --horizon, --at, -w, --tasks and --plot",
        )
    return curve


def _check_hyperparameters(part: PartEntry, request: CurveRequest) -> None:
    """Raise an error if the requested hyperparameters are not valid for the requested horizon."""
    hyperparameters.resolve(part.space, request.overrides, part.checks, {"horizon": request.horizon or HORIZON})


def _find_entry(name: str, registry: Registry) -> WorkloadEntry | SubmissionEntry | PartEntry:
    """Return the workload, submission or part with a name."""
    if split_file_name(name) is not None:
        try:
            return resolve_submission(name, registry)
        except UsageError:
            return resolve_workload(name, registry)
    if "+" in name and name.partition("+")[0] not in {entry.name for entry in registry.workloads()}:
        return resolve_submission(name, registry)
    if any(name in (entry.name, *entry.aliases) for entry in registry.workloads()):
        return registry.workload(name)
    kind, colon, part_name = name.partition(":")
    if colon and kind in PART_KINDS:
        return registry.part(kind, part_name)
    if any(name in (entry.name, *entry.aliases) for entry in registry.parts()):
        submissions = {entry.name for entry in registry.submissions()}
        if name not in submissions:
            return registry.part(None, name)
    names = {entry.name for entry in registry.workloads()} | {entry.name for entry in registry.submissions()}
    names |= {entry.id for entry in registry.parts()}
    if name not in names and not {":", "+"} & set(name):
        raise unknown_name_error("workload, submission, part or run", name, names)
    return resolve_submission(name, registry)


# --- JSON ---------------------------------------------------------------------------------------


def _entry_json(entry: WorkloadEntry | SubmissionEntry | PartEntry, registry: Registry) -> dict[str, Any]:
    if isinstance(entry, WorkloadEntry):
        return {"workload": entry, **power_json(published_power([entry]))}
    if isinstance(entry, PartEntry):
        return {"part": entry}
    return {"submission": {**submission_json(entry, registry), "space": compose(entry, registry).space}}


# --- text ---------------------------------------------------------------------------------------


def _show_entry(entry: WorkloadEntry | SubmissionEntry | PartEntry, registry: Registry) -> None:
    if isinstance(entry, WorkloadEntry):
        _show_workload(entry)
    elif isinstance(entry, PartEntry):
        _show_part(entry)
    else:
        _show_submission(compose(entry, registry))


def _show_workload(entry: WorkloadEntry) -> None:
    facts = entry.facts
    rows = [
        ["version", facts.version],
        ["tier", facts.tier],
        *([["smaller sibling", entry.sibling]] if entry.sibling else []),
        ["example", facts.example],
        ["needs data", ", ".join(entry.needs_data) or "nothing"],
        ["target", _format_targets(facts.targets)],
        ["target from", ", ".join(facts.reference) or "not calibrated"],
        *(row for stage in facts.stages for row in _stage_rows(stage)),
        ["budget", f"{facts.budget.horizon:,} examples, {facts.budget.gradient_examples:,} gradient-examples"],
        ["batch sizes", ", ".join(map(str, facts.batch_sizes))],
        ["evaluated", f"every {facts.eval_every:,} examples"],
        *([["held-out data", "drawn afresh for every nonce"]] if entry.redraws_held_out else []),
        ["precision", facts.precision.dtype],
        *([["replay buffer", f"{facts.replay_capacity:,} examples"]] if facts.replay_capacity else []),
        ["resolution", _format_resolution(facts)],
        *([f"power ({row.budget_name})", power_summary(row)] for row in published_power([entry])),
        ["from", entry.distribution],
    ]
    print_text(f"{entry.name}: {entry.summary}\n{text.columns([['  ' + a, b] for a, b in rows])}")
    _show_space(facts.model_options, "model options")
    _show_sources(entry.sources)


def _stage_rows(stage: Stage) -> list[list[str]]:
    rows = [[f"stage {stage.name}", _format_targets(stage.targets)]]
    # Floors with the same value are printed together, because many tasks often have the same floor.
    by_value: dict[tuple[str, float, str], list[Target]] = {}
    for floor in stage.floors:
        by_value.setdefault((floor.goal, floor.value, floor.unit), []).append(floor)
    if by_value:
        rows.append(["  floors", "; ".join(map(_format_target_group, by_value.values()))])
    return rows


def _format_resolution(facts: WorkloadFacts) -> str:
    resolution = "not known" if facts.resolution is None else f"{facts.resolution:.1%}"
    return resolution + (" (coarse)" if facts.coarse else "")


def _show_submission(composition: Composition) -> None:
    entry = composition.entry
    rows = [
        ["version", entry.version],
        ["parts", ", ".join(part.id for part in composition.parts) or entry.load or ""],
        ["needs", ", ".join(sorted(composition.needs)) or "nothing"],
        *([["tags", ", ".join(entry.tags)]] if entry.tags else []),
        ["from", entry.distribution],
    ]
    print_text(f"{entry.name}: {entry.summary}\n{text.columns([['  ' + a, b] for a, b in rows])}")
    _show_space(composition.space, "hyperparameters")
    _show_checks(composition.checks)
    _show_sources(entry.sources + tuple(source for part in composition.parts for source in part.sources))


def _show_part(entry: PartEntry) -> None:
    rows = [
        *([["also called", ", ".join(entry.aliases)]] if entry.aliases else []),
        ["needs", ", ".join(sorted(entry.all_needs)) or "nothing"],
        ["from", entry.distribution],
    ]
    print_text(f"{entry.id}: {entry.summary}\n{text.columns([['  ' + a, b] for a, b in rows])}")
    _show_space(entry.space, "hyperparameters")
    _show_checks(entry.checks)
    _show_sources(entry.sources)


def _show_space(space: Space, title: str) -> None:
    if space:
        rows = [
            ["  " + name, _format_value(hyperparameters.default(d)), hyperparameters.describe(d)]
            for name, d in sorted(space.items())
        ]
        print_text(f"{title}\n{text.columns(rows)}")


def _format_value(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _show_checks(checks: tuple[str, ...]) -> None:
    if checks:
        print_text("\n".join(["checks", *(f"  {check}" for check in dict.fromkeys(checks))]))


def _show_sources(sources: tuple[Source, ...]) -> None:
    if sources:
        print_text("sources")
        for source in dict.fromkeys(sources):
            details = "; ".join(filter(None, (source.arxiv and f"arXiv {source.arxiv}", source.equation)))
            print_text(f"  {source.title}{f' ({details})' if details else ''}")


def _format_targets(targets: tuple[Target, ...]) -> str:
    return ", ".join(_format_target_group([target]) for target in targets)


def _format_target_group(targets: list[Target]) -> str:
    """Format targets that share the goal, value and unit. All digits of the value are printed."""
    target = targets[0]
    sign = "≤" if target.goal == "min" else "≥"
    metrics = ", ".join(target.metric for target in targets)
    return f"{metrics} {sign} {target.value:.15g}{' ' + target.unit if target.unit else ''}"
