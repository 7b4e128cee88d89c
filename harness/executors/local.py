"""Trials on this machine, one after another, each in a worker process of its own."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from harness.executors.trial import carry_out, outcome
from harness.supervise import Transport, Watcher
from harness.types import Execution, Outcome, RunSpec


def execute(specs: Sequence[RunSpec], runs: Path, watcher: Watcher, how: Execution | None = None) -> Iterator[Outcome]:
    """Carry out trials in order, and yield each one's outcome when its record is written.

    A finished trial is kept, an interrupted one goes on.

    Args:
        runs: the folder with one folder per trial.
        how: see `Execution`.
    """
    how = how or Execution()
    transport = _in_process() if how.in_process else None
    for spec in specs:
        record, kept = carry_out(spec, runs, watcher, how, transport)
        yield outcome(spec, runs, record, kept)


def _in_process() -> Transport:
    """The worker's own entry, in this process.

    By name: nothing on this side imports torch, so that planning, tables and `--help` stay light.
    """
    transport: Transport = importlib.import_module("harness.worker.host").execute
    return transport
