"""Management of datasets on this machine: download, import, verification."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from harness.contract.entries import DatasetEntry, DatasetFile
from harness.datasets.http import Progress, RetryPolicy
from harness.datasets.installation import Installer, link_folder, quarantine
from harness.datasets.local import dataset_path, missing_names, size_mismatches
from harness.datasets.paths import PROVENANCE, data_folder, dataset_folder, file_path
from harness.datasets.provenance import FileState, State, lock_dataset, read_notes, write_note
from harness.datasets.selection import parse_tokens, select_by_tokens, select_names
from harness.datasets.sources import FolderSource, WebSource, open_source
from harness.datasets.verification import file_state, verify
from harness.errors import DataError

__all__ = [
    "PROVENANCE",
    "FileState",
    "Progress",
    "RetryPolicy",
    "State",
    "data_folder",
    "dataset_folder",
    "dataset_path",
    "get",
    "import_folder",
    "missing_names",
    "parse_tokens",
    "select_by_tokens",
    "size_mismatches",
    "verify",
]


def get(
    entry: DatasetEntry,
    source: str | Path | None = None,
    progress: Progress | None = None,
    *,
    only: Sequence[str] = (),
    accept_checksum: bool = False,
    retry_policy: RetryPolicy | None = None,
) -> list[FileState]:
    """Fetch the files of a dataset that are missing or damaged.

    Args:
        source: a folder, searched with its subfolders, or a base URL. When None: `BENCH_DATA_SOURCE` if set, else the
            entry's own URLs in their order.
        progress: called as bytes arrive.
        only: patterns that choose some of the files.
        accept_checksum: accept files with another checksum or size, if the format is right; noted beside them.
        retry_policy: when to give up a server.

    Returns:
        The state of each file, all of them good.

    Raises:
        DataError: a file cannot be fetched or is not the expected one. Its received bytes stay for the next call; a
            complete but wrong file is renamed to `NAME.bad`.
    """
    _require_folders(entry, only)
    files = [file for file in entry.files if file.name in select_names(entry, only)]
    states = {file.name: file_state(entry, file, read_notes(entry).get(file.name)) for file in files}
    lacking = [file for file in files if not states[file.name].good]
    # Locked only now: a complete dataset may lie in a folder that is not writable.
    if lacking or size_mismatches(entry, only):
        with lock_dataset(entry):
            _note_sizes(entry, [state for state in states.values() if state.good])
            if lacking:
                opened = open_source(entry, source or os.environ.get("BENCH_DATA_SOURCE") or None, retry_policy)
                states |= _fetch_files(entry, lacking, opened, Installer(entry, accept_checksum, progress))
    return [states[file.name] for file in files]


def import_folder(
    entry: DatasetEntry,
    folder: Path,
    progress: Progress | None = None,
    *,
    only: Sequence[str] = (),
    copy: bool = False,
    accept_checksum: bool = False,
) -> list[FileState]:
    """Install files that a user already has.

    Args:
        folder: searched with its subfolders for the files' names.
        progress: called as bytes are hashed or copied.
        only: patterns that choose some of the files.
        copy: copy files rather than link to them; folders are always linked.
        accept_checksum: accept files with another checksum or size, if the format is right; noted beside them.

    Returns:
        The state of each file and folder, all of them good.

    Raises:
        DataError: a file is missing or not the expected one; installed files stay as they are.
    """
    with lock_dataset(entry):
        source = FolderSource(entry, Path(folder), link=not copy)
        installer = Installer(entry, accept_checksum, progress)
        names = select_names(entry, only)
        states = [source.fetch_file(file, installer) for file in entry.files if file.name in names]
        return states + [link_folder(entry, Path(folder), name) for name in entry.folders if name in names]


def _require_folders(entry: DatasetEntry, only: Sequence[str]) -> None:
    missing = [name for name in missing_names(entry, only) if name in entry.folders]
    if missing:
        raise DataError(
            f"dataset {entry.name} cannot be downloaded: {entry.licence}", fix=f"bench data import {entry.name} FOLDER"
        )


def _fetch_files(
    entry: DatasetEntry, files: Sequence[DatasetFile], source: FolderSource | WebSource, installer: Installer
) -> dict[str, FileState]:
    states: dict[str, FileState] = {}
    for file in files:
        # Checked again under the lock: another process may have fetched it before we held the lock.
        state = file_state(entry, file, read_notes(entry).get(file.name))
        if state.state == "damaged":
            quarantine(file_path(entry, file.name), entry, file.name)
        states[file.name] = state if state.good else source.fetch_file(file, installer)
    source.close()
    return states


def _note_sizes(entry: DatasetEntry, states: Sequence[FileState]) -> None:
    """Note good files whose size is not the published one: copied here by the user, compressed differently."""
    mismatches = size_mismatches(entry)
    for state in states:
        if state.name in mismatches:
            write_note(entry, state, str(file_path(entry, state.name)))
