"""Where a dataset's files come from, a folder or the web, and how each is taken in: whole, checked, at once."""

from __future__ import annotations

import hashlib
import os
import tarfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import IO

from harness.contract.entries import DatasetEntry, DatasetFile
from harness.datasets.http import (
    CHUNK,
    DownloadError,
    OtherFileError,
    Progress,
    RetryPolicy,
    UnreachableError,
    fetch,
    remove_partial_metadata,
    write_error,
)
from harness.datasets.local import (
    FileState,
    dataset_folder,
    fetch_command,
    file_path,
    hash_file,
    judge_state,
    state_of_folder,
    write_note,
)
from harness.errors import DataError, UsageError
from harness.system.files import sync_folder

_ACCEPT = "--accept-checksum takes a file that is right in format though not as published"


# --- taking a file in ---------------------------------------------------------------------------


class Installer:
    """Judges candidates and puts the good ones in their place under their good name."""

    def __init__(self, entry: DatasetEntry, accept: bool, progress: Progress | None) -> None:
        self.entry = entry
        self.accept = accept
        self.progress = progress

    def expected_size(self, file: DatasetFile) -> int:
        """Bytes that a server must offer; 0 when any number will do."""
        return 0 if self.accept or file.content_sha256 else file.size

    def keep(self, file: DatasetFile, part: Path, digest: str, origin: str) -> FileState:
        """Rename a complete, synced file to its good name, or to `.bad` when it is not what was expected.

        Raises:
            OtherFileError: it is not; names the file, what was expected and what came.
        """
        remove_partial_metadata(part)
        state = judge_state(self.entry, file, part, digest, accept=self.accept)
        if not state.good:
            acceptable = self.acceptable(file, part, digest)
            bad = quarantine(part, self.entry, file.name)
            complaint = f"{file.name} from {origin}: {state.detail}; kept as {bad.name}"
            raise OtherFileError(complaint, acceptable=acceptable)
        self._place(part, file)
        write_note(self.entry, state, origin)
        return state

    def acceptable(self, file: DatasetFile, path: Path, digest: str) -> bool:
        """Whether a file that was not taken would be with `accept`."""
        return not self.accept and judge_state(self.entry, file, path, digest, accept=True).good

    def link(self, file: DatasetFile, path: Path, state: FileState) -> FileState:
        """Link to a good file of the user's."""
        target = file_path(self.entry, file.name)
        path = path.absolute()
        if not (target.exists() and target.samefile(path)):
            temporary = target.with_name(f".{target.name}.link")
            try:
                temporary.unlink(missing_ok=True)
                temporary.symlink_to(path)
            except OSError as error:
                raise write_error(temporary, error) from None
            self._place(temporary, file)
        write_note(self.entry, state, str(path))
        return state

    def _place(self, part: Path, file: DatasetFile) -> None:
        target = file_path(self.entry, file.name)
        try:
            os.replace(part, target)
            sync_folder(target.parent)
        except OSError as error:
            raise write_error(target, error) from None


def quarantine(path: Path, entry: DatasetEntry, name: str) -> Path:
    """Rename a wrong file, so that nobody takes it for the good one and somebody can look at it."""
    bad = dataset_folder(entry) / f"{name}.bad"
    try:
        os.replace(path, bad)
    except OSError as error:
        raise write_error(bad, error) from None
    return bad


def _copy(source: IO[bytes], part: Path, label: str, total: int, progress: Progress | None) -> str:
    """Copy to a file, synced; its SHA-256.

    Raises:
        DataError: the disk is full or not writable.
        OSError: the source cannot be read.
    """
    digest, done = hashlib.sha256(), 0
    try:
        out = open(part, "wb")  # noqa: SIM115 (closed below; read errors must not look like write errors)
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


# --- where files come from ----------------------------------------------------------------------


def open_source(
    entry: DatasetEntry, source: str | Path | None, retry_policy: RetryPolicy | None
) -> FolderSource | WebSource:
    if source is None or str(source).startswith(("http://", "https://")):
        return WebSource(entry, None if source is None else str(source), retry_policy)
    if "://" in str(source):
        raise UsageError(
            f"cannot fetch from {source}", fix="a source is a folder, or a URL that begins with http:// or https://"
        )
    return FolderSource(entry, Path(source), link=False)


