"""Verify dataset files: hash them, compare them with the published checksums, and check their format."""

from __future__ import annotations

import gzip
import hashlib
import os
import zlib
from collections.abc import Sequence
from pathlib import Path

from harness.contract.entries import DatasetEntry, DatasetFile
from harness.datasets.http import CHUNK, Progress
from harness.datasets.paths import file_path
from harness.datasets.provenance import FileNote, FileState, State, read_notes
from harness.datasets.selection import select_names
from harness.errors import DataError, StoreError
from harness.plugins.loading import drop_output, load_object
from harness.system.files import open_regular, read_error


def verify(entry: DatasetEntry, only: Sequence[str] = (), progress: Progress | None = None) -> list[FileState]:
    """Return the state of every file and folder of a dataset, without changing them.

    Args:
        entry: the dataset.
        only: patterns of file names; all files if empty.
        progress: function that is called when bytes are hashed.

    Raises:
        UsageError: a pattern matches nothing.
        DataError: the provenance file is damaged.
        PluginError: the name of a file or folder is not allowed (see `file_path`).
    """
    names, notes = select_names(entry, only), read_notes(entry)
    states = [file_state(entry, file, notes.get(file.name), progress) for file in entry.files if file.name in names]
    return states + [folder_state(entry, name) for name in entry.folders if name in names]


def file_state(
    entry: DatasetEntry, file: DatasetFile, note: FileNote | None, progress: Progress | None = None
) -> FileState:
    """Return the state of a file in the dataset's folder."""
    path = file_path(entry, file.name)
    if not path.is_file():
        return FileState(name=file.name, state="missing")
    try:
        digest = hash_file(path, file, progress)
    except DataError as error:
        return FileState(name=file.name, state="damaged", detail=error.what)
    return judge_file(entry, file, path, digest, note)


def judge_file(
    entry: DatasetEntry,
    file: DatasetFile,
    path: Path,
    digest: str,
    note: FileNote | None = None,
    *,
    accept: bool = False,
) -> FileState:
    """Return the state of a file at any path, judged by its SHA-256.

    Args:
        entry: the dataset.
        file: the expected file.
        path: path of the file.
        digest: SHA-256 of the file, in hex.
        note: the provenance recorded at installation; None if there is none. If no checksum is published, a file that
            has changed since then is damaged.
        accept: whether to accept a file of the right format whose checksum or size differs from the published one.
    """
    size = path.stat().st_size
    accept = accept or (note is not None and note.state == "accepted" and note.sha256 == digest)
    state: State = "ok" if file.sha256 else "unverified"
    problem = _find_mismatch(file, path, size, digest, note)
    if problem and accept:
        problem, state = "", "accepted"
    # Without a published checksum, the format shows whether the file can be used. If the file differs from the
    # published file, a wrong format may explain the difference.
    if problem or state != "ok":
        problem = "; ".join(filter(None, (problem, _check_format_of_file(entry, path))))
    return FileState(name=file.name, state="damaged" if problem else state, size=size, sha256=digest, detail=problem)


def _find_mismatch(file: DatasetFile, path: Path, size: int, digest: str, note: FileNote | None) -> str:
    """Return a clause that says how a file differs from the published file, or an empty string.

    Without a published checksum, the file is compared with the provenance that was recorded at installation.
    """
    if file.sha256:
        if digest == file.sha256 or (file.content_sha256 and _hash_unpacked(path) == file.content_sha256):
            return ""
        published_size = f" ({file.size:,} bytes)" if file.size else ""
        return f"sha256 is {digest} ({size:,} bytes), expected {file.sha256}{published_size}"
    if file.size not in (0, size):
        return f"it has {size:,} bytes, expected {file.size:,}"
    if note is not None and note.sha256 != digest:
        return f"it has changed: sha256 is {digest}, was {note.sha256} when it was installed"
    return ""


def _hash_unpacked(path: Path) -> str:
    """Return the SHA-256 of a gzip file's unpacked content, in hex; empty if the file is invalid."""
    digest = hashlib.sha256()
    try:
        with gzip.open(path) as file:
            while chunk := file.read(CHUNK):
                digest.update(chunk)
    except (OSError, EOFError, zlib.error):
        return ""
    return digest.hexdigest()


def folder_state(entry: DatasetEntry, name: str, path: Path | None = None) -> FileState:
    """Return the state of a folder that the user provides, judged by the entry's check of its layout."""
    path = path or file_path(entry, name)
    if not path.is_dir():
        return FileState(name=name, state="missing")
    problem = _check_format(entry, path)
    return FileState(name=name, state="damaged" if problem else "unverified", detail=problem)


def _check_format_of_file(entry: DatasetEntry, path: Path) -> str:
    """Return the problem that `_check_format` reports, without the path, which the caller prints."""
    problem = _check_format(entry, path)
    without_path = problem.removeprefix(str(path))
    if without_path == problem:
        return problem
    return without_path.removeprefix(": ") if without_path.startswith(": ") else f"it{without_path}"


def _check_format(entry: DatasetEntry, path: Path) -> str:
    """Return the problem that the entry's check reports for a file or folder; empty if there is none."""
    if not entry.check:
        return ""
    try:
        with drop_output():
            load_object(entry.check)(path)
    except DataError as error:
        return str(error)
    except OSError as error:
        return f"{path} cannot be read: {error.strerror or error}"
    except Exception as error:  # The check is code of a plugin, and its author has not foreseen this content.
        return f"{path} cannot be checked by {entry.check} ({type(error).__name__}: {error})"
    return ""


#: A file may be at most this many times as large as the published file. The limit is high, because a user may accept
#: another file of the same format.
_MAX_SIZE_FACTOR = 1000


def hash_file(path: Path, expected: DatasetFile, progress: Progress | None = None) -> str:
    """Return the SHA-256 of a file in hex.

    Args:
        path: path of the file.
        expected: the file that the dataset expects.
        progress: function that is called when bytes are hashed.

    Raises:
        DataError: the file cannot be read, is not a regular file, or is far larger than the expected file.
    """
    digest, done = hashlib.sha256(), 0
    try:
        with open_regular(path) as file:
            total = os.fstat(file.fileno()).st_size
            # Hashing a sparse file or a disk image under the name of a small file would take hours.
            if expected.size and total > _MAX_SIZE_FACTOR * max(expected.size, CHUNK):
                problem = f"{path} has {total:,} bytes, expected {expected.size:,}"
                raise DataError(problem, fix="give the published file")
            while chunk := file.read(CHUNK):
                digest.update(chunk)
                done += len(chunk)
                if progress:
                    progress(expected.name, done, total)
    except OSError as error:
        raise _data_error(read_error(path, error)) from None
    except StoreError as error:
        raise _data_error(error) from None
    return digest.hexdigest()


def _data_error(error: StoreError) -> DataError:
    return DataError(error.what, fix=error.fix)
