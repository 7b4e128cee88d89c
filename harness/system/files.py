"""Atomic writes, free names, and errors for failed writes."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from harness.errors import StoreError


def write_atomically(path: Path, *chunks: bytes) -> None:
    """Write a file so that a reader sees the old content or the new, never a part (temporary file, fsync, rename).

    Raises:
        StoreError: disk full, read-only or not permitted; what was there before is untouched.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "wb") as file:
            for chunk in chunks:
                file.write(chunk)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        sync_folder(path.parent)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise write_error(path, error) from error
        raise


def unused_path(path: Path) -> Path:
    """The path, or one like it that nothing has yet: what is put aside must not replace what was put aside before."""
    number, free = 1, path
    while free.exists():
        number += 1
        free = path.with_name(f"{path.name}.{number}")
    return free


def sync_folder(folder: Path) -> None:
    """Have the names in a folder on the disk, as `fsync` has the content of a file."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_error(path: Path, error: OSError) -> StoreError:
    """The error for a failed write, with what to do about it."""
    fixes = {
        errno.ENOSPC: "free some space and give the command again; it goes on where it was",
        errno.EDQUOT: "free some of your quota and give the command again; it goes on where it was",
        errno.EROFS: "name a writable folder with --runs",
        errno.EACCES: "name a writable folder with --runs",
        errno.EPERM: "name a writable folder with --runs",
    }
    return StoreError(f"cannot write {path}: {error.strerror or error}", fix=fixes.get(error.errno or 0))
