"""Read settings from the project file `bench.yaml`. Flags and environment variables take precedence over this file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from harness.contract.limits import check_integer
from harness.errors import DamagedError, StoreError, UsageError, unknown_name_error
from harness.system.yaml_text import read_yaml

PROJECT_FILE = "bench.yaml"

#: The commands that read published records and local runs.
_READERS = (
    *("runs", "note", "show", "leaderboard", "best", "compare", "diff", "report", "publish", "verify", "rerun"),
    *("results doubt", "results withdraw", "results restore"),
)
#: The commands that run trials with all options of the project file, except those of rulesets.
_RUNNERS = ("run", "gate", "ablate", "tune")
#: Key of the project file -> commands in which the key sets the option of the same name.
KEYS = {
    "ruleset": ("run",),
    "studies": ("run",),
    "seed": (*_RUNNERS, "cost", "calibrate"),
    "device": (*_RUNNERS, "cost", "calibrate"),
    "threads": (*_RUNNERS, "cost", "hardware"),
    "executor": (*_RUNNERS, "calibrate"),
    "runs": (*_RUNNERS, "cost", "calibrate", *_READERS),
    "results": _READERS,
}
#: Keys whose value is an integer. The values of the other keys are text.
_NUMBERS = frozenset({"studies", "seed", "threads"})


def read_default_map(path: Path | None = None) -> dict[str, dict[str, Any]]:
    """Return the settings of the project file as click's `default_map`: the values of options, by command.

    Args:
        path: path of the file; None for `bench.yaml` in the current folder. If the file does not exist, the result is
            empty.

    Raises:
        UsageError: the file is not YAML, is not a mapping, has an unknown key, or has a value of the wrong type or
            outside its range.
    """
    path = path or Path(PROJECT_FILE)
    if not path.exists():
        return {}
    try:
        content = read_yaml(path) or {}
    except StoreError as error:
        fix = f"write {PROJECT_FILE} as YAML, such as: seed: 7" if isinstance(error, DamagedError) else error.fix
        raise UsageError(error.what, fix=fix) from None
    if not isinstance(content, dict):
        problem = f"{path} must be a mapping of keys to values, not a {type(content).__name__}"
        raise UsageError(problem, fix=f"use the keys {', '.join(sorted(KEYS))}")
    commands: dict[str, dict[str, Any]] = {}
    for key, value in content.items():
        if key not in KEYS:
            unknown_key = unknown_name_error("key", str(key), KEYS)
            raise UsageError(f"{path}: {unknown_key.what}", fix=unknown_key.fix)
        if type(value) is not (int if key in _NUMBERS else str):
            problem = f"{path}: {key}: {value!r} must be {'a whole number' if key in _NUMBERS else 'text'}"
            raise UsageError(problem, fix=f"write {key}: {1 if key in _NUMBERS else 'NAME'}")
        if key in _NUMBERS:
            check_integer(key, value, f"{path}")
        for command in KEYS[key]:
            options: dict[str, Any] = commands
            for word in command.split():
                options = options.setdefault(word, {})
            options[key] = value
    return commands


def option_rows(context: click.Context) -> list[tuple[str, str, str]]:
    """Return the name, the value and the source of the value for every option of a command."""
    origins = {
        "COMMANDLINE": "flag",
        "ENVIRONMENT": "environment",
        "DEFAULT_MAP": PROJECT_FILE,
        "DEFAULT": "default",
        "PROMPT": "prompt",
    }
    rows = []
    spellings = {parameter.name: _spelling(parameter) for parameter in context.command.params}
    for name, value in context.params.items():
        source = context.get_parameter_source(name)
        origin = origins.get(source.name, "default") if source else "default"
        rows.append((spellings.get(name, name), _shown(value), origin))
    return sorted(rows)


def _spelling(parameter: click.Parameter) -> str:
    """Return the name of an option or argument as in the help, without hyphens at the beginning."""
    return max(parameter.opts, key=len).lstrip("-")


def _shown(value: Any) -> str:
    """Return the value of an option as the user would type it; `–` if it has none."""
    if value is None or value == ():
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