class FolderSource:
    """Files of that name anywhere below a folder."""

    def __init__(self, entry: DatasetEntry, folder: Path, *, link: bool) -> None:
        self._entry = entry
        self._folder = folder.expanduser()
        self._link = link
        if not self._folder.is_dir():
            raise DataError(f"{folder} is not a folder")
        self._found = self._search()

    def close(self) -> None:
        """Nothing is held."""

    def _search(self) -> dict[str, list[Path]]:
        """Paths by name, those that lie in a folder named like the dataset first."""
        wanted = {name for file in self._entry.files for name in _known_as(file)}
        own = dataset_folder(self._entry)
        found: dict[str, list[Path]] = {}
        for root, folders, names in os.walk(self._folder):
            # Left out, or a file would be found that is about to be replaced.
            folders[:] = sorted(f for f in folders if Path(root, f) != own)
            for name in wanted.intersection(names):
                found.setdefault(name, []).append(Path(root, name))
        for paths in found.values():
            paths.sort(key=lambda path: (not self._in_named_folder(path), path))
        return found

    def _in_named_folder(self, path: Path) -> bool:
        return self._entry.name in path.absolute().parts[:-1]

    def fetch_file(self, file: DatasetFile, installer: Installer) -> FileState:
        """Take in the first candidate that is what was expected.

        Raises:
            DataError: there is none, or no way to tell which of several is meant.
        """
        candidates = [path for name in _known_as(file) for path in self._found.get(name, [])]
        if not candidates:
            return self._extract_member(file, installer)
        summaries = {path: self._hash(path, file, installer) for path in candidates}
        complaints: list[str] = []
        # One that is just as published goes before one that somebody accepts.
        for accept in dict.fromkeys((False, installer.accept)):
            if accept or not (file.sha256 or file.size):
                self._refuse_guess(file, candidates)
            complaints.clear()
            for path in candidates:
                state = judge_state(self._entry, file, path, summaries[path], accept=accept)
                if state.good:
                    return installer.link(file, path, state) if self._link else self._copy(file, path, installer)
                complaints.append(f"{path}: {state.detail}")
        others = {1: "", 2: " (nor is the other one of that name)"}.get(
            len(complaints), f" (nor is any of the {len(complaints) - 1} others of that name)"
        )
        hint = _ACCEPT if any(installer.acceptable(file, path, summaries[path]) for path in candidates) else None
        raise DataError(f"dataset {self._entry.name}: {complaints[0]}{others}", fix=hint)

    def _hash(self, path: Path, file: DatasetFile, installer: Installer) -> str:
        try:
            return hash_file(path, file.name, installer.progress)
        except OSError as error:
            raise DataError(f"{path} cannot be read: {error.strerror or error}") from None

    def _refuse_guess(self, file: DatasetFile, candidates: list[Path]) -> None:
        # Several datasets call their files train-images-idx3-ubyte.gz, and their format is the same.
        if len(candidates) > 1 and not self._in_named_folder(candidates[0]):
            raise DataError(
                f"dataset {self._entry.name}: {file.name} stands in {candidates[0].parent} and in "
                f"{candidates[1].parent}",
                fix="name the folder of this dataset",
            )

    def _copy(self, file: DatasetFile, path: Path, installer: Installer) -> FileState:
        part = _part(self._entry, file.name)
        try:
            with open(path, "rb") as source:
                digest = _copy(source, part, file.name, path.stat().st_size, installer.progress)
        except OSError as error:
            raise DataError(f"{path} cannot be read: {error.strerror or error}") from None
        return installer.keep(file, part, digest, str(path))

    def _extract_member(self, file: DatasetFile, installer: Installer) -> FileState:
        for name in _archives(file):
            for archive in sorted(self._folder.rglob(name)):
                return _extract(self._entry, archive, file, installer, str(archive))
        raise DataError(f"dataset {self._entry.name}: there is no {file.name} below {self._folder}")


