"""Exclusive locks on files, even on a file system without locks.

Some network and FUSE file systems have no locks. There, a file in the folder for temporary files is locked instead. The
lock excludes the processes of this machine, but not those of other machines. If the file in the folder for temporary
files cannot be created or locked, nothing is locked. Each of the two cases causes one warning per process.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import logging
import os
import tempfile
import time
from pathlib import Path

from harness.errors import StoreError
from harness.system.files import write_error

#: The errors of `flock` on a file system without locks. NFS can lock only files that are open for writing, so locking a
#: folder fails with EBADF.
UNSUPPORTED = frozenset({errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EBADF})
_POLL_S = 0.05
#: The warnings without locks. Their arguments are the folder and the error.
_NOT_BETWEEN_MACHINES = (
    "warning: the file system of %r has no locks (%s); do not use this folder from two machines at once"
)
_NOT_AT_ALL = (
    "warning: the file system of %r has no locks (%s), and no temporary file can be locked instead; do not use this "
    "folder from two commands at once"
)
_logger = logging.getLogger(__name__)
#: The warnings that this process has printed.
_printed_warnings: set[str] = set()


class LockHeldError(Exception):
    """Another process holds the lock.

    Args:
        holder: process id of the other process, or `unknown`.
    """

    def __init__(self, holder: str) -> None:
        super().__init__(f"locked by process {holder}")
        self.holder = holder


def take_lock(path: Path, *, timeout: float = 0.0, has_content: bool = False) -> int:
    """Lock a file or folder. The id of this process is written to a file that serves only as a lock.

    A process that inherits the descriptor also holds the lock. The lock lasts until all copies of the descriptor are
    closed.

    Args:
        path: the file, which is created if it does not exist, or the folder.
        timeout: seconds to wait while another process holds the lock.
        has_content: whether the path is a folder, or a file whose content must not be replaced by a process id.

    Returns:
        The descriptor that holds the lock, if the system can lock the file. To release the lock, close it.

    Raises:
        LockHeldError: another process holds the lock.
        OSError: the file cannot be opened or locked.
    """
    descriptor = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR | os.O_CREAT, 0o644)
    try:
        _lock(descriptor, timeout)
    except OSError as error:
        if error.errno not in UNSUPPORTED:
            os.close(descriptor)
            raise
        try:
            stand_in = _take_stand_in(path, timeout)
        except LockHeldError:
            _warn_once(_NOT_BETWEEN_MACHINES, path, error)
            os.close(descriptor)
            raise
        if stand_in is None:
            _warn_once(_NOT_AT_ALL, path, error)
            return descriptor
        _warn_once(_NOT_BETWEEN_MACHINES, path, error)
        os.close(descriptor)
        return stand_in
    except BaseException:
        os.close(descriptor)
        raise
    if not has_content:
        _write_holder(descriptor)
    return descriptor


def wait_for_lock(path: Path, timeout: float) -> int:
    """Lock a folder, or a file with content, with `take_lock`, and wait while another process holds the lock.

    Raises:
        StoreError: another process holds the lock for longer than `timeout` seconds, or the path cannot be opened.
    """
    try:
        return take_lock(path, timeout=timeout, has_content=True)
    except LockHeldError:
        problem = f"{path} has been locked by another process for {timeout:.0f} s"
        raise StoreError(problem, fix="wait until it ends, or stop it, and repeat the command") from None
    except OSError as error:
        raise write_error(path, error) from None


def _lock(descriptor: int, timeout: float) -> None:
    """Lock an open file, waiting up to `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                raise LockHeldError(_read_holder(descriptor)) from None
            time.sleep(_POLL_S)
            continue
        return


def _take_stand_in(path: Path, timeout: float) -> int | None:
    """Lock a file that stands for `path` in the folder for temporary files; None if this is not possible."""
    name = hashlib.sha256(os.fsencode(path.absolute().resolve())).hexdigest()[:32]
    with contextlib.suppress(OSError):
        folder = Path(tempfile.gettempdir()) / f"algorace-locks-{os.getuid()}"
        folder.mkdir(mode=0o700, exist_ok=True)
        # Another user may have created the folder, or a link with its name.
        if folder.lstat().st_uid != os.getuid() or folder.is_symlink():
            return None
        descriptor = os.open(folder / f"{name}.lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        try:
            _lock(descriptor, timeout)
        except BaseException:
            os.close(descriptor)
            raise
        _write_holder(descriptor)
        return descriptor
    return None


def _read_holder(descriptor: int) -> str:
    """Return the process id in a lock file; `unknown` for any other file or folder."""
    with contextlib.suppress(OSError, ValueError):
        return str(int(os.pread(descriptor, 32, 0)))
    return "unknown"


def _write_holder(descriptor: int) -> None:
    # The process id is used only in error messages, so a full disk must not stop the command here.
    with contextlib.suppress(OSError):
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, str(os.getpid()).encode(), 0)


def _warn_once(warning: str, path: Path, error: OSError) -> None:
    """Print a warning, unless this process has printed it before."""
    if warning not in _printed_warnings:
        _printed_warnings.add(warning)
        _logger.warning(warning, str(path.parent), error.strerror)
