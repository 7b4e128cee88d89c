"""Verify candidate files of a dataset, and move or link the good ones into the dataset's folder."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import IO

from harness.contract.entries import DatasetEntry, DatasetFile
from harness.datasets.http import CHUNK, Progress, WrongFileError, remove_partial_metadata
from harness.datasets.paths import dataset_folder, file_path, write_error
from harness.datasets.provenance import FileState, write_note
from harness.datasets.verification import folder_state, judge_file
from harness.errors import DataError
from harness.system.files import sync_folder


class Installer:
    """Verifies candidate files of a dataset and installs the good files.

    Args:
        entry: the dataset.
        accept: whether to accept files of the right format whose checksum or size differs from the published one.
        progress: function that is called when bytes are hashed or copied.
    """

    def __init__(self, entry: DatasetEntry, accept: bool, progress: Progress | None) -> None:
        self.entry = entry
        self.accept = accept
        self.progress = progress

    def required_size(self, file: DatasetFile) -> int:
        """Return the required size of a downloaded file in bytes; 0 if any size is allowed."""
        return 0 if self.accept or file.content_sha256 else file.size

    def install(self, file: DatasetFile, part: Path, digest: str, origin: str) -> FileState:
        """Verify a complete, synced file, and rename it to its final name, or to `NAME.bad` if it is wrong.

        Args:
            file: the expected file.
            part: path of the complete file.
            digest: SHA-256 of the file, in hex.
            origin: the URL or path to record in the provenance.

        Raises:
            WrongFileError: the file is not the expected file; the message has the expected checksum or size.
        """
        remove_partial_metadata(part)
        state = judge_file(self.entry, file, part, digest, accept=self.accept)
        if not state.good:
            acceptable = self.would_accept(file, part, digest)
            bad = quarantine(part, self.entry, file.name)
            raise WrongFileError(
                f"{file.name} from {origin}: {state.detail}; renamed to {bad.name}", acceptable=acceptable
            )
        self._move(part, file)
        write_note(self.entry, state, origin)
        return state

    def would_accept(self, file: DatasetFile, path: Path, digest: str) -> bool:
        """Return whether the option to accept other checksums and sizes would have let a refused file pass."""
        return not self.accept and judge_file(self.entry, file, path, digest, accept=True).good

    def link(self, file: DatasetFile, path: Path, state: FileState) -> FileState:
        """Install a verified file of the user by creating a symbolic link to it."""
        target = file_path(self.entry, file.name)
        path = path.absolute()
        if not (target.exists() and target.samefile(path)):
            temporary = target.with_name(f".{target.name}.link")
            try:
                temporary.unlink(missing_ok=True)
                temporary.symlink_to(path)
            except OSError as error:
                raise write_error(temporary, error) from None
            self._move(temporary, file)
        write_note(self.entry, state, str(path))
        return state

    def _move(self, part: Path, file: DatasetFile) -> None:
        target = file_path(self.entry, file.name)
        try:
            os.replace(part, target)
            sync_folder(target.parent)
        except OSError as error:
            raise write_error(target, error) from None


def quarantine(path: Path, entry: DatasetEntry, name: str) -> Path:
    """Rename a wrong file to `NAME.bad`, so that the user can inspect it, and return the new path."""
    bad = dataset_folder(entry) / f"{name}.bad"
    try:
        os.replace(path, bad)
    except OSError as error:
        raise write_error(bad, error) from None
    return bad


def partial_path(entry: DatasetEntry, name: str) -> Path:
    """Return the path of a file while it is incomplete."""
    path = file_path(entry, name)
    return path.with_name(f"{path.name}.part")


def copy_stream(source: IO[bytes], part: Path, label: str, total: int, progress: Progress | None) -> str:
    """Copy a stream to a file, sync the file, and return its SHA-256 in hex.

    Args:
        source: the stream.
        part: path of the file.
        label, total: the file's name and size in bytes for `progress`.
        progress: function that is called when bytes are copied.

    Raises:
        DataError: the disk is full or not writable.
        OSError: the source cannot be read.
    """
    digest, done = hashlib.sha256(), 0
    try:
        out = open(part, "wb")  # noqa: SIM115 (closed below; read errors must not be reported as write errors)
    except OSError as error:
        raise write_error(part, error) from None
    with out:
        while chunk := source.read(CHUNK):
            try:
                out.write(chunk)
            except OSError as error:
                raise write_error(part, error) from None
            digest.update(chunk)
            done += len(chunk)
            if progress:
                progress(label, done, total)
        try:
            out.flush()
            os.fsync(out.fileno())
        except OSError as error:
            raise write_error(part, error) from None
    return digest.hexdigest()


def link_folder(entry: DatasetEntry, folder: Path, name: str) -> FileState:
    """Check the layout of a folder that a user already has, and create a link to it.

    Args:
        entry: the dataset.
        folder: path of the parent folder of the folder to link.
        name: name of the folder to link.

    Raises:
        DataError: the folder to link does not exist, or does not have the expected layout.
    """
    source = (folder.expanduser() / name).absolute()
    state = folder_state(entry, name, source)
    if not state.good:
        problem = state.detail or f"there is no folder {name} in {folder}"
        raise DataError(f"dataset {entry.name}: {problem}", fix=f"give the path of the folder that contains {name}")
    target = file_path(entry, name)
    if target.is_symlink():
        target.unlink()
    elif target.exists():
        if target.samefile(source):
            return state
        raise DataError(f"dataset {entry.name}: {target} exists and is not a link", fix=f"move {target} elsewhere")
    try:
        target.symlink_to(source)
    except OSError as error:
        raise write_error(target, error) from None
    write_note(entry, state, str(source))
    return state
