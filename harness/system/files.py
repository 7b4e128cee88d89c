"""Write files atomically, read and validate them, and create the errors for failed reads and writes."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, TypeVar

import msgspec

from harness.errors import BenchError, DamagedError, StoreError

T = TypeVar("T")
_FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*")


def is_file_name(name: str) -> bool:
    """Return whether a name is a valid file name on every system: letters, digits and any of . _ + -, without folders.

    >>> is_file_name("train-0001.bin"), is_file_name("../train.bin"), is_file_name(".hidden"), is_file_name("a:b")
    (True, False, False, False)
    """
    return _FILE_NAME.fullmatch(name) is not None


#: Function that returns the error for a failed write. Its arguments are the path and the cause.
ErrorFor = Callable[[Path, OSError], BenchError]


def write_atomically(path: Path, *chunks: bytes, error_for: ErrorFor | None = None) -> None:
    """Write a file so that a reader sees either the old content or the complete new content.

    Args:
        path: the file to write.
        chunks: the new content, in pieces.
        error_for: function that returns the error for a failed write; `write_error` if None.

    Raises:
        StoreError: the disk is full or read-only, or writing is not permitted; the old content is unchanged.
    """
    with open_atomically(path, error_for=error_for) as file:
        for chunk in chunks:
            file.write(chunk)


@contextmanager
def open_atomically(path: Path, *, error_for: ErrorFor | None = None) -> Iterator[BinaryIO]:
    """Open a temporary file in the folder of `path` for writing and reading, then sync it and rename it to `path`.

    If the block raises an error, the temporary file is removed and the old content is unchanged.

    Args:
        path: the file to write.
        error_for: function that returns the error for a failed write; `write_error` if None.

    Raises:
        StoreError: the disk is full or read-only, or writing is not permitted.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "w+b") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        sync_folder(path.parent)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise (error_for or write_error)(path, error) from error
        raise


def read_file(path: Path) -> bytes:
    """Return the content of a file.

    Raises:
        StoreError: the file cannot be read. The message contains the path.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise read_error(path, error) from None


def read_struct(path: Path, expected: type[T]) -> T:
    """Decode a JSON file as a struct and validate it.

    Raises:
        StoreError: the file cannot be read.
        DamagedError: the file is not valid JSON, or a field is missing, unknown or of another type.
    """
    try:
        return msgspec.json.decode(read_file(path), type=expected)
    except msgspec.DecodeError as error:
        raise DamagedError(f"{path} is damaged: {error}", fix="restore it, or remove it") from None


def unused_path(path: Path) -> Path:
    """Return the path itself if it does not exist, otherwise the first of `path.2`, `path.3`, … that does not exist."""
    number, candidate = 1, path
    while candidate.exists():
        number += 1
        candidate = path.with_name(f"{path.name}.{number}")
    return candidate


def sync_folder(folder: Path) -> None:
    """Sync a folder's entries to disk, since `fsync` of a file syncs only the file's content."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_error(path: Path, error: OSError) -> StoreError:
    """Return the error for a failed read. The message contains the path of the file."""
    problem = f"cannot read {path}: {error.strerror or error}"
    return StoreError(problem, fix="check that it exists and that you may read it")


def write_error(path: Path, error: OSError) -> StoreError:
    """Return the error for a failed write of a run's file or a record."""
    return StoreError(f"cannot write {path}: {error.strerror or error}", fix=write_fix(path, error, "--runs"))


def write_fix(path: Path, error: OSError, setting: str) -> str:
    """Return what a user can do about a failed write.

    Args:
        path: the file that could not be written.
        error: the cause.
        setting: name of the option or environment variable that sets the folder.
    """
    permission = f"make {path.parent} writable, or choose another folder with {setting}"
    fixes = {
        errno.ENOSPC: "free some space and repeat the command, which resumes where it stopped",
        errno.EDQUOT: "free some of your quota and repeat the command, which resumes where it stopped",
        errno.EROFS: permission,
        errno.EACCES: permission,
        errno.EPERM: permission,
    }
    return fixes.get(error.errno or 0, f"check that {path.parent} is a folder, or choose another one with {setting}")
