"""Settings of the project file `bench.yaml`, below flags and environment variables."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from harness.errors import UsageError, unknown_name_error

PROJECT_FILE = "bench.yaml"

#: The keys of the project file, and the commands whose option of that name they set.
KEYS = {
    "ruleset": ("run",),
    "studies": ("run",),
    "seed": ("run",),
    "device": ("run",),
    "threads": ("run",),
    "executor": ("run",),
    "runs": ("run", "leaderboard", "best", "compare", "diff", "report"),
    "results": ("leaderboard", "best", "compare", "diff", "report"),
}
#: Keys whose value is a whole number; the values of the others are text.
_NUMBERS = frozenset({"studies", "seed", "threads"})


def read_default_map(path: Path | None = None) -> dict[str, dict[str, Any]]:
    """The settings of the project file as click's `default_map`: option values by command.

    Args:
        path: the file; `bench.yaml` in the current folder when None. An absent file has no settings.

    Raises:
        UsageError: the file is not YAML, is not a mapping, or has an unknown key or a value of a wrong type.
    """
    path = path or Path(PROJECT_FILE)
    if not path.exists():
        return {}
    import yaml

    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        problem = f"{path} cannot be read: {' '.join(str(error).split())}"
        raise UsageError(problem, fix=f"{PROJECT_FILE} must be YAML, such as: seed: 7") from None
    if not isinstance(content, dict):
        problem = f"{path} must be a mapping of keys to values, not a {type(content).__name__}"
        raise UsageError(problem, fix=f"known keys: {', '.join(sorted(KEYS))}")
    commands: dict[str, dict[str, Any]] = {}
    for key, value in content.items():
        if key not in KEYS:
            unknown_key = unknown_name_error("key", str(key), KEYS)
            raise UsageError(f"{path}: {unknown_key.what}", fix=unknown_key.fix)
        if type(value) is not (int if key in _NUMBERS else str):
            problem = f"{path}: {key}: {value!r} must be {'a whole number' if key in _NUMBERS else 'text'}"
            raise UsageError(problem, fix=f"such as {key}: {1 if key in _NUMBERS else 'NAME'}")
        for command in KEYS[key]:
            commands.setdefault(command, {})[key] = value
    return commands


def option_rows(context: click.Context) -> list[tuple[str, str, str]]:
    """Every option of a command as (name, value, where the value comes from)."""
    origins = {
        "COMMANDLINE": "flag",
        "ENVIRONMENT": "environment",
        "DEFAULT_MAP": PROJECT_FILE,
        "DEFAULT": "default",
        "PROMPT": "prompt",
    }
    rows = []
    for name, value in sorted(context.params.items()):
        source = context.get_parameter_source(name)
        rows.append((name, str(value), origins.get(source.name, "default") if source else "default"))
    return rows
