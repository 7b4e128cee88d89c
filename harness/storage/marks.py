"""Read and append marks of records. A mark states that a record is doubted, withdrawn or restored.

The file `marks.jsonl` is in the folder of the marked records, or in a folder above it. Each line is a mark. Lines are
only appended, so the history of a record stays visible. The mark with the latest time counts for a record. The order of
the lines does not matter, so two versions of the file can be merged line by line.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Final

import msgspec

from harness.contract.marks import Mark, Marks
from harness.errors import StoreError
from harness.storage.layout import SUPERSEDED, ListedFolder, is_run_id
from harness.system.files import decode_json, read_file, sync_folder, walk_folders, write_error
from harness.system.locks import wait_for_lock

#: Name of the file with the marks.
MARKS: Final = "marks.jsonl"
#: Number of folders above a folder of records in which the file is looked for. It is 3, because the file is in RESULTS/
#: and the records are in RESULTS/HARDWARE/WORKLOAD/SUBMISSION/.
_MAX_LEVELS_ABOVE = 3
#: Seconds to wait for the lock. Appending a mark takes milliseconds, but publishing into the folder may take longer.
_LOCK_TIMEOUT_S = 60.0


def append_mark(folder: Path, mark: Mark) -> Path:
    """Append a mark to `marks.jsonl` in a folder of records, and return the path of this file.

    Raises:
        StoreError: the file cannot be written, or another process holds the lock of the folder.
    """
    path = folder / MARKS
    with lock_marks(folder):
        append_lines(path, [mark])
    return path


def append_lines(path: Path, marks: Iterable[Mark]) -> None:
    """Append marks to a file whose folder is locked. An incomplete last line, left by a killed process, is removed.

    Raises:
        StoreError: the file cannot be written.
    """
    lines = b"".join(msgspec.json.encode(mark, order="deterministic") + b"\n" for mark in marks)
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            size = os.fstat(descriptor).st_size
            complete = os.pread(descriptor, size, 0).rfind(b"\n") + 1
            os.ftruncate(descriptor, complete)
            os.pwrite(descriptor, lines, complete)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        sync_folder(path.parent)
    except OSError as error:
        raise write_error(path, error) from None


@contextmanager
def lock_marks(folder: Path) -> Iterator[None]:
    """Lock a folder of records against other processes that mark or publish records.

    Publishing replaces the whole folder. If this happens while this function waits, it locks the new folder.

    Raises:
        StoreError: another process holds the lock, or the folder cannot be opened.
    """
    descriptor = -1
    try:
        while descriptor < 0 or not _is_current(folder, descriptor):
            if descriptor >= 0:
                os.close(descriptor)
            descriptor = wait_for_lock(folder, _LOCK_TIMEOUT_S)
    except OSError as error:
        raise write_error(folder, error) from None
    try:
        yield
    finally:
        os.close(descriptor)


def _is_current(folder: Path, descriptor: int) -> bool:
    """Return whether a descriptor belongs to the folder that currently has this path."""
    current, locked = os.stat(folder), os.fstat(descriptor)
    # On a file system without locks, another file is locked instead of the folder.
    return (current.st_dev, current.st_ino) == (locked.st_dev, locked.st_ino) or not stat.S_ISDIR(locked.st_mode)


def index_marks(folders: Iterable[Path], problems: list[str], listed: Iterable[ListedFolder] | None = None) -> Marks:
    """Return the latest mark of each marked record, from the files of marks of some folders.

    A record whose latest mark is `restored` has no entry in the result.

    The file of marks is looked for in each folder, and in the folders below and above it. It may be above because a
    command may read only a part of the published records.

    Args:
        folders: folders of records.
        problems: list to which a one-line message is appended for each line that cannot be read.
        listed: these folders and the folders below them, with the names of their files; None to list them here.
    """
    current = {mark.key: mark for mark in read_marks(folders, problems, listed)}
    return {key: mark for key, mark in current.items() if mark.event != "restored"}


def read_marks(
    folders: Iterable[Path], problems: list[str], listed: Iterable[ListedFolder] | None = None
) -> list[Mark]:
    """Return all marks in the files that `index_marks` reads, sorted by time.

    Args:
        folders, problems, listed: see `index_marks`.
    """
    folders = list(folders)
    above = (path for folder in folders for path in _find_files_above(folder))
    if listed is None:
        below = (path for folder in folders for path in _find_files_below(folder))
    else:
        below = (folder / MARKS for folder, names in listed if MARKS in names)
    files = {path.absolute(): path for path in chain(above, below)}
    history = [mark for path in files.values() for mark in _read_lines(path, problems)]
    return sorted(history, key=lambda mark: mark.time)


def _read_lines(path: Path, problems: list[str]) -> list[Mark]:
    """Return the marks in a file, and append a one-line message for each line that cannot be read."""
    try:
        content = read_file(path)
    except StoreError as error:
        problems.append(str(error))
        return []
    marks = []
    # A last line without a line break is incomplete: the process that wrote it was killed.
    for number, line in enumerate(content.split(b"\n")[:-1], start=1):
        if not line:
            continue
        try:
            marks.append(decode_json(line, f"line {number} of {path}", Mark))
        except StoreError as error:
            problems.append(str(error))
    return marks


def _find_files_above(folder: Path) -> Iterator[Path]:
    for above in folder.absolute().parents[:_MAX_LEVELS_ABOVE]:
        if os.path.isfile(above / MARKS):
            yield above / MARKS


def _find_files_below(folder: Path) -> Iterator[Path]:
    # Folders that cannot be listed are reported when the records are read.
    for path, subfolders, names in walk_folders(folder, lambda path, error: None):
        subfolders[:] = [name for name in subfolders if name != SUPERSEDED and not is_run_id(name)]
        if MARKS in names:
            yield path / MARKS
