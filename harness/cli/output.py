"""Print data to stdout and messages to stderr."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import click
import msgspec

from harness.cli.streams import can_encode
from harness.errors import StoreError, escape_controls, limit_message

#: Version of the schema of the JSON that commands print.
SCHEMA = 1


def print_json(data: Mapping[str, Any]) -> None:
    """Print an object as JSON to stdout. All commands print JSON with this function or `print_json_list`.

    If stdout cannot encode a character, all characters outside ASCII are escaped.

    Args:
        data: the object, made of plain data and structs. If it has no key `schema`, this key is added with the value
            `SCHEMA`.
    """
    click.echo(_json_text({"schema": SCHEMA, **data}))


def print_json_list(fields: Mapping[str, Any], name: str, items: Iterable[Any]) -> None:
    """Print an object with a long list in the format of `print_json`. Only one item of the list is in memory at a time.

    Args:
        fields: all fields except the list. The field `schema` is added.
        name: name of the field for the list. It must be the last of all names in alphabetical order.
        items: the items of the list, which are plain data or structs.
    """
    head = _json_text({"schema": SCHEMA, **fields, name: []}).removesuffix("[]\n}")
    separator = f"{head}[\n    "
    for item in items:
        click.echo(separator + _json_text(item).replace("\n", "\n    "), nl=False)
        separator = ",\n    "
    click.echo(f"{head}[]\n}}" if separator.startswith(head) else "\n  ]\n}")


def _json_text(data: Any) -> str:
    text = msgspec.json.format(msgspec.json.encode(data, order="deterministic"), indent=2).decode()
    return text if can_encode(text) else json.dumps(json.loads(text), indent=2)


def print_text(text: str) -> None:
    """Print lines to stdout. Control characters are escaped, because a text may quote a record, a note or a plugin."""
    click.echo(escape_controls(text, keep="\n\t"))


def note(message: str) -> None:
    """Print lines for the user to stderr. Control characters are escaped, and the length of a line is limited."""
    click.echo("\n".join(map(limit_message, message.split("\n"))), err=True)


def supports_color(stream: Any = None) -> bool:
    """Return whether output to a stream may be coloured.

    By default, only output to a terminal is coloured. With the environment variable `FORCE_COLOR`, output to every
    stream is coloured. The variable `NO_COLOR` disables all colours and takes precedence.

    Args:
        stream: the stream; None for stderr.
    """
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR"):
        return True
    return (stream or sys.stderr).isatty() and os.environ.get("TERM") != "dumb"


def write_error_of_output(path: Path, error: OSError) -> StoreError:
    """Return the error for a failed write of a file whose path the user gave."""
    fix = f"make {path.parent} writable, or choose another path"
    return StoreError(f"cannot write {path}: {error.strerror or error}", fix=fix)
