"""Print data to stdout and messages to stderr."""

from __future__ import annotations

import os
import re
import sys
from typing import Any

import click
import msgspec

from harness.cli.streams import can_encode
from harness.errors import escape_controls, limit_message

#: Version of the schema of the JSON that commands print.
SCHEMA = 1
_NON_ASCII = re.compile(r"[^\x00-\x7f]")


def print_json(data: Any) -> None:
    """Print plain data or structs as JSON to stdout.

    Characters that the encoding of stdout lacks are written as `\\uXXXX`.
    """
    text = msgspec.json.format(msgspec.json.encode(data, order="deterministic"), indent=2).decode()
    click.echo(text if can_encode(text) else _NON_ASCII.sub(_escape_in_json, text))


def _escape_in_json(match: re.Match[str]) -> str:
    """Return a character as `\\uXXXX`, in two of them if it needs a surrogate pair."""
    units = match[0].encode("utf-16-be").hex()
    return "".join(f"\\u{units[i : i + 4]}" for i in range(0, len(units), 4))


def print_text(text: str) -> None:
    """Print lines to stdout. Control characters are escaped: a text may quote a record, a note or a plugin."""
    click.echo(escape_controls(text, keep="\n\t"))


def note(message: str) -> None:
    """Print lines for the user to stderr. Control characters are escaped, and the length of a line is limited."""
    click.echo("\n".join(map(limit_message, message.split("\n"))), err=True)


def supports_color(stream: Any = None) -> bool:
    """Return whether output to a stream may be coloured.

    Output to a terminal is coloured. The environment variable `NO_COLOR` disables colours for all streams.
    `FORCE_COLOR` enables colours for all streams, unless `NO_COLOR` is set.

    Args:
        stream: the stream; None for stderr.
    """
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR"):
        return True
    return (stream or sys.stderr).isatty() and os.environ.get("TERM") != "dumb"
