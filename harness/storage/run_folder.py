"""The folder of one trial, which is locked while the trial runs."""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from harness.contract.record import Record
from harness.errors import StoreError
from harness.storage.layout import ACCOUNT, CHECKPOINTS, COMPILED, EVALUATOR, RECORD, SUPERSEDED
from harness.storage.records import add_content_hash, encode, read_record
from harness.storage.verified import digest_of, verified_records
from harness.system.files import write_atomically, write_error
from harness.system.locks import LockHeldError, take_lock


class RunFolder:
    """The folder of one trial.

    Args:
        root: folder with one subfolder per trial.
        identity: the trial's run_id, which is the name of its folder.
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
        """Return the record, or None if the trial has no record yet.

        Raises:
            StoreError: the record cannot be read or is damaged.
        """
        return read_record(self.record_path) if self.record_path.exists() else None

    def write(self, record: Record) -> Record:
        """Write the record, and return it with its content hash."""
        record = add_content_hash(record)
        content = encode(record)
        write_atomically(self.record_path, content)
        verified = verified_records()
        verified.add(digest_of(content))
        verified.save()
        return record

    @contextmanager
    def lock(self, timeout: float = 10.0) -> Iterator[None]:
        """Hold the lock of this trial.

        The worker inherits the lock's descriptor, so the lock lasts until both supervisor and worker have ended. If a
        supervisor is killed, the next supervisor waits until the worker of the killed supervisor has ended.

        Args:
            timeout: seconds to wait for the lock.

        Raises:
            StoreError: the folder cannot be created, or another process is running this trial.
        """
        path = self.path / "lock"
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self.lock_descriptor = take_lock(path, timeout=timeout)
        except LockHeldError as error:
            raise StoreError(
                f"this trial is already running (process {error.holder}, {self.path})",
                fix="wait until it ends, or stop it and repeat the command",
            ) from None
        except OSError as error:
            raise write_error(path, error) from error
        try:
            # While the lock is held, no other process writes here. Temporary files were left by a process that was
            # killed.
            for temporary in self.path.glob(".*.tmp"):
                temporary.unlink(missing_ok=True)
            yield
        finally:
            os.close(self.lock_descriptor)
            self.lock_descriptor = -1

    def supersede(self, *, keep_checkpoints: bool = False) -> None:
        """Move the files of an earlier run of this trial to `superseded/`, so that the trial runs again.

        Args:
            keep_checkpoints: whether checkpoints, the account and the compiler's cache stay, so that the trial resumes
                from the last checkpoint; otherwise the trial starts from the beginning.
        """
        contents = [p for p in self.path.iterdir() if p.name != "lock"] if self.path.exists() else []
        if keep_checkpoints:
            contents = [
                p for p in contents if p.name not in (COMPILED, ACCOUNT, EVALUATOR) and not p.match(CHECKPOINTS)
            ]
        if not contents:
            return
        time_stamp = f"{time.strftime('%Y%m%dT%H%M%S')}-{time.time_ns() % 10**9:09}"
        target = self.root / SUPERSEDED / f"{self.identity}-{time_stamp}"
        try:
            target.mkdir(parents=True)
            for path in contents:
                os.replace(path, target / path.name)
        except OSError as error:
            raise write_error(target, error) from error

    def count_superseded(self) -> int:
        """Return the number of earlier runs of this trial that were moved to `superseded/`."""
        folder = self.root / SUPERSEDED
        return sum(1 for _ in folder.glob(f"{self.identity}-*")) if folder.exists() else 0

    def remove_checkpoints(self) -> None:
        """Remove what only an unfinished run needs: checkpoints, account, scratch files and the compiler's cache."""
        with contextlib.suppress(OSError):
            for path in (*self.path.glob(CHECKPOINTS), self.path / ACCOUNT):
                path.unlink(missing_ok=True)
        for name in ("scratch", COMPILED, EVALUATOR):
            shutil.rmtree(self.path / name, ignore_errors=True)
