"""`bench list`, `bench show` and `bench plugins`: what there is."""

from __future__ import annotations

from typing import Any

import click

from harness import spaces
from harness.cli import names
from harness.cli.output import SCHEMA, json_out, note
from harness.errors import EXIT_BROKEN, BenchError, UsageError, unknown
from harness.plan import Composition, compose
from harness.plugins import Registry, load_registry
from harness.report import text
from harness.types import PartEntry, Source, Space, SubmissionEntry, Target, WorkloadEntry


@click.command("list")
@click.option("--tier", type=click.Choice(["cpu", "gpu", "cluster"]), help="Only workloads of this tier.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def list_(blocked: list[str], tier: str | None, as_json: bool) -> None:
    """List workloads, submissions and parts."""
    registry = names.open_registry(blocked)
    workloads = [entry for entry in registry.workloads() if tier in (None, entry.facts.tier)]
    if as_json:
        json_out(
            {
                "schema": SCHEMA,
                "workloads": [_workload_json(entry) for entry in workloads],
                "submissions": [_submission_json(entry, registry) for entry in registry.submissions()],
                "parts": [_part_json(entry) for entry in registry.parts()],
            }
        )
        return
    sections = {
        "workloads": [[entry.name, entry.facts.tier, entry.summary] for entry in workloads],
        "submissions": [[entry.name, "", entry.summary] for entry in registry.submissions()],
        "parts": [[entry.id, "", entry.summary] for entry in registry.parts()],
    }
    for title, rows in sections.items():
        if rows:
            click.echo(f"{title}\n{text.columns([['  ' + row[0], *row[1:]] for row in rows])}\n")
    for plugin in registry.plugins:
        if plugin.error:
            note(f"broken plugin {plugin.distribution}:{plugin.name}: {plugin.error}")


@click.command()
@click.argument("name", type=names.NameType("submission"))
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def show(blocked: list[str], name: str, as_json: bool) -> None:
    """Describe a workload, a submission or a part."""
    registry = names.open_registry(blocked)
    entry = _find(name, registry)
    if isinstance(entry, WorkloadEntry):
        json_out({"schema": SCHEMA, "workload": entry}) if as_json else _show_workload(entry)
    elif isinstance(entry, PartEntry):
        json_out({"schema": SCHEMA, "part": entry}) if as_json else _show_part(entry)
    else:
        composition = compose(entry, registry)
        if as_json:
            json_out(
                {"schema": SCHEMA, "submission": {**_submission_json(entry, registry), "space": composition.space}}
            )
        else:
            _show_submission(composition)


@click.command()
@click.option("--refresh", is_flag=True, help="Read every plugin again, also those that failed before.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def plugins(blocked: list[str], refresh: bool, as_json: bool) -> int:
    """List plugins, the broken ones with their error."""
    registry = load_registry(block=blocked, refresh=refresh)
    if as_json:
        rows = [
            {
                "distribution": p.distribution,
                "version": p.version,
                "name": p.name,
                "module": p.module,
                "hooks": list(p.hooks),
                "error": p.error,
            }
            for p in registry.plugins
        ]
        json_out({"schema": SCHEMA, "plugins": rows})
    else:
        table = [["distribution", "version", "plugin", "hooks"]]
        for p in registry.plugins:
            what = f"BROKEN: {p.error}" if p.error else ", ".join(h.removeprefix("bench_") for h in p.hooks)
            table.append([p.distribution, p.version, p.name, what])
        click.echo(text.columns(table))
    return EXIT_BROKEN if any(p.error for p in registry.plugins) else 0


# --- JSON ---------------------------------------------------------------------------------------


def _sources(sources: tuple[Source, ...]) -> list[dict[str, Any]]:
    return [{"title": s.title, "arxiv": s.arxiv, "equation": s.equation} for s in sources]


def _workload_json(entry: WorkloadEntry) -> dict[str, Any]:
    return {
        "name": entry.name,
        "version": entry.facts.version,
        "tier": entry.facts.tier,
        "summary": entry.summary,
        "sources": _sources(entry.sources),
        "distribution": entry.distribution,
    }


def _submission_json(entry: SubmissionEntry, registry: Registry) -> dict[str, Any]:
    composition = _composed(entry, registry)
    parts = composition.parts if composition else ()
    own = {source.title for source in entry.sources}
    inherited = tuple(source for part in parts for source in part.sources if source.title not in own)
    return {
        "name": entry.name,
        "version": entry.version,
        "summary": entry.summary,
        "sources": _sources(entry.sources + inherited),
        "parts": list(entry.parts),
        "needs": sorted(composition.needs if composition else entry.needs),
        "tags": list(entry.tags),
        "distribution": entry.distribution,
    }


def _composed(entry: SubmissionEntry, registry: Registry) -> Composition | None:
    """The composition, or None where a part is missing: listing goes on, and running it says what is missing."""
    try:
        return compose(entry, registry)
    except BenchError:
        return None


def _part_json(entry: PartEntry) -> dict[str, Any]:
    return {
        "kind": entry.kind,
        "name": entry.name,
        "summary": entry.summary,
        "sources": _sources(entry.sources),
        "distribution": entry.distribution,
    }


# --- text ---------------------------------------------------------------------------------------


def _find(name: str, registry: Registry) -> WorkloadEntry | SubmissionEntry | PartEntry:
    """The entry of that name; workloads, submissions and parts share one namespace for a reader."""
    if name.partition(":")[0].endswith(".py"):
        try:
            return names.submission(name, registry)
        except UsageError:
            return names.workloads(name, registry)[0]
    if any(name in (entry.name, *entry.aliases) for entry in registry.workloads()):
        return registry.workload(name)
    if any(name in (entry.id, entry.name) for entry in registry.parts()):
        kind, colon, rest = name.partition(":")
        submissions = {entry.name for entry in registry.submissions()}
        if name not in submissions:
            return registry.part(kind if colon else None, rest if colon else name)
    everything = {entry.name for entry in registry.workloads()} | {entry.name for entry in registry.submissions()}
    everything |= {entry.id for entry in registry.parts()}
    if name not in everything and not {":", "+"} & set(name):
        raise unknown("workload, submission or part", name, everything)
    return names.submission(name, registry)


def _show_workload(entry: WorkloadEntry) -> None:
    facts = entry.facts
    rows = [
        ["version", facts.version],
        ["tier", facts.tier],
        ["example", facts.example],
        ["target", ", ".join(_target(target) for target in facts.targets)],
        *([f"stage {stage.name}", ", ".join(map(_target, stage.targets))] for stage in facts.stages),
        ["budget", f"{facts.budget.horizon:,} examples, {facts.budget.gradient_examples:,} gradient-examples"],
        ["batch sizes", ", ".join(map(str, facts.batch_sizes))],
        ["evaluated", f"every {facts.eval_every:,} examples"],
        ["precision", facts.precision.dtype],
        *([["replay buffer", f"{facts.replay_capacity:,} examples"]] if facts.replay_capacity else []),
        *([["resolution", f"{facts.resolution:.1%}{' (coarse)' if facts.coarse else ''}"]] if facts.resolution else []),
        ["from", entry.distribution],
    ]
    click.echo(f"{entry.name}: {entry.summary}\n{text.columns([['  ' + a, b] for a, b in rows])}")
    _show_space(facts.model_options, "model options")
    _show_sources(entry.sources)


def _show_submission(composition: Composition) -> None:
    entry = composition.entry
    rows = [
        ["version", entry.version],
        ["parts", ", ".join(part.id for part in composition.parts) or entry.load or ""],
        ["needs", ", ".join(sorted(composition.needs)) or "nothing"],
        ["from", entry.distribution],
    ]
    click.echo(f"{entry.name}: {entry.summary}\n{text.columns([['  ' + a, b] for a, b in rows])}")
    _show_space(composition.space, "hyperparameters")
    _show_sources(entry.sources + tuple(source for part in composition.parts for source in part.sources))


def _show_part(entry: PartEntry) -> None:
    click.echo(f"{entry.id}: {entry.summary}")
    _show_space(entry.space, "hyperparameters")
    _show_sources(entry.sources)


def _show_space(space: Space, title: str) -> None:
    if space:
        rows = [["  " + name, f"{spaces.default(d)}", spaces.describe(d)] for name, d in sorted(space.items())]
        click.echo(f"{title}\n{text.columns(rows)}")


def _show_sources(sources: tuple[Source, ...]) -> None:
    if sources:
        click.echo("sources")
        for source in sources:
            more = "; ".join(filter(None, (source.arxiv and f"arXiv {source.arxiv}", source.equation)))
            click.echo(f"  {source.title}{f' ({more})' if more else ''}")


def _target(target: Target) -> str:
    sign = "≤" if target.goal == "min" else "≥"
    return f"{target.metric} {sign} {text.number(target.value)}{' ' + target.unit if target.unit else ''}"
