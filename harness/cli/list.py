"""`bench list`: list the installed workloads, submissions and parts."""

from __future__ import annotations

from typing import Any

import click

from harness.cli import resolve
from harness.cli.output import SCHEMA, note, print_json, print_text
from harness.contract.entries import PartEntry, Source, SubmissionEntry, WorkloadEntry
from harness.errors import BenchError
from harness.planning.compose import Composition, compose
from harness.plugins.registry import Registry
from harness.report import text


@click.command("list")
@click.option("--tier", type=click.Choice(["cpu", "gpu", "cluster"]), help="Only workloads of this tier.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def command(blocked: list[str], tier: str | None, as_json: bool) -> None:
    """List workloads, submissions and parts."""
    registry = resolve.open_registry(blocked)
    resolve.require_plugins(registry)
    workloads = [entry for entry in registry.workloads() if tier in (None, entry.facts.tier)]
    if as_json:
        print_json(
            {
                "schema": SCHEMA,
                "workloads": [_workload_json(entry) for entry in workloads],
                "submissions": [submission_json(entry, registry) for entry in registry.submissions()],
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
            print_text(f"{title}\n{text.columns([['  ' + row[0], *row[1:]] for row in rows])}\n")
    for plugin in registry.plugins:
        if plugin.error:
            note(f"broken plugin {plugin.distribution}:{plugin.name}: {plugin.error}")


# --- JSON ---------------------------------------------------------------------------------------


def submission_json(entry: SubmissionEntry, registry: Registry) -> dict[str, Any]:
    """Return the data that `bench list --json` and `bench show --json` print for a submission."""
    composition = _try_to_compose(entry, registry)
    parts = composition.parts if composition else ()
    titles = {source.title for source in entry.sources}
    inherited = tuple(source for part in parts for source in part.sources if source.title not in titles)
    return {
        "name": entry.name,
        "version": entry.version,
        "summary": entry.summary,
        "sources": _sources_json(entry.sources + inherited),
        "parts": list(entry.parts),
        "needs": sorted(composition.needs if composition else entry.needs),
        "tags": list(entry.tags),
        "distribution": entry.distribution,
    }


def _workload_json(entry: WorkloadEntry) -> dict[str, Any]:
    return {
        "name": entry.name,
        "version": entry.facts.version,
        "tier": entry.facts.tier,
        "summary": entry.summary,
        "sources": _sources_json(entry.sources),
        "distribution": entry.distribution,
    }


def _part_json(entry: PartEntry) -> dict[str, Any]:
    return {
        "kind": entry.kind,
        "name": entry.name,
        "summary": entry.summary,
        "sources": _sources_json(entry.sources),
        "distribution": entry.distribution,
    }


def _sources_json(sources: tuple[Source, ...]) -> list[dict[str, Any]]:
    return [{"title": s.title, "arxiv": s.arxiv, "equation": s.equation} for s in dict.fromkeys(sources)]


def _try_to_compose(entry: SubmissionEntry, registry: Registry) -> Composition | None:
    """Return the composition, or None if a part is missing. A missing part is an error only if a run needs the part."""
    try:
        return compose(entry, registry)
    except BenchError:
        return None
