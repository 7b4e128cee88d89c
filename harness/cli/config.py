"""Settings from the project file: flag > environment > project file > default."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from harness.errors import UsageError, unknown

PROJECT_FILE = "bench.yaml"

#: Keys of the project file, and the commands whose option of that name they set.
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


def default_map(path: Path | None = None) -> dict[str, dict[str, Any]]:
    """The project file's settings, as click takes them.

    Raises:
        UsageError: the file is not YAML, not a mapping, or has an unknown key.
    """
    path = path or Path(PROJECT_FILE)
    if not path.exists():
        return {}
    import yaml

    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UsageError(f"{path} cannot be read: {' '.join(str(error).split())}") from None
    if not isinstance(content, dict):
        raise UsageError(f"{path} must be a mapping of keys to values, not a {type(content).__name__}")
    commands: dict[str, dict[str, Any]] = {}
    for key, value in content.items():
        if key not in KEYS:
            complaint = unknown("key", str(key), KEYS)
            raise UsageError(f"{path}: {complaint.what}", fix=complaint.fix)
        wanted = int if key in ("studies", "seed", "threads") else str
        if type(value) is not wanted:
            kind = "a whole number" if wanted is int else "text"
            raise UsageError(f"{path}: {key}: {value!r} must be {kind}")
        for command in KEYS[key]:
            commands.setdefault(command, {})[key] = value
    return commands


def shown(context: click.Context) -> list[tuple[str, str, str]]:
    """Every option of a command: (name, value, where it comes from)."""
    names = {
        "COMMANDLINE": "flag",
        "ENVIRONMENT": "environment",
        "DEFAULT_MAP": PROJECT_FILE,
        "DEFAULT": "default",
        "PROMPT": "prompt",
    }
    rows = []
    for name, value in sorted(context.params.items()):
        source = context.get_parameter_source(name)
        rows.append((name, str(value), names.get(source.name, "default") if source else "default"))
    return rows
