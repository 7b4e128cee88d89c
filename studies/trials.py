"""Run the trials of a study with a view of their progress."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import harness
from harness.contract.record import Record
from harness.contract.run import ExecutionOptions, RunSpec
from harness.plugins.registry import Registry
from harness.report.progress import LiveView, Plain


def run_visibly(
    specs: Sequence[RunSpec], runs: Path, options: ExecutionOptions, registry: Registry
) -> Iterator[Record]:
    """Run trials with the progress view of `bench run`, and yield their records. See `harness.run_trials`."""
    view = LiveView(len(specs)) if sys.stderr.isatty() else Plain(len(specs))
    with view as watcher:
        yield from harness.run_trials(specs, runs, options=options, watcher=watcher, registry=registry)
