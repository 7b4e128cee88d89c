"""Locks: exclusive also where a file system has none, with one warning; and every user of a lock relies on that."""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import subprocess
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from harness.contract.entries import DatasetEntry
from harness.datasets.provenance import lock_dataset
from harness.errors import BenchError
from harness.gating.series import SeriesFile
from harness.storage import ledger, packing
from harness.storage.run_folder import RunFolder
from harness.storage.staging import stage_changes
from harness.system import locks
from harness.system.locks import LockHeldError, take_lock

#: What a file system without locks answers.
ERRNOS = [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EBADF]


@pytest.fixture(params=ERRNOS, ids=errno.errorcode.get)
def share(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[bool], Path]:
    """Returns a folder whose file system has no locks; the argument is whether that of temporary files has them."""
    flock = fcntl.flock
    folder = tmp_path / "share"
    folder.mkdir()

    def make(has_temporary: bool) -> Path:
        def refuse(descriptor: int, operation: int) -> None:
            if not has_temporary or os.readlink(f"/proc/self/fd/{descriptor}").startswith(str(folder)):
                raise OSError(request.param, os.strerror(request.param))
            flock(descriptor, operation)

        (tmp_path / "temporary").mkdir()
        monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
        monkeypatch.setattr(fcntl, "flock", refuse)
        monkeypatch.setattr(locks, "_printed_warnings", set())
        return folder

    return make


def warnings_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]


def test_without_locks_a_temporary_file_is_locked(
    share: Callable[[bool], Path], caplog: pytest.LogCaptureFixture
) -> None:
    path = share(True) / "lock"
    descriptor = take_lock(path)
    with pytest.raises(LockHeldError) as caught:
        take_lock(path, timeout=0.1)
    assert caught.value.holder == str(os.getpid())
    os.close(take_lock(path.with_name("another")))
    os.close(descriptor)
    os.close(take_lock(path))
    (warning,) = warnings_of(caplog)
    assert "has no locks" in warning
    assert "from two machines at once" in warning
    assert repr(str(path.parent)) in warning


def test_without_any_locks_nothing_is_refused(share: Callable[[bool], Path], caplog: pytest.LogCaptureFixture) -> None:
    path = share(False) / "lock"
    first, second = take_lock(path), take_lock(path)
    (warning,) = warnings_of(caplog)
    assert "do not use this folder from two commands at once" in warning
    for descriptor in (first, second):
        os.close(descriptor)


def ledger_of(folder: Path) -> AbstractContextManager[None]:
    (folder / "ledger.jsonl").touch()
    return ledger._locked(folder / "ledger.jsonl")


USERS: dict[str, Callable[[Path], AbstractContextManager[Path | None]]] = {
    "run folder": lambda folder: RunFolder(folder, "run-1").lock(timeout=0.1),
    "dataset": lambda folder: lock_dataset(DatasetEntry(name="toy", title="t", licence="l", files=())),
    "packing": packing._locked,
    "publishing": stage_changes,
    "ledger": ledger_of,
    "series": lambda folder: SeriesFile(folder / "mine.json", "mine").locked(),
}


@pytest.mark.parametrize("user", USERS)
def test_every_lock_of_the_harness_has_the_fallback(
    user: str, share: Callable[[bool], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = share(True)
    monkeypatch.setenv("BENCH_DATA", str(folder))
    monkeypatch.setattr(ledger, "_LOCK_TIMEOUT_S", 0.1)
    monkeypatch.setattr("harness.storage.marks._LOCK_TIMEOUT_S", 0.1)
    for _ in range(2):  # the lock is released
        with USERS[user](folder), pytest.raises(BenchError, match="wait until it"), USERS[user](folder):
            pass


@pytest.mark.parametrize("user", USERS)
def test_another_error_is_one_line(user: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(descriptor: int, operation: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setenv("BENCH_DATA", str(tmp_path))
    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(BenchError, match="Input/output error"), USERS[user](tmp_path):
        pass


@pytest.mark.parametrize("has_locks", [True, False])
def test_a_process_that_inherits_the_descriptor_holds_the_lock(
    has_locks: bool, tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    if not has_locks:
        monkeypatch.setattr(locks, "_lock", _refuse_first(locks._lock))
    path = tmp_path / "lock"
    descriptor = take_lock(path)
    with subprocess.Popen(["sleep", "60"], pass_fds=[descriptor]) as child:
        os.close(descriptor)
        with pytest.raises(LockHeldError):
            take_lock(path)
        child.kill()
    os.close(take_lock(path))


def _refuse_first(lock: Callable[[int, float], None]) -> Callable[[int, float], None]:
    """Every other call, which is that for the file itself, finds no locks."""
    calls = iter(range(1000))

    def refuse(descriptor: int, timeout: float) -> None:
        if next(calls) % 2 == 0:
            raise OSError(errno.ENOLCK, "No locks available")
        lock(descriptor, timeout)

    return refuse


def test_a_folder_of_another_user_is_not_trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / f"algorace-locks-{os.getuid()}").symlink_to("elsewhere")
    assert locks._take_stand_in(tmp_path / "lock", 0.0) is None


def test_a_full_disk_does_not_refuse_a_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "pwrite", refuse)
    os.close(take_lock(tmp_path / "lock"))
