"""Trials on this machine, one after another, each in a worker process of its own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from harness.errors import DamagedError, StoreError
from harness.store import RECORD, RunFolder, free_name, run_id
from harness.supervise import Transport, Watcher, supervise
from harness.types import Record, RunSpec


def execute(
    specs: Sequence[RunSpec],
    runs: Path,
    watcher: Watcher,
    *,
    force: bool = False,
    transport: Transport | None = None,
) -> Iterator[Record]:
    """Carry out trials in order, and yield each one's record when it is written.

    A finished trial is kept, an interrupted one goes on, and with `force` every one starts anew.

    Args:
        runs: the folder with one folder per trial.
        transport: see `supervise`.
    """
    for spec in specs:
        folder = RunFolder(runs, run_id(spec))
        with folder.locked():
            if force:
                folder.set_aside()
            record = _sound_record(folder, spec, watcher)
            if record is not None and record.status != "interrupted":
                watcher.kept(record)
            else:
                record = supervise(folder, spec, watcher, transport=transport)
        yield record


def _sound_record(folder: RunFolder, spec: RunSpec, watcher: Watcher) -> Record | None:
    """The record that is there; a damaged one is put aside and the trial goes on from its checkpoint, if any."""
    try:
        return folder.record()
    except StoreError as error:
        if not isinstance(error, DamagedError):
            raise
        aside = free_name(folder.path / f"{RECORD}.corrupt")
        folder.record_path.replace(aside)
        watcher.warned(spec, f"{error.what}; kept as {aside.name}, running the trial again")
        return None
