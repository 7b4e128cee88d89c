"""`bench show`: what a workload, a submission or a part is, and the curve of its schedule."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import click

from harness.cli.catalogue import submission_json
from harness.cli.output import SCHEMA, json_out, note
from harness.cli.resolve import NameType, open_registry, parse_assignments
from harness.cli.schedule import HORIZON, Drawing, Request, drawing
from harness.contract import hyperparameters
from harness.contract.domains import Space
from harness.contract.entries import PartEntry, Source, SubmissionEntry, WorkloadEntry
from harness.contract.part_kinds import PART_KINDS
from harness.contract.workload import Stage, Target, WorkloadFacts
from harness.errors import BenchError, UsageError, unknown
from harness.planning.compose import Composition, compose
from harness.planning.resolve import resolve_submission, resolve_workloads
from harness.plugins.registry import Registry
from harness.report import curve as picture
from harness.report import text


class Steps(click.ParamType[tuple[int, ...]]):
    """`0,50,100`: updates."""

    name = "steps"

    def convert(
        self, value: str | tuple[int, ...], param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, ...]:
        if isinstance(value, tuple):
            return value
        if not re.fullmatch(r"\s*\d+\s*(,\s*\d+\s*)*", value):
            self.fail(f"{value!r} is no list of updates such as 0,50,100", param, ctx)
        return tuple(int(step) for step in value.split(","))


@click.command()
@click.argument("name", type=NameType("submission"))
@click.option("--set", "pairs", multiple=True, metavar="NAME=VALUE", help="Set a hyperparameter.")
@click.option("--horizon", type=click.IntRange(min=1), metavar="N", help="Updates in the budget (default 1000).")
@click.option("--at", type=Steps(), metavar="T,T…", help="The factors at these updates.")
@click.option("--workload", "-w", metavar="NAME", help="Take budget, batch size, tokens and stages from a workload.")
@click.option("--tasks", type=click.IntRange(min=1), metavar="N", help="As a stream of N tasks of equal length.")
@click.option(
    "--plot",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Write the curve as a picture (.svg, .html; .png and .pdf with the extra `plot`).",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def show(
    blocked: list[str],
    name: str,
    pairs: tuple[str, ...],
    horizon: int | None,
    at: tuple[int, ...] | None,
    workload: str | None,
    tasks: int | None,
    plot: Path | None,
    as_json: bool,
) -> None:
    """Describe a workload, a submission or a part, and draw its schedule.

    \b
    bench show wsd
    bench show rex --set warmup=100 --horizon 1000 --at 0,50,100,1000 --json
    bench show schedule:uba --set phi=1 --plot uba.svg

    A schedule's factors multiply the peak learning rate. A submission plans for `horizon_fraction` of the budget; a
    bare part for all of it, and its hyperparameters have its function's defaults (no warmup, an end at 0).
    """
    registry = open_registry(blocked)
    entry = _find(name, registry)
    facts = resolve_workloads(workload, registry)[0].facts if workload else None
    request = Request(settings=parse_assignments(pairs, "--set"), horizon=horizon, at=at, facts=facts, tasks=tasks)
    asked = request.asked or plot is not None
    drawn = _drawing(entry, registry, request, asked)
    if plot is not None:
        assert drawn is not None
        picture.write(drawn.panels(), plot, title=name)
        note(f"wrote {plot}")
    if as_json:
        json_out({"schema": SCHEMA, **_json(entry, registry), **(drawn.json() if drawn else {})})
    else:
        _show(entry, registry)
        if drawn:
            click.echo(drawn.text())


def _drawing(
    entry: WorkloadEntry | SubmissionEntry | PartEntry, registry: Registry, request: Request, asked: bool
) -> Drawing | None:
    """The schedule's curve; None where there is none, unless it was asked for.

    Raises:
        UsageError: it was asked for and there is none, or its hyperparameters are not valid.
        PluginError: it was asked for and cannot be loaded, or fails.
    """
    found, reason = None, ""
    if isinstance(entry, WorkloadEntry) or (isinstance(entry, PartEntry) and entry.kind != "schedule"):
        reason = "only submissions and schedules have one"
        if isinstance(entry, PartEntry):
            _check(entry, request)  # what is wrong with a value is worth more than that there is no curve
    else:
        what = entry if isinstance(entry, PartEntry) else compose(entry, registry)
        try:
            found = drawing(what, request)
            reason = "it has no schedule apart from its own step"
            if found is not None:
                found.panels()  # a schedule that fails does so before anything is printed
        except BenchError as error:
            if asked:
                raise
            found = None
            note(f"no curve: {error}")
    if asked and found is None:
        raise UsageError(f"{entry.name} has no learning-rate curve: {reason}", fix="leave --set, --at and --plot away")
    return found


def _check(part: PartEntry, request: Request) -> None:
    """Refuse the hyperparameters that planning for so many updates would refuse."""
    hyperparameters.resolve(part.space, request.settings, part.checks, {"horizon": request.horizon or HORIZON})


def _find(name: str, registry: Registry) -> WorkloadEntry | SubmissionEntry | PartEntry:
    """The entry of that name; workloads, submissions and parts share one namespace for a reader."""
    if name.partition(":")[0].endswith(".py"):
        try:
            return resolve_submission(name, registry)
        except UsageError:
            return resolve_workloads(name, registry)[0]
    if "+" in name and name.partition("+")[0] not in {entry.name for entry in registry.workloads()}:
        return resolve_submission(name, registry)
    if any(name in (entry.name, *entry.aliases) for entry in registry.workloads()):
        return registry.workload(name)
    kind, colon, rest = name.partition(":")
    if colon and kind in PART_KINDS:
        return registry.part(kind, rest)
    if any(name in (entry.name, *entry.aliases) for entry in registry.parts()):
        submissions = {entry.name for entry in registry.submissions()}
        if name not in submissions:
            return registry.part(None, name)
    everything = {entry.name for entry in registry.workloads()} | {entry.name for entry in registry.submissions()}
    everything |= {entry.id for entry in registry.parts()}
    if name not in everything and not {":", "+"} & set(name):
        raise unknown("workload, submission or part", name, everything)
    return resolve_submission(name, registry)


# --- JSON ---------------------------------------------------------------------------------------


def _json(entry: WorkloadEntry | SubmissionEntry | PartEntry, registry: Registry) -> dict[str, Any]:
    if isinstance(entry, WorkloadEntry):
        return {"workload": entry}
    if isinstance(entry, PartEntry):
        return {"part": entry}
    return {"submission": {**submission_json(entry, registry), "space": compose(entry, registry).space}}


# --- text ---------------------------------------------------------------------------------------


def _show(entry: WorkloadEntry | SubmissionEntry | PartEntry, registry: Registry) -> None:
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
        ["target", _targets(facts.targets)],
        ["target from", ", ".join(facts.reference) or "not calibrated"],
        *(row for stage in facts.stages for row in _stage(stage)),
        ["budget", f"{facts.budget.horizon:,} examples, {facts.budget.gradient_examples:,} gradient-examples"],
        ["batch sizes", ", ".join(map(str, facts.batch_sizes))],
        ["evaluated", f"every {facts.eval_every:,} examples"],
        ["precision", facts.precision.dtype],
        *([["replay buffer", f"{facts.replay_capacity:,} examples"]] if facts.replay_capacity else []),
        ["resolution", _resolution(facts)],
        ["from", entry.distribution],
    ]
    click.echo(f"{entry.name}: {entry.summary}\n{text.columns([['  ' + a, b] for a, b in rows])}")
    _show_space(facts.model_options, "model options")
    _show_sources(entry.sources)


def _stage(stage: Stage) -> list[list[str]]:
    rows = [[f"stage {stage.name}", _targets(stage.targets)]]
    # Floors of many tasks are often one value.
    alike: dict[tuple[str, float, str], list[Target]] = {}
    for floor in stage.floors:
        alike.setdefault((floor.goal, floor.value, floor.unit), []).append(floor)
    if alike:
        rows.append(["  floors", "; ".join(_target(same[0], *same[1:]) for same in alike.values())])
    return rows


def _resolution(facts: WorkloadFacts) -> str:
    known = "not known" if facts.resolution is None else f"{facts.resolution:.1%}"
    return known + (" (coarse)" if facts.coarse else "")


def _show_submission(composition: Composition) -> None:
    entry = composition.entry
    rows = [
        ["version", entry.version],
        ["parts", ", ".join(part.id for part in composition.parts) or entry.load or ""],
        ["needs", ", ".join(sorted(composition.needs)) or "nothing"],
        *([["tags", ", ".join(entry.tags)]] if entry.tags else []),
        ["from", entry.distribution],
    ]
    click.echo(f"{entry.name}: {entry.summary}\n{text.columns([['  ' + a, b] for a, b in rows])}")
    _show_space(composition.space, "hyperparameters")
    _show_checks(composition.checks)
    _show_sources(entry.sources + tuple(source for part in composition.parts for source in part.sources))


def _show_part(entry: PartEntry) -> None:
    rows = [
        *([["also called", ", ".join(entry.aliases)]] if entry.aliases else []),
        ["needs", ", ".join(sorted(entry.all_needs)) or "nothing"],
        ["from", entry.distribution],
    ]
    click.echo(f"{entry.id}: {entry.summary}\n{text.columns([['  ' + a, b] for a, b in rows])}")
    _show_space(entry.space, "hyperparameters")
    _show_checks(entry.checks)
    _show_sources(entry.sources)


def _show_space(space: Space, title: str) -> None:
    if space:
        rows = [
            ["  " + name, _value(hyperparameters.default(d)), hyperparameters.describe(d)]
            for name, d in sorted(space.items())
        ]
        click.echo(f"{title}\n{text.columns(rows)}")


def _value(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _show_checks(checks: tuple[str, ...]) -> None:
    if checks:
        click.echo("\n".join(["checks", *(f"  {check}" for check in dict.fromkeys(checks))]))


def _show_sources(sources: tuple[Source, ...]) -> None:
    if sources:
        click.echo("sources")
        for source in dict.fromkeys(sources):
            more = "; ".join(filter(None, (source.arxiv and f"arXiv {source.arxiv}", source.equation)))
            click.echo(f"  {source.title}{f' ({more})' if more else ''}")


def _targets(targets: tuple[Target, ...]) -> str:
    return ", ".join(map(_target, targets))


def _target(target: Target, *alike: Target) -> str:
    """With all digits that it was given: a run is held to them. Those `alike` have the same value for other metrics."""
    sign = "≤" if target.goal == "min" else "≥"
    metrics = ", ".join(one.metric for one in (target, *alike))
    return f"{metrics} {sign} {target.value:.15g}{' ' + target.unit if target.unit else ''}"
