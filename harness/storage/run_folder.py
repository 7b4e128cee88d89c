"""The folder of one trial, locked while it runs."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from harness.contract.record import Record
from harness.errors import StoreError
from harness.storage.layout import CHECKPOINTS, COMPILED, RECORD, SUPERSEDED
from harness.storage.records import encode, read_record, with_content_hash
from harness.system.files import write_atomically, write_error


class RunFolder:
    """The folder of one trial, locked for as long as this process and its worker live.

    Args:
        root: the runs folder.
        identity: the run_id.
    """

    def __init__(self, root: Path, identity: str) -> None:
        self.root = root
        self.identity = identity
        self.path = root / identity
        self.lock_descriptor = -1

    @property
    def record_path(self) -> Path:
        return self.path / RECORD

    def record(self) -> Record | None:
        """The record that is there, or None.

        Raises:
            StoreError: there is one, but it is damaged.
        """
        return read_record(self.record_path) if self.record_path.exists() else None

    def write(self, record: Record) -> Record:
        """Write the record; returns it with its hash."""
        record = with_content_hash(record)
        write_atomically(self.record_path, encode(record))
        return record

    @contextmanager
    def locked(self, patience: float = 10.0) -> Iterator[None]:
        """Hold the run's lock.

        The descriptor is inherited by the worker and the lock lasts until both are gone: a new supervisor
        waits out a worker whose supervisor was killed a moment ago.

        Raises:
            StoreError: the folder cannot be made, or somebody else is running this trial.
        """
        path = self.path / "lock"
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self.lock_descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise write_error(path, error) from error
        try:
            _flock(self.lock_descriptor, path, patience)
            for litter in self.path.glob(".*.tmp"):  # of a writer that was killed; only we write here now
                litter.unlink(missing_ok=True)
            yield
        finally:
            os.close(self.lock_descriptor)
            self.lock_descriptor = -1

    def set_aside(self, *, keep_checkpoints: bool = False) -> None:
        """Move what an earlier run left to `superseded/`, so that the trial starts anew and nothing is lost.

        Args:
            keep_checkpoints: those stay, with what the compiler made, for the trial to go on from.
        """
        contents = [p for p in self.path.iterdir() if p.name != "lock"] if self.path.exists() else []
        if keep_checkpoints:
            contents = [p for p in contents if p.name != COMPILED and not p.match(CHECKPOINTS)]
        if not contents:
            return
        aside = self.root / SUPERSEDED / f"{self.identity}-{time.strftime('%Y%m%dT%H%M%S')}-{time.time_ns() % 10**9:09}"
        try:
            aside.mkdir(parents=True)
            for path in contents:
                os.replace(path, aside / path.name)
        except OSError as error:
            raise write_error(aside, error) from error

    def drop_checkpoints(self) -> None:
        """Remove what only an unfinished run needs."""
        with contextlib.suppress(OSError):
            for path in self.path.glob(CHECKPOINTS):
                path.unlink(missing_ok=True)
        for name in ("scratch", COMPILED):
            shutil.rmtree(self.path / name, ignore_errors=True)


def _flock(descriptor: int, path: Path, patience: float) -> None:
    deadline = time.monotonic() + patience
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                holder = os.pread(descriptor, 32, 0).decode(errors="replace") or "unknown"
                raise StoreError(
                    f"this trial is already running (process {holder}, {path.parent})",
                    fix="wait for it, or stop it and give the command again",
                ) from None
            time.sleep(0.05)
            continue
        # Who holds it is only a courtesy to the next one who asks; a full disk must not stop a run here.
        with contextlib.suppress(OSError):
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, str(os.getpid()).encode(), 0)
        return
