"""Command lines of `bench` in documents and help pages: parsed by the parsers of the commands, without running them."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import click

from harness.cli.app import app
from harness.errors import BenchError


def commands() -> Iterator[tuple[str, click.Command]]:
    """Every command with its name, such as `data get`, and the group `bench` itself under an empty name."""
    yield from _walk("", app, click.Context(app, info_name="bench"))


def _walk(name: str, command: click.Command, context: click.Context) -> Iterator[tuple[str, click.Command]]:
    yield name, command
    if isinstance(command, click.Group):
        for word in command.list_commands(context):
            child = command.get_command(context, word)
            assert child is not None
            yield from _walk(f"{name} {word}".strip(), child, click.Context(child, info_name=word, parent=context))


def find_problem(line: str) -> str:
    """What the parser of `bench` objects to in a command line; empty if it accepts the line.

    >>> find_problem("bench run -s wsd -w lm-tiny --studies 5 --json    # five runs")
    ''
    >>> find_problem("bench run -s wsd --fly")
    "No such option '--fly'."
    >>> find_problem("bench fly")
    "unknown command 'fly'"
    """
    try:
        parse_line(line)
    except click.ClickException as error:
        return error.format_message()
    except BenchError as error:
        return error.what
    return ""


def parse_line(line: str) -> click.Context | None:
    """The context of the command in a command line, with the values of its parameters; None for a help page.

    Raises:
        click.ClickException, BenchError: the parser does not accept the line.
    """
    words = split_line(line)
    assert words[0] == "bench", f"{line!r} does not begin with bench"
    # Whether a file exists is not a question about the command line.
    with mock.patch.object(click.Path, "convert", _accept_path):
        try:
            return _parse(words[1:])
        except (click.exceptions.Exit, click.exceptions.NoArgsIsHelpError):
            return None


def split_line(line: str) -> list[str]:
    """The words of a command line, without its comment, variables before it, and what follows a pipe or redirection.

    >>> split_line("BENCH_RUNS=x bench runs | head -1   # first")
    ['bench', 'runs']
    """
    lexer = shlex.shlex(line, posix=True, punctuation_chars="|>&;")
    lexer.whitespace_split = True
    words = []
    for word in lexer:
        if set(word) <= set("|>&;"):
            break
        words.append(word)
    while words and "=" in words[0] and words[0].partition("=")[0].isidentifier():
        del words[0]
    return words


def _parse(words: list[str]) -> click.Context:
    command: click.Command = app
    context = app.make_context("bench", words)
    while isinstance(command, click.Group):
        arguments = [*context._protected_args, *context.args]
        name, child, arguments = command.resolve_command(context, arguments)
        assert child is not None
        command, context = child, child.make_context(name, arguments, parent=context)
    return context


def _accept_path(self: click.Path, value: Any, param: object, ctx: object) -> Any:
    return Path(value) if self.type is Path else value