class WebSource:
    """Files from a base URL, or from the places that the entry names."""

    def __init__(self, entry: DatasetEntry, base: str | None, retry_policy: RetryPolicy | None) -> None:
        self._entry = entry
        self._base = base.rstrip("/") if base else None
        self._patience = retry_policy
        self._archives: dict[str, Path] = {}
        self._failed: dict[str, DownloadError] = {}

    def close(self) -> None:
        """Remove archives whose files are all in place."""
        for archive in self._archives.values():
            _discard(archive)

    def fetch_file(self, file: DatasetFile, installer: Installer) -> FileState:
        """Take in the file from the first place that has it whole.

        Raises:
            DataError: no place has; says what happened at each.
        """
        failures: list[DownloadError] = []
        for url, packed in self._places(file):
            try:
                return self._unpack(url, file, installer) if packed else self._fetch(url, file, installer)
            except DownloadError as error:
                failures.append(error)
        if not failures:
            raise DataError(f"dataset {self._entry.name}: {file.name} has no URL", fix=fetch_command(self._entry))
        what = "; ".join(error.what for error in failures)
        raise DataError(f"dataset {self._entry.name}: {what}", fix=self._fix(failures))

    def _fix(self, failures: Sequence[DownloadError]) -> str:
        """What may help, after what has gone wrong."""
        fixes = []
        if any(isinstance(error, UnreachableError) for error in failures):
            fixes.append("try again")
        if any(isinstance(error, OtherFileError) and error.acceptable for error in failures):
            fixes.append(_ACCEPT)
        return "; or ".join([*fixes, f"get it elsewhere and: bench data import {self._entry.name} FOLDER"])

    def _places(self, file: DatasetFile) -> Iterator[tuple[str, bool]]:
        """URLs in order, and whether each is an archive with the file in it."""
        if self._base is None:
            for url in file.urls:
                yield url, bool(file.member)
            return
        for prefix in (f"{self._base}/{self._entry.name}", self._base):
            for name in _known_as(file):
                yield f"{prefix}/{name}", False
            for name in _archives(file):
                yield f"{prefix}/{name}", True

    def _fetch(self, url: str, file: DatasetFile, installer: Installer) -> FileState:
        part = _part(self._entry, file.name)
        while True:
            got = fetch(
                url,
                part,
                size=installer.expected_size(file),
                any_origin=bool(file.sha256),
                progress=installer.progress,
                name=file.name,
                retry_policy=self._patience,
            )
            try:
                return installer.keep(file, part, got.sha256, url)
            except DownloadError:
                # What was left from an earlier call may have been the wrong beginning; the next round has none.
                if not got.resumed:
                    raise

    def _unpack(self, url: str, file: DatasetFile, installer: Installer) -> FileState:
        if url in self._failed:
            raise self._failed[url]
        if url not in self._archives:
            name = PurePosixPath(url).name
            part = _part(self._entry, name)
            try:
                fetch(url, part, progress=installer.progress, name=name, retry_policy=self._patience)
            except DownloadError as error:
                self._failed[url] = error
                raise
            # It keeps the name of a part: a call that is broken off here finds it complete the next time.
            self._archives[url] = part
        try:
            return _extract(self._entry, self._archives[url], file, installer, url)
        except DownloadError as error:
            # A damaged archive is of no further use; the next call fetches it anew.
            self._failed[url] = error
            _discard(self._archives.pop(url))
            raise


def _extract(entry: DatasetEntry, archive: Path, file: DatasetFile, installer: Installer, origin: str) -> FileState:
    """Take in one member of a tar archive; nothing else in it is touched.

    Raises:
        DownloadError: the archive is damaged, or has no such member, or that is not what was expected.
    """
    part = _part(entry, file.name)
    try:
        with tarfile.open(archive) as tar:
            # One that is a link or a folder gives None.
            source = tar.extractfile(file.member)
            if source is None:
                raise KeyError(file.member)
            with source:
                digest = _copy(source, part, file.name, tar.getmember(file.member).size, installer.progress)
    except KeyError:
        raise DownloadError(f"{origin} has no {file.member} in it") from None
    except (tarfile.TarError, zlib.error, EOFError, OSError) as error:
        raise DownloadError(f"{origin} is a damaged archive: {error}") from None
    return installer.keep(file, part, digest, f"{origin}:{file.member}")


def _discard(part: Path) -> None:
    remove_partial_metadata(part)
    part.unlink(missing_ok=True)


def _part(entry: DatasetEntry, name: str) -> Path:
    path = file_path(entry, name)
    return path.with_name(f"{path.name}.part")


def _known_as(file: DatasetFile) -> list[str]:
    """Names under which users have this file: ours, and the last piece of its URLs."""
    published = [] if file.member else [PurePosixPath(url).name for url in file.urls]
    return list(dict.fromkeys([file.name, *published]))


def _archives(file: DatasetFile) -> list[str]:
    return list(dict.fromkeys(PurePosixPath(url).name for url in file.urls)) if file.member else []


def link_tree(entry: DatasetEntry, folder: Path, name: str) -> FileState:
    """Link to a tree of the user's, after a look at its layout.

    Raises:
        DataError: it is not there, or not laid out as expected.
    """
    tree = (folder.expanduser() / name).absolute()
    state = state_of_folder(entry, name, tree)
    if not state.good:
        raise DataError(f"dataset {entry.name}: {state.detail or f'there is no folder {name} in {folder}'}")
    target = file_path(entry, name)
    if target.is_symlink():
        target.unlink()
    elif target.exists():
        if target.samefile(tree):
            return state
        raise DataError(f"{target} is in the way", fix="move it elsewhere")
    try:
        target.symlink_to(tree)
    except OSError as error:
        raise write_error(target, error) from None
    write_note(entry, state, str(tree))
    return state
