"""Download and import datasets, and re-export the functions that commands use to manage datasets."""

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
        entry: the dataset.
        source: a folder, which is searched with its subfolders, or a base URL. If None, the environment variable
            `BENCH_DATA_SOURCE` gives the source. Without this variable, the entry's URLs are tried in their order.
        progress: function that is called when bytes are received, hashed or copied.
        only: patterns of file names; all files if empty.
        accept_checksum: whether to accept files of the right format whose checksum or size differs from the published
            one. The provenance file records that a file was accepted.
        retry_policy: how often and how long to retry; the defaults of `RetryPolicy` when None.

    Returns:
        The state of each file. All files can be used (`FileState.good`).

    Raises:
        DataError: a file cannot be fetched, or is not the expected file. After an interrupted download, the next call
            resumes from the received bytes. A complete but wrong file is renamed to `NAME.bad`.
    """
    _require_folders(entry, only)
    files = [file for file in entry.files if file.name in select_names(entry, only)]
    states = {file.name: file_state(entry, file, read_notes(entry).get(file.name)) for file in files}
    needed_files = [file for file in files if not states[file.name].good]
    # The lock is taken only if needed, because the folder of a complete dataset may be read-only.
    if needed_files or size_mismatches(entry, only):
        with lock_dataset(entry):
            _note_sizes(entry, [state for state in states.values() if state.good])
            if needed_files:
                file_source = open_source(entry, source or os.environ.get("BENCH_DATA_SOURCE") or None, retry_policy)
                states |= _fetch_files(entry, needed_files, file_source, Installer(entry, accept_checksum, progress))
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
        entry: the dataset.
        folder: folder that is searched, with its subfolders, for files with the names of the dataset's files.
        progress: function that is called when bytes are hashed or copied.
        only: patterns of file names; all files if empty.
        copy: whether to copy files instead of linking to them. Folders are always linked.
        accept_checksum: whether to accept files of the right format whose checksum or size differs from the published
            one. The provenance file records that a file was accepted.

    Returns:
        The state of each file and folder. All can be used (`FileState.good`).

    Raises:
        DataError: a file is missing or is not the expected file. An installed file of this name is not changed. The
            files before it in the entry are already installed.
    """
    with lock_dataset(entry):
        source = FolderSource(entry, Path(folder), link=not copy)
        installer = Installer(entry, accept_checksum, progress)
        names = select_names(entry, only)
        states = [source.fetch_file(file, installer) for file in entry.files if file.name in names]
        return states + [link_folder(entry, Path(folder), name) for name in entry.folders if name in names]


def _require_folders(entry: DatasetEntry, only: Sequence[str]) -> None:
    """Raise DataError if a folder of the dataset is missing, since folders can be imported but not downloaded."""
    missing = [name for name in missing_names(entry, only) if name in entry.folders]
    if missing:
        raise DataError(
            f"dataset {entry.name} cannot be downloaded, because its licence forbids redistribution: {entry.licence}",
            fix=f"get a copy, and run: bench data import {entry.name} FOLDER",
        )


def _fetch_files(
    entry: DatasetEntry, files: Sequence[DatasetFile], source: FolderSource | WebSource, installer: Installer
) -> dict[str, FileState]:
    states: dict[str, FileState] = {}
    for file in files:
        # The state is checked again, because another process may have fetched the file before the lock was taken.
        state = file_state(entry, file, read_notes(entry).get(file.name))
        if state.state == "damaged":
            quarantine(file_path(entry, file.name), entry, file.name)
        states[file.name] = state if state.good else source.fetch_file(file, installer)
    source.close()
    return states


def _note_sizes(entry: DatasetEntry, states: Sequence[FileState]) -> None:
    """Record the sizes of good files that differ from the published sizes.

    For example, a gzip file that was compressed with other settings has another size, but the same content.
    """
    mismatches = size_mismatches(entry)
    for state in states:
        if state.name in mismatches:
            write_note(entry, state, str(file_path(entry, state.name)))
