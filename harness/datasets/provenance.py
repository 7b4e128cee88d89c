"""Record the state and origin of dataset files, and lock a dataset."""

from __future__ import annotations

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
from harness.system.locks import LockHeldError, take_lock

#: `ok`: the checksum of the file, or of its unpacked content, equals the published checksum.
#: `unverified`: no checksum is published, and the format is right.
#: `accepted`: the checksum or the size differs, the format is right, and the user accepted the file.
#: `missing`, `damaged`: the file cannot be used.
State = Literal["ok", "unverified", "accepted", "missing", "damaged"]


class FileState(Data, frozen=True, kw_only=True):
    """The state of a file or folder of a dataset.

    Args:
        name: name of the file or folder.
        state: see `State`.
        size: size in bytes; 0 for a folder, or for a file that is missing or cannot be read.
        sha256: SHA-256 in hex; empty for a folder, or for a file that is missing or cannot be read.
        detail: the problem; empty if the state is not `damaged`.
    """

    name: str
    state: State
    size: int = 0
    sha256: str = ""
    detail: str = ""

    @property
    def good(self) -> bool:
        """Whether the file or folder can be used."""
        return self.state in ("ok", "unverified", "accepted")


class FileNote(Data, frozen=True, kw_only=True):
    """The provenance of a file.

    Args:
        sha256: SHA-256 in hex.
        size: size in bytes.
        state: see `State`.
        origin: the URL or path from which the file was installed.
        time: time of installation, UTC, ISO 8601.
    """

    sha256: str
    size: int
    state: State
    origin: str
    time: str


class Provenance(Data, frozen=True, kw_only=True):
    """The content of `provenance.json`: the provenance of files by name."""

    schema: int = 1
    files: dict[str, FileNote] = msgspec.field(default_factory=dict)


def read_notes(entry: DatasetEntry) -> dict[str, FileNote]:
    """Return the provenance of a dataset's files by name; empty if there is no provenance file.

    Raises:
        DataError: the provenance file cannot be read or is damaged.
    """
    path = dataset_folder(entry) / PROVENANCE
    if not path.exists():
        return {}
    try:
        return read_struct(path, Provenance).files
    except StoreError as error:
        raise DataError(error.what, fix=f"delete the file, then run {fetch_command(entry)}") from None


def write_note(entry: DatasetEntry, state: FileState, origin: str) -> None:
    """Record the state and the origin of a file. The dataset must be locked.

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
    """Lock a dataset's folder against other processes and threads. The folder is created if needed.

    Raises:
        DataError: another process has locked the folder, or the folder cannot be created.
    """
    path = dataset_folder(entry) / ".lock"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = take_lock(path)
    except LockHeldError as error:
        raise DataError(
            f"dataset {entry.name} is being fetched by another process ({error.holder})", fix="wait until it has ended"
        ) from None
    except OSError as error:
        raise write_error(path.parent, error) from None
    try:
        yield
    finally:
        # The lock file stays. After a removal, two processes could hold locks at once: one on the removed file, and one
        # on a new file.
        os.close(descriptor)
