"""A process that has imported every command of `bench`, and forks a process for each call."""

from __future__ import annotations

import importlib
import multiprocessing
import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from harness import cli
from harness.cli.app import COMMANDS

_FULL = "/dev/full"
_context = multiprocessing.get_context("forkserver")


class Outcome(NamedTuple):
    """The exit code of a process, and what it wrote."""

    code: int | None
    out: str
    err: str


def start() -> None:
    """Let the process from which the others are forked import this module."""
    _context.set_forkserver_preload(["tests.cli.warm"])


def call(
    arguments: Sequence[str],
    folder: Path,
    *,
    streams: Mapping[int, str] | None = None,
    encoding: str = "utf-8",
    keep_folder: bool = True,
) -> Outcome:
    """Run `bench` in a process of its own.

    Args:
        arguments: the arguments of `bench`.
        folder: the current folder.
        streams: `closed`, `full`, `unread` (a pipe without a reader) or the path of a file, by descriptor. Other
            streams write to files.
        encoding: the encoding of the standard streams.
        keep_folder: whether the current folder exists; otherwise it is removed before `bench` starts.
    """
    with tempfile.TemporaryDirectory() as name:
        files = {number: str(Path(name) / str(number)) for number in (1, 2)}
        process = _context.Process(
            target=_run, args=(list(arguments), folder, {**files, **(streams or {})}, encoding, keep_folder)
        )
        process.start()
        process.join(120)
        # click writes UTF-8 where the encoding is ASCII.
        written = "utf-8" if encoding == "ascii" else encoding
        texts = [Path(path).read_bytes().decode(written) if Path(path).exists() else "" for path in files.values()]
        return Outcome(process.exitcode, *texts)


def _open(target: str) -> int:
    if target == "unread":
        read_end, write_end = os.pipe()
        os.close(read_end)
        return write_end
    return os.open(_FULL if target == "full" else target, os.O_WRONLY | os.O_CREAT, 0o644)


def _run(arguments: list[str], folder: Path, streams: dict[int, str], encoding: str, keep_folder: bool) -> None:
    os.chdir(folder)
    if not keep_folder:
        folder.rmdir()
    opened = {number: _open(target) for number, target in streams.items() if target != "closed"}
    for number in streams:
        if number in opened:
            os.dup2(opened[number], number)
            os.close(opened[number])
        else:
            os.close(number)
    # As the interpreter does at its start.
    sys.stdout, sys.stderr = (
        None if streams[number] == "closed" else open(number, "w", encoding=encoding, closefd=False)  # noqa: SIM115
        for number in (1, 2)
    )
    try:
        cli.main(arguments)
    except SystemExit as error:
        if sys.stdout is not None:
            sys.stdout.flush()
        os._exit(error.code if isinstance(error.code, int) else 1)


if multiprocessing.parent_process() is not None:
    for location, _ in COMMANDS.values():
        importlib.import_module(location.partition(":")[0])
