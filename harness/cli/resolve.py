"""The plugin registry, `NAME=VALUE` flags and shell completion, shared by commands."""

from __future__ import annotations

from collections.abc import Sequence

import click
from click.shell_completion import CompletionItem

from harness.cli.output import note
from harness.contract.domains import Scalar
from harness.contract.entries import SubmissionEntry, WorkloadEntry
from harness.errors import UsageError
from harness.plugins.registry import Registry, load_registry


def open_registry(blocked: Sequence[str] | None) -> Registry:
    """What the plugins offer, with a line to stderr for every name on a block list that blocks nothing."""
    registry = load_registry(block=blocked or [])
    for warning in registry.warnings:
        note(f"warning: {warning}")
    return registry


def parse_assignments(pairs: Sequence[str], flag: str) -> dict[str, Scalar | str]:
    """The values of a repeated flag of the form `NAME=VALUE`, by name.

    Raises:
        UsageError: it is not of that form.

    >>> parse_assignments(["lr=3e-4"], "--set")
    {'lr': '3e-4'}
    """
    values: dict[str, Scalar | str] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name.strip():
            example = "lr=3e-4" if flag == "--set" else "address=auto"
            raise UsageError(f"{flag} {pair} must be of the form NAME=VALUE", fix=f"such as {flag} {example}")
        values[name.strip()] = value.strip()
    return values


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
