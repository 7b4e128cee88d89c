"""From what a user typed to entries: names, lists, files, classes and compositions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import click
from click.shell_completion import CompletionItem

from harness.cli.output import note
from harness.contract.domains import Scalar
from harness.contract.entries import SubmissionEntry, WorkloadEntry
from harness.errors import UsageError
from harness.planning import compose
from harness.plugins.registry import Registry, entry_from_class, entry_from_path, load_registry


def open_registry(blocked: Sequence[str] | None) -> Registry:
    """What the plugins offer, with a line to stderr for every name on a block list that blocks nothing."""
    registry = load_registry(block=blocked or [])
    for warning in registry.warnings:
        note(f"warning: {warning}")
    return registry


def split(values: Iterable[str]) -> list[str]:
    """`a,b` and repeated options as one list, each name once.

    >>> split(["a,b", "c", "a"])
    ['a', 'b', 'c']
    """
    names = [name.strip() for value in values for name in value.split(",") if name.strip()]
    return list(dict.fromkeys(names))


def submission(name: str, registry: Registry) -> SubmissionEntry:
    """The submission a user means: an installed one, a file, a class, parts joined by `+`, or an optimizer alone.

    Raises:
        UsageError: there is none of that name.
    """
    if _is_path(name):
        entry = entry_from_path(name, kind="submission")
        assert isinstance(entry, SubmissionEntry)
        return entry
    if any(name in (entry.name, f"{entry.distribution}:{entry.name}") for entry in registry.submissions()):
        return registry.submission(name)
    optimizers = [part for part in registry.parts() if part.kind == "optimizer"]
    if "+" in name or any(name in (part.name, part.id, *part.aliases) for part in optimizers):
        return compose.parse_parts(name)
    if _is_class(name) and name.partition(":")[0] not in {plugin.distribution for plugin in registry.plugins}:
        return entry_from_class(name)
    return registry.submission(name)


def workloads(name: str, registry: Registry) -> list[WorkloadEntry]:
    """The workloads a user means: one by name or file, or all of a tier with `tier:cpu`.

    Raises:
        UsageError: there is none of that name.
    """
    if _is_path(name):
        entry = entry_from_path(name, kind="workload")
        assert isinstance(entry, WorkloadEntry)
        return [entry]
    if name.startswith("tier:"):
        tier = name.removeprefix("tier:")
        found = [entry for entry in registry.workloads() if entry.facts.tier == tier and "+" not in entry.name]
        if not found:
            raise UsageError(f"no workload of tier {tier!r}", fix="tiers: cpu, gpu, cluster; `bench list` shows them")
        return found
    return [registry.workload(name)]


def settings(pairs: Sequence[str], flag: str = "--set") -> dict[str, Scalar | str]:
    """What a repeated flag set, from `NAME=VALUE`.

    Raises:
        UsageError: it is not of that form.

    >>> settings(["lr=3e-4"])
    {'lr': '3e-4'}
    """
    found: dict[str, Scalar | str] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name.strip():
            example = "lr=3e-4" if flag == "--set" else "address=auto"
            raise UsageError(f"{flag} {pair}: write NAME=VALUE, such as {flag} {example}")
        found[name.strip()] = value.strip()
    return found


def _is_class(name: str) -> bool:
    """Whether a name has the form package.module:Class."""
    module, colon, attribute = name.partition(":")
    return bool(colon) and attribute.isidentifier() and all(piece.isidentifier() for piece in module.split("."))


def _is_path(name: str) -> bool:
    return name.partition(":")[0].endswith(".py")


class NameType(click.ParamType[str]):
    """A name with shell completion.

    Args:
        kind: `submission` or `workload`.
    """

    name = "name"

    def __init__(self, kind: str) -> None:
        self._kind = kind

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        registry = load_registry()
        entries: Sequence[SubmissionEntry | WorkloadEntry]
        entries = registry.submissions() if self._kind == "submission" else registry.workloads()
        # In a list such as `wsd,adamw`, the last name is the one being typed.
        done, comma, last = incomplete.rpartition(",")
        return [
            CompletionItem(f"{done}{comma}{entry.name}", help=entry.summary)
            for entry in entries
            if entry.name.startswith(last)
        ]
