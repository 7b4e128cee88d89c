"""`bench list`: list all installed workloads, submissions and parts, or those that match a search."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import click

from harness.cli import resolve
from harness.cli.commands import examples
from harness.cli.grouping import group_parts, group_submissions, group_workloads
from harness.cli.output import note, print_json, print_text
from harness.cli.resolve import NameType
from harness.contract.entries import PartEntry, Source, SubmissionEntry, WorkloadEntry
from harness.contract.part_kinds import PART_KINDS
from harness.errors import BenchError, UsageError, suggest_nearest
from harness.planning.compose import Composition, compose
from harness.plugins.registry import Registry
from harness.report import text

#: A kind of entry that `bench list` lists.
ListedEntry: TypeAlias = WorkloadEntry | SubmissionEntry | PartEntry
#: Values of `--kind`: the kinds of entries, and the kinds of parts.
KINDS = ("workload", "submission", "part", *PART_KINDS)
#: Characters per line of names, if the output is not a terminal.
WIDTH = 100


@click.command("list", epilog=examples("bench list", "bench list muon", "bench list --kind schedule cyclic"))
@click.argument("words", nargs=-1, type=NameType("entry"), metavar="[WORD]...")
@click.option("--kind", type=click.Choice(KINDS), help="Only entries of this kind.")
@click.option("--tier", type=click.Choice(["cpu", "gpu", "cluster"]), help="Only workloads of this tier.")
@click.option("--all", "with_summaries", is_flag=True, help="Describe every entry instead of listing names in groups.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def command(
    blocked_plugins: list[str],
    words: tuple[str, ...],
    kind: str | None,
    tier: str | None,
    with_summaries: bool,
    as_json: bool,
) -> None:
    """List workloads, submissions and parts.

    Without arguments, all names are listed in groups: workloads by tier, submissions by their parts, parts by their
    kind. With words, the command describes the entries that contain every word in their name, aliases, summary, parts,
    tags or papers.
    """
    if tier and kind not in (None, "workload"):
        raise UsageError(f"--tier lists workloads, and --kind {kind} excludes them", fix="leave out --tier or --kind")
    kind = "workload" if tier else kind
    registry = resolve.open_registry(blocked_plugins)
    resolve.require_plugins(registry)

    def is_chosen(entry: ListedEntry) -> bool:
        return _has_kind(entry, kind) and _matches(entry, words)

    workloads = [entry for entry in registry.workloads() if tier in (None, entry.facts.tier) and is_chosen(entry)]
    submissions = [entry for entry in registry.submissions() if is_chosen(entry)]
    parts = [entry for entry in registry.parts() if is_chosen(entry)]
    if as_json:
        print_json(
            {
                "workloads": [_workload_json(entry) for entry in workloads],
                "submissions": [submission_json(entry, registry) for entry in submissions],
                "parts": [_part_json(entry) for entry in parts],
            }
        )
        return
    if words or kind or with_summaries:
        _print_summaries(workloads, submissions, parts)
    else:
        _print_names("workloads, by tier", group_workloads(workloads))
        _print_names("submissions, by their parts", group_submissions(submissions, registry))
        _print_names("parts, by kind", group_parts(parts))
        note("bench list WORD describes the entries that contain WORD; bench show NAME describes one entry in full")
    if not (workloads or submissions or parts):
        listed: tuple[ListedEntry, ...] = (*registry.workloads(), *registry.submissions(), *registry.parts())
        names = [entry.name for entry in listed if _has_kind(entry, kind)]
        nearest = suggest_nearest(words[0], names) if len(words) == 1 else ""
        note(f"nothing matches{nearest}; bench list prints all names")
    for problem in _shared_names((*workloads, *submissions, *parts)):
        note(problem)
    for plugin in registry.plugins:
        if plugin.error:
            note(f"broken plugin {plugin.distribution}:{plugin.name}: {plugin.error}")


def _shared_names(entries: Sequence[ListedEntry]) -> list[str]:
    """For each name that several distributions offer, return a line with the longer, unambiguous names."""
    forms: dict[tuple[type[ListedEntry], str], list[str]] = {}
    for entry in entries:
        name = entry.id if isinstance(entry, PartEntry) else entry.name
        forms.setdefault((type(entry), name), []).append(f"{entry.distribution}:{name}")
    return [
        f"{name} is offered by several distributions: write {' or '.join(sorted(choices))}"
        for (_, name), choices in forms.items()
        if len(set(choices)) > 1
    ]


def _has_kind(entry: ListedEntry, kind: str | None) -> bool:
    if isinstance(entry, PartEntry):
        return kind in (None, "part", entry.kind)
    return kind in (None, "workload" if isinstance(entry, WorkloadEntry) else "submission")


def _matches(entry: ListedEntry, words: Sequence[str]) -> bool:
    """Return whether the texts of an entry contain every word. Upper and lower case are not distinguished."""
    texts = [entry.name, entry.summary]
    if isinstance(entry, SubmissionEntry):
        texts += [*entry.parts, *entry.tags]
    else:
        texts += entry.aliases
    if isinstance(entry, PartEntry):
        texts.append(entry.id)
    for source in entry.sources:
        texts += [source.title, source.arxiv or ""]
    searched = "\n".join(texts).lower()
    return all(word.lower() in searched for word in words)


# --- text ---------------------------------------------------------------------------------------


def _print_names(title: str, groups: dict[str, list[str]]) -> None:
    """Print the names of each group in one paragraph, wrapped at spaces."""
    if not groups:
        return
    label_width = max(map(len, groups))
    indent = " " * (label_width + 4)
    width = text.terminal_width() or WIDTH
    print_text(f"{title} ({sum(map(len, groups.values()))})")
    for label, names in groups.items():
        print_text(text.wrap(f"  {label.ljust(label_width)}  {'  '.join(names)}", width, indent))
    print_text("")


def _print_summaries(
    workloads: Sequence[WorkloadEntry], submissions: Sequence[SubmissionEntry] = (), parts: Sequence[PartEntry] = ()
) -> None:
    sections = {
        "workloads": [[entry.name, entry.facts.tier, entry.summary] for entry in workloads],
        "submissions": [[entry.name, "", entry.summary] for entry in submissions],
        "parts": [[entry.id, "", entry.summary] for entry in parts],
    }
    for title, rows in sections.items():
        if rows:
            print_text(f"{title}\n{text.columns([['  ' + row[0], *row[1:]] for row in rows])}\n")


# --- JSON ---------------------------------------------------------------------------------------


def submission_json(entry: SubmissionEntry, registry: Registry) -> dict[str, Any]:
    """Return the JSON data of a submission for `bench list --json` and `bench show --json`."""
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
    """Return the composition, or None if the parts cannot be composed. A list does not report this error."""
    try:
        return compose(entry, registry)
    except BenchError:
        return None
