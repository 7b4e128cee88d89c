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
from harness.errors import TrialLockedError
from harness.storage.layout import (
    ACCOUNT,
    CHECKPOINTS,
    COMPILED,
    DAMAGED_CHECKPOINTS,
    EVALUATOR,
    FINAL_WEIGHTS,
    RECORD,
    SUPERSEDED,
    WORKER,
)
from harness.storage.records import add_content_hash, encode, read_record
from harness.storage.verified import digest_of, verified_records
from harness.system.files import unused_path, write_atomically, write_error
from harness.system.locks import LockHeldError, take_lock


class RunFolder:
    """The folder of one trial.

    Args:
        root: folder with one subfolder per trial.
        identity: the trial's run_id. It is also the name of the trial's folder.
    """

    def __init__(self, root: Path, identity: str) -> None:
        self.root = root
        self.identity = identity
        self.path = root / identity
        self.lock_descriptor = -1

    @property
    def record_path(self) -> Path:
        return self.path / RECORD

    @property
    def worker_path(self) -> Path:
        """The folder in which the worker may write: checkpoints, the compiler's cache and temporary files."""
        return self.path / WORKER

    @property
    def has_checkpoint(self) -> bool:
        """Whether the folder contains a checkpoint, from which the trial resumes."""
        # Earlier versions wrote checkpoints beside the record.
        return any((folder / name).exists() for folder in (self.worker_path, self.path) for name in CHECKPOINTS)

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

        The worker inherits the lock's descriptor, so the lock lasts until the supervisor and the worker have ended. For
        example, if a supervisor is killed, the next supervisor waits for the end of the old worker.

        Args:
            timeout: seconds to wait for the lock.

        Raises:
            TrialLockedError: another process is running this trial.
            StoreError: the folder cannot be created.
        """
        path = self.path / "lock"
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self.lock_descriptor = take_lock(path, timeout=timeout)
        except LockHeldError as error:
            raise TrialLockedError(
                f"this trial is already running (process {error.holder}, {self.path})",
                fix="wait until it ends, or stop it and repeat the command",
            ) from None
        except OSError as error:
            raise write_error(path, error) from error
        try:
            # No other process writes here while the lock is held, so a killed process left the temporary files.
            for folder in (self.path, self.worker_path):
                for temporary in folder.glob(".*.tmp"):
                    temporary.unlink(missing_ok=True)
            yield
        finally:
            os.close(self.lock_descriptor)
            self.lock_descriptor = -1

    def lock_holder(self) -> str | None:
        """Return the id of the process that is running this trial (`unknown` if it is unreadable), or None.

        The lock is taken for a moment. If another process tries to take it in this moment, that process has to wait.

        Raises:
            StoreError: the lock cannot be opened.
        """
        path = self.path / "lock"
        try:
            if not path.exists():
                return None
            os.close(take_lock(path, has_content=True))
        except LockHeldError as error:
            return error.holder
        except OSError as error:
            raise write_error(path, error) from error
        return None

    def supersede(self, *, keep_checkpoints: bool = False) -> None:
        """Move the files of an earlier run of this trial to `superseded/`, so that the trial can run again.

        Args:
            keep_checkpoints: whether the files of an unfinished run stay: the worker's folder, the account and the
                results of evaluations. The trial then resumes from its last checkpoint.
        """
        contents = [p for p in self.path.iterdir() if p.name != "lock"] if self.path.exists() else []
        if keep_checkpoints:
            contents = [p for p in contents if p.name not in (WORKER, ACCOUNT, EVALUATOR, *CHECKPOINTS)]
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

    def prepare_worker(self, *, has_results: bool = False, has_compiler_cache: bool = False) -> None:
        """Make the worker's folder, or clean the folder that an earlier worker left.

        The checkpoints stay, because the new worker resumes from them. Other files are removed, so that a submission
        cannot leave anything for the next worker.

        Args:
            has_results: whether the folder contains results of evaluations, which are kept.
            has_compiler_cache: whether the folder contains the compiler's cache, which is kept.

        Raises:
            StoreError: the folder cannot be written.
        """
        folder = self.worker_path
        kept = {*CHECKPOINTS, *([EVALUATOR] if has_results else []), *([COMPILED] if has_compiler_cache else [])}
        try:
            folder.mkdir(exist_ok=True)
            for path in folder.iterdir():
                if path.name not in kept:
                    _remove(path)
            # Earlier versions wrote checkpoints beside the record.
            for path in filter(Path.exists, map(self.path.joinpath, CHECKPOINTS)):
                os.replace(path, folder / path.name)
        except OSError as error:
            raise write_error(folder, error) from error

    def collect_worker_files(self) -> None:
        """Move files that are kept from the worker's folder to the run's folder, after the worker has ended.

        These files are damaged checkpoints and, if the worker evaluated its own weights, the final weights.

        Raises:
            StoreError: the folder cannot be written.
        """
        weights = self.worker_path / FINAL_WEIGHTS
        try:
            if weights.is_file() and not weights.is_symlink():
                os.replace(weights, self.path / FINAL_WEIGHTS)
            for path in self.worker_path.glob(DAMAGED_CHECKPOINTS):
                os.replace(path, unused_path(self.path / path.name))
        except OSError as error:
            raise write_error(self.path, error) from error

    def remove_checkpoints(self) -> None:
        """Remove the files that only an unfinished run needs: the worker's and evaluator's folders, and the account."""
        with contextlib.suppress(OSError):
            (self.path / ACCOUNT).unlink(missing_ok=True)
        for name in (WORKER, EVALUATOR):
            shutil.rmtree(self.path / name, ignore_errors=True)


def _remove(path: Path) -> None:
    """Remove a file, a link, or a folder with everything in it."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
