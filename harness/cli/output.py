"""How commands print: data to stdout, everything else to stderr."""

from __future__ import annotations

import os
import sys
from typing import Any

import click
import msgspec

SCHEMA = 1


def json_out(data: Any) -> None:
    """Print plain data or structs as JSON."""
    text = msgspec.json.format(msgspec.json.encode(data, order="deterministic"), indent=2)
    click.echo(text.decode())


def note(message: str) -> None:
    """A line for the user, beside the data."""
    click.echo(message, err=True)


def lively(stream: Any = None) -> bool:
    """Whether a stream may carry colour and redrawing (a terminal, `NO_COLOR` and `FORCE_COLOR` honoured)."""
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR"):
        return True
    return (stream or sys.stderr).isatty() and os.environ.get("TERM") != "dumb"
