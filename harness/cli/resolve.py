"""Functions that several commands use.

They open the plugin registry, parse flags of the form `NAME=VALUE`, and complete names in a shell.
"""

from __future__ import annotations

import csv
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeAlias

import click
from click.core import ParameterSource
from click.shell_completion import CompletionItem

from harness.cli import config
from harness.cli.output import note
from harness.contract.domains import Scalar
from harness.contract.entries import ExecutorEntry, PartEntry, SubmissionEntry, WorkloadEntry
from harness.contract.limits import RANGES, check_integer
from harness.errors import BenchError, PluginError, UsageError
from harness.planning import rulesets
from harness.plugins.registry import Registry, load_registry
from harness.storage import layout

#: Kind of names that are completed for a parameter.
NameKind: TypeAlias = Literal["submission", "workload", "entry", "dataset", "executor", "ruleset", "run"]


def open_registry(blocked_plugins: Sequence[str] | None) -> Registry:
    """Read the plugins and print the registry's warnings to stderr."""
    registry = load_registry(block=blocked_plugins or [])
    for warning in registry.warnings:
        note(f"warning: {warning}")
    return registry


def require_plugins(registry: Registry) -> None:
    """Raise an error if every plugin is broken. The user would otherwise see an empty list.

    Raises:
        PluginError: there are plugins, and all of them are broken.
    """
    errors = [plugin.error for plugin in registry.plugins]
    if errors and all(errors):
        count = "the only plugin is" if len(errors) == 1 else f"all {len(errors)} plugins are"
        example = f"{registry.plugins[0].id}: {textwrap.shorten(str(errors[0]), 150)}"
        problem = f"there is nothing to list: {count} broken; {example}"
        raise PluginError(problem, fix="bench plugins --refresh reads them again and shows each error")


def parse_assignments(pairs: Sequence[str], flag: str) -> dict[str, Scalar | str]:
    """Return the values of a repeated flag of the form `NAME=VALUE`, by name.

    Args:
        pairs: the values of the flag.
        flag: the flag, for error messages.

    Raises:
        UsageError: a value does not have the form `NAME=VALUE`, or a name has two values.

    >>> parse_assignments(["lr=3e-4"], "--set")
    {'lr': '3e-4'}
    """
    values: dict[str, Scalar | str] = {}
    for pair in pairs:
        name, equals, value = (piece.strip() for piece in pair.partition("="))
        if not equals or not name:
            example = "address=auto" if flag == "--executor-option" else "lr=3e-4"
            raise UsageError(f"{flag} {pair} must be of the form NAME=VALUE", fix=f"write for example {flag} {example}")
        if name in values:
            grid = f"; bench run --set {name}={values[name]},{value} runs both values, as a grid"
            fix = "keep one of them" + ("" if flag == "--executor-option" else grid)
            raise UsageError(f"{flag} {name} is given twice: {values[name]} and {value}", fix=fix)
        values[name] = value
    return values


def parse_grid(pairs: Sequence[str], flag: str) -> dict[str, tuple[str, ...]]:
    """Return the values of a repeated flag of the form `NAME=VALUE,VALUE…`, by name.

    A value that contains a comma is written in double quotes, as in a CSV file.

    Args:
        pairs: the values of the flag.
        flag: the flag, for messages.

    Raises:
        UsageError: a value is not of this form, a name is given twice, or a value is missing between two commas.

    >>> parse_grid(["lr=1e-3,3e-3", 'shape="a,b"'], "--set")
    {'lr': ('1e-3', '3e-3'), 'shape': ('a,b',)}
    """
    grid = {}
    for name, text in parse_assignments(pairs, flag).items():
        values = tuple(value.strip() for value in next(csv.reader([str(text)], skipinitialspace=True)) or [""])
        if len(values) > 1 and not all(values):
            raise UsageError(
                f"{flag} {name}={text} lacks a value before or after one of its commas", fix="give a value there"
            )
        grid[name] = values
    return grid


def format_grid(grid: Mapping[str, Sequence[Scalar]]) -> tuple[str, ...]:
    """Return the assignments `NAME=VALUE,VALUE…` of a grid. `parse_grid` is the inverse.

    >>> format_grid({"lr": [0.001, 0.003], "nesterov": [True], "shape": ["a,b"]})
    ('lr=0.001,0.003', 'nesterov=true', 'shape="a,b"')
    """
    return tuple(f"{name}={','.join(map(_quote_value, values))}" for name, values in grid.items())


def _quote_value(value: Scalar) -> str:
    """Return the text of a value, in double quotes if the text contains a comma or a double quote."""
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return '"' + text.replace('"', '""') + '"' if set(text) & set(',"') else text


class LimitedInteger(click.IntRange):
    """An integer from a flag or an environment variable, in the range of an option in `harness.contract.limits`.

    Args:
        option: name of the option in `RANGES`.
    """

    def __init__(self, option: str) -> None:
        limits = RANGES[option]
        super().__init__(limits.low if limits.low >= 0 else None)
        self._option = option

    def _describe_range(self) -> str:
        # The help shows only the lower limit, because no user reaches the upper one. A seed may have any sign.
        return "64 bits" if self.min is None else super()._describe_range()

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        try:
            return check_integer(self._option, value)
        except UsageError as error:
            self.fail(f"{error.what} ({error.fix})", param, ctx)


class NameType(click.ParamType[str]):
    """A parameter that is a name or a comma-separated list of names, with shell completion.

    Args:
        kind: kind of the names to complete. The kind `entry` stands for submissions, workloads and parts.
    """

    name = "name"

    def __init__(self, kind: NameKind) -> None:
        self.kind = kind

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        # In a list such as `wsd,adamw`, the last name is completed.
        done, comma, last = incomplete.rpartition(",")
        try:
            names = _known_names(self.kind, ctx)
        except BenchError:
            names = {}
        items = [
            CompletionItem(f"{done}{comma}{name}", help=summary)
            for name, summary in names.items()
            if name.startswith(last)
        ]
        # Submissions, workloads, rulesets and runs can also be named by a path. The shell completes paths.
        return items or [CompletionItem(incomplete, type="file")]


def _known_names(kind: NameKind, context: click.Context) -> dict[str, str]:
    """Return the names of a kind, with a description of each."""
    if kind == "run":
        return run_names(context)
    if kind == "ruleset":
        return {ruleset.name: ruleset.summary for ruleset in rulesets.rulesets().values()}
    registry = load_registry()
    if kind == "dataset":
        return {entry.name: entry.title for entry in registry.datasets()}
    entries: dict[str, Sequence[SubmissionEntry | WorkloadEntry | PartEntry | ExecutorEntry]] = {
        "submission": registry.submissions(),
        "workload": registry.workloads(),
        "executor": registry.executors(),
        "entry": (*registry.submissions(), *registry.workloads(), *registry.parts()),
    }
    return {entry.name: entry.summary for entry in entries[kind]} | (run_names(context) if kind == "entry" else {})


def run_names(context: click.Context) -> dict[str, str]:
    """Return the IDs of the runs in the command's folder of local runs. Only the names of the folders are read."""
    folder = Path(context.params.get("runs") or "runs")
    if context.get_parameter_source("runs") in (None, ParameterSource.DEFAULT):
        # The project file is read here, because click does not call the group's function during completion.
        folder = Path(config.read_default_map().get("runs", {}).get("runs", folder))
    if not folder.is_dir():
        return {}
    return {path.name: "" for path in sorted(folder.iterdir()) if path.name.startswith(layout.RUN_ID_PREFIX)}
