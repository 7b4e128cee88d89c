"""Print data to stdout and messages to stderr."""

from __future__ import annotations

import os
import sys
from typing import Any

import click
import msgspec

from harness.report.escaping import escape_controls

#: Version of the schema of the JSON that commands print.
SCHEMA = 1


def print_json(data: Any) -> None:
    """Print plain data or structs as JSON to stdout."""
    text = msgspec.json.format(msgspec.json.encode(data, order="deterministic"), indent=2)
    click.echo(text.decode())


def print_text(text: str) -> None:
    """Print lines to stdout. Control characters are escaped: a text may quote a record, a note or a plugin."""
    click.echo(escape_controls(text, keep="\n\t"))


def note(message: str) -> None:
    """Print a line for the user to stderr. Control characters except line breaks are escaped."""
    click.echo(escape_controls(message, keep="\n"), err=True)


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
