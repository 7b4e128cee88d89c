"""Find missing files of a dataset and files with a wrong size, without opening or hashing them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from harness.contract.entries import DatasetEntry, DatasetFile
from harness.datasets.paths import dataset_folder, file_path
from harness.datasets.provenance import FileNote, read_notes
from harness.datasets.selection import fetch_command, select_names
from harness.errors import DataError


def missing_names(entry: DatasetEntry, only: Sequence[str] = ()) -> list[str]:
    """Return the names of the files and folders that do not exist.

    Args:
        entry: the dataset.
        only: patterns of file names; all files if empty.
    """
    return [name for name in select_names(entry, only) if not file_path(entry, name).exists()]


def dataset_path(entry: DatasetEntry, only: Sequence[str] = ()) -> Path:
    """Check that a dataset's files exist and have the right size, and return the dataset's folder.

    Args:
        entry: the dataset.
        only: patterns of file names; all files if empty.

    Raises:
        DataError: a file is missing or has a wrong size; the message has the command that fetches the files.
    """
    names, missing = select_names(entry, only), missing_names(entry, only)
    folder = dataset_folder(entry)
    if missing:
        subject = f"{missing[0]} is" if len(missing) == 1 else f"{len(missing)} of {len(names)} files are"
        raise DataError(f"dataset {entry.name}: {subject} not in {folder}", fix=fetch_command(entry))
    for name, mismatch in size_mismatches(entry, only).items():
        raise DataError(f"dataset {entry.name}: {name} {mismatch}", fix=fetch_command(entry))
    return folder


def size_mismatches(entry: DatasetEntry, only: Sequence[str] = ()) -> dict[str, str]:
    """Return the existing files with a wrong size: name -> clause such as "has 5 bytes, expected 7".

    Args:
        entry: the dataset.
        only: patterns of file names; all files if empty.

    Raises:
        DataError: the provenance file is damaged.
    """
    existing, notes = set(select_names(entry, only)) - set(missing_names(entry, only)), read_notes(entry)
    mismatches: dict[str, str] = {}
    for file in entry.files:
        expected = expected_size(file, notes.get(file.name))
        if file.name in existing and expected and (size := file_path(entry, file.name).stat().st_size) != expected:
            mismatches[file.name] = f"has {size:,} bytes, expected {expected:,}"
    return mismatches


def expected_size(file: DatasetFile, note: FileNote | None) -> int:
    """Return the size in bytes recorded at installation. Without one, return the published size (0 if unknown)."""
    return note.size if note is not None else file.size
