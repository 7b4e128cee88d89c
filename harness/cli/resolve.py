"""Functions for several commands: open the plugin registry, parse `NAME=VALUE` flags, complete names in the shell."""

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
    """Read the plugins and print the registry's warnings to stderr."""
    registry = load_registry(block=blocked or [])
    for warning in registry.warnings:
        note(f"warning: {warning}")
    return registry


def parse_assignments(pairs: Sequence[str], flag: str) -> dict[str, Scalar | str]:
    """Return the values of a repeated flag of the form `NAME=VALUE`, by name.

    Args:
        pairs: the values of the flag.
        flag: the flag, for error messages.

    Raises:
        UsageError: a value does not have the form `NAME=VALUE`.

    >>> parse_assignments(["lr=3e-4"], "--set")
    {'lr': '3e-4'}
    """
    values: dict[str, Scalar | str] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name.strip():
            example = "address=auto" if flag == "--executor-option" else "lr=3e-4"
            raise UsageError(f"{flag} {pair} must be of the form NAME=VALUE", fix=f"write for example {flag} {example}")
        values[name.strip()] = value.strip()
    return values


class NameType(click.ParamType[str]):
    """A parameter that is a name, with shell completion.

    Args:
        kind: `submission` or `workload`, the kind of names to complete.
    """

    name = "name"

    def __init__(self, kind: str) -> None:
        self._kind = kind

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        registry = load_registry()
        entries: Sequence[SubmissionEntry | WorkloadEntry]
        entries = registry.submissions() if self._kind == "submission" else registry.workloads()
        # In a list such as `wsd,adamw`, the last name is completed.
        done, comma, last = incomplete.rpartition(",")
        return [
            CompletionItem(f"{done}{comma}{entry.name}", help=entry.summary)
            for entry in entries
            if entry.name.startswith(last)
        ]
