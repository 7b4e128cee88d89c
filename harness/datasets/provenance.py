"""Provenance of dataset files: the state of each and where it came from; and the lock of a dataset."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Literal

import msgspec

from harness.contract.base import Data
from harness.contract.entries import DatasetEntry
from harness.datasets.paths import PROVENANCE, dataset_folder, write_error
from harness.datasets.selection import fetch_command
from harness.errors import DataError, StoreError
from harness.system.files import read_struct, write_atomically

#: `ok`: the checksum of the file, or of its unpacked content, is the published one. `unverified`: no checksum is
#: published; the format is right. `accepted`: another checksum, the right format, accepted by the user. Files that are
#: `missing` or `damaged` cannot be used.
State = Literal["ok", "unverified", "accepted", "missing", "damaged"]


class FileState(Data, frozen=True, kw_only=True):
    """The state of one file or folder of a dataset: size in bytes, SHA-256 in hex, and what is wrong with it."""

    name: str
    state: State
    size: int = 0
    sha256: str = ""
    detail: str = ""

    @property
    def good(self) -> bool:
        """Whether it can be used."""
        return self.state in ("ok", "unverified", "accepted")


class FileNote(Data, frozen=True, kw_only=True):
    """The provenance of one file: `origin` is a URL or a path, `time` is UTC, ISO 8601."""

    sha256: str
    size: int
    state: State
    origin: str
    time: str


class Provenance(Data, frozen=True, kw_only=True):
    """The content of `provenance.json`: a note per file, by name."""

    schema: int = 1
    files: dict[str, FileNote] = msgspec.field(default_factory=dict)


def read_notes(entry: DatasetEntry) -> dict[str, FileNote]:
    """The notes on a dataset's files, by name; empty where there are none.

    Raises:
        DataError: the notes cannot be read or are damaged.
    """
    path = dataset_folder(entry) / PROVENANCE
    if not path.exists():
        return {}
    try:
        return read_struct(path, Provenance).files
    except StoreError as error:
        raise DataError(error.what, fix=f"delete it, then: {fetch_command(entry)}") from None


def write_note(entry: DatasetEntry, state: FileState, origin: str) -> None:
    """Note the state of a file and where it came from; the dataset must be locked.

    Raises:
        DataError: the folder is not writable.
    """
    now = datetime.now(UTC).isoformat(timespec="seconds")
    note = FileNote(sha256=state.sha256, size=state.size, state=state.state, origin=origin, time=now)
    content = Provenance(files={**read_notes(entry), state.name: note})
    encoded = msgspec.json.format(msgspec.json.encode(content, order="deterministic"), indent=1) + b"\n"
    write_atomically(dataset_folder(entry) / PROVENANCE, encoded, error_for=write_error)


@contextmanager
def lock_dataset(entry: DatasetEntry) -> Iterator[None]:
    """Hold the dataset's folder, which is made if needed, against other processes and threads.

    Raises:
        DataError: another process holds it, or it cannot be made.
    """
    path = dataset_folder(entry) / ".lock"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise write_error(path.parent, error) from None
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(descriptor, 32, 0).decode(errors="replace").strip() or "unknown"
            raise DataError(
                f"dataset {entry.name} is being fetched by another process ({holder})", fix="wait until it has ended"
            ) from None
        except OSError as error:
            raise write_error(path, error) from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, str(os.getpid()).encode(), 0)
        yield
    finally:
        # The file stays: if it were removed, a third process could lock a new file beside this one.
        os.close(descriptor)
