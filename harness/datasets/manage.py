"""Datasets on this machine: found, fetched from a URL or a folder, taken over from the user, verified."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from harness.contract.entries import DatasetEntry, DatasetFile
from harness.datasets.http import Progress, RetryPolicy
from harness.datasets.local import (
    PROVENANCE,
    FileState,
    State,
    data_folder,
    dataset_folder,
    dataset_path,
    file_path,
    locked,
    missing,
    parse_tokens,
    read_notes,
    selected,
    selects_enough,
    size_mismatches,
    state_of_file,
    verify,
    write_note,
)
from harness.datasets.sources import FolderSource, Installer, WebSource, link_tree, open_source, quarantine
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
    "missing",
    "parse_tokens",
    "selects_enough",
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
    """Bring the files of a dataset here, those that are not here and whole already.

    Args:
        source: a folder, searched at any depth, or a base URL; `BENCH_DATA_SOURCE` when None, and where that is not
            set either, the entry's own URLs in their order.
        progress: called as bytes arrive.
        only: patterns that choose some of the files.
        accept_checksum: take files with another checksum or size, as long as the format is right; noted beside them.
        patience: how long to go on trying a server.

    Returns:
        The state of each file, all of them good.

    Raises:
        DataError: a file cannot be had or is not what was expected; what has arrived of it is kept for the next
            call, and a complete but wrong one stands beside as `NAME.bad`.
    """
    _refuse_user_trees(entry, only)
    wanted = [file for file in entry.files if file.name in selected(entry, only)]
    states = {file.name: state_of_file(entry, file, read_notes(entry).get(file.name)) for file in wanted}
    lacking = [file for file in wanted if not states[file.name].good]
    # A complete dataset in a folder that cannot be written to is no error, so the lock comes only now.
    if lacking or size_mismatches(entry, only):
        with locked(entry):
            _note_sizes(entry, [state for state in states.values() if state.good])
            if lacking:
                supply = open_source(entry, source or os.environ.get("BENCH_DATA_SOURCE") or None, retry_policy)
                states |= _fetch_missing(entry, lacking, supply, Installer(entry, accept_checksum, progress))
    return [states[file.name] for file in wanted]


def import_folder(
    entry: DatasetEntry,
    folder: Path,
    progress: Progress | None = None,
    *,
    only: Sequence[str] = (),
    copy: bool = False,
    accept_checksum: bool = False,
) -> list[FileState]:
    """Take over files that a user already has.

    Args:
        folder: searched for the files' names at any depth.
        progress: called as bytes are hashed or copied.
        only: patterns that choose some of the files.
        copy: copy files rather than link to them; trees are always linked.
        accept_checksum: take files with another checksum or size, as long as the format is right; noted beside them.

    Returns:
        The state of each file and folder, all of them good.

    Raises:
        DataError: a file is not there or not what was expected; what was here before stays.
    """
    with locked(entry):
        supply = FolderSource(entry, Path(folder), link=not copy)
        installer = Installer(entry, accept_checksum, progress)
        names = selected(entry, only)
        states = [supply.fetch_file(file, installer) for file in entry.files if file.name in names]
        return states + [link_tree(entry, Path(folder), name) for name in entry.folders if name in names]


def _refuse_user_trees(entry: DatasetEntry, only: Sequence[str]) -> None:
    absent = [name for name in missing(entry, only) if name in entry.folders]
    if absent:
        raise DataError(
            f"dataset {entry.name} cannot be downloaded: {entry.licence}", fix=f"bench data import {entry.name} FOLDER"
        )


def _fetch_missing(
    entry: DatasetEntry, lacking: Sequence[DatasetFile], supply: FolderSource | WebSource, installer: Installer
) -> dict[str, FileState]:
    states: dict[str, FileState] = {}
    for file in lacking:
        # Asked again under the lock: another process may have fetched it while we waited to start.
        state = state_of_file(entry, file, read_notes(entry).get(file.name))
        if state.state == "damaged":
            quarantine(file_path(entry, file.name), entry, file.name)
        states[file.name] = state if state.good else supply.fetch_file(file, installer)
    supply.close()
    return states


def _note_sizes(entry: DatasetEntry, states: Sequence[FileState]) -> None:
    """Note good files of another size than the quick look expects: put here by hand, and packed by somebody else."""
    other = size_mismatches(entry)
    for state in states:
        if state.name in other:
            write_note(entry, state, str(file_path(entry, state.name)))
