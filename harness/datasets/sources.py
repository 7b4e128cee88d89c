"""Install dataset files from a folder, a base URL or the published URLs."""

from __future__ import annotations

import re
import tarfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

from harness.contract.entries import DatasetEntry, DatasetFile
from harness.datasets.http import (
    DownloadError,
    RetryPolicy,
    UnreachableError,
    WrongFileError,
    fetch,
    remove_partial_metadata,
)
from harness.datasets.installation import Installer, copy_stream, partial_path
from harness.datasets.paths import dataset_folder
from harness.datasets.provenance import FileState
from harness.datasets.selection import fetch_command
from harness.datasets.verification import hash_file, judge_file
from harness.errors import DataError, UsageError
from harness.system.files import is_file_name, walk_folders

_CHECK_PERMISSIONS = "check that it exists and that you may read it"
_ACCEPT = "add --accept-checksum to accept a file of the right format that differs from the published one"


def open_source(
    entry: DatasetEntry, source: str | Path | None, retry_policy: RetryPolicy | None
) -> FolderSource | WebSource:
    """Return the source at a path or URL.

    Args:
        entry: the dataset.
        source: a folder or a base URL; None for the published URLs.
        retry_policy: how often and how long to retry; the defaults of `RetryPolicy` when None.

    Raises:
        UsageError: the URL is neither http nor https.
        DataError: the folder does not exist.
    """
    if source is None or str(source).startswith(("http://", "https://")):
        return WebSource(entry, None if source is None else str(source), retry_policy)
    if "://" in str(source):
        raise UsageError(
            f"cannot fetch from {source}", fix="give a folder, or a URL that begins with http:// or https://"
        )
    return FolderSource(entry, Path(source), link=False)


class FolderSource:
    """A source that searches a folder for files with the names of the dataset's files.

    Args:
        entry: the dataset.
        folder: the folder, which is searched with its subfolders.
        link: whether to link to the files instead of copying them.
    """

    def __init__(self, entry: DatasetEntry, folder: Path, *, link: bool) -> None:
        self._entry = entry
        self._folder = folder.expanduser()
        self._link = link
        if not self._folder.is_dir():
            raise DataError(f"{folder} is not a folder", fix="give a folder that contains the files of the dataset")
        #: Errors of the folders that could not be listed.
        self._unreadable: list[OSError] = []
        self._candidates = self._search()

    def close(self) -> None:
        """Do nothing, since a folder needs no cleanup."""

    def _search(self) -> dict[str, list[Path]]:
        """Return the paths by file name. Paths in a folder with the dataset's name come first."""
        names = {name for file in self._entry.files for name in _file_names(file)}
        target = dataset_folder(self._entry)
        candidates: dict[str, list[Path]] = {}
        for folder, subfolders, files in walk_folders(self._folder, lambda _, error: self._unreadable.append(error)):
            # The dataset's own folder is skipped, since its files are to be replaced.
            subfolders[:] = [name for name in subfolders if folder / name != target]
            for name in names.intersection(files):
                candidates.setdefault(name, []).append(folder / name)
        for paths in candidates.values():
            paths.sort(key=lambda path: (not self._in_named_folder(path), path))
        return candidates

    def _in_named_folder(self, path: Path) -> bool:
        return self._entry.name in path.absolute().parts[:-1]

    def fetch_file(self, file: DatasetFile, installer: Installer) -> FileState:
        """Install the first candidate that is the expected file. A candidate is a file with one of its names.

        Raises:
            DataError: no candidate is the expected file, or there are several candidates and no checksum tells them
                apart.
        """
        candidates = [path for name in _file_names(file) for path in self._candidates.get(name, [])]
        if not candidates:
            return self._extract_member(file, installer)
        digests = self._hash(candidates, file, installer)
        candidates = list(digests)
        problems: list[str] = []
        # The published file is searched for first. Only then may a file with another checksum or size be accepted.
        for accept in dict.fromkeys((False, installer.accept)):
            if accept or not (file.sha256 or file.size):
                self._refuse_guess(file, candidates)
            problems.clear()
            for path in candidates:
                state = judge_file(self._entry, file, path, digests[path], accept=accept)
                if state.good:
                    return installer.link(file, path, state) if self._link else self._copy(file, path, installer)
                problems.append(f"{path}: {state.detail}")
        other_refusals = {1: "", 2: " (1 more file also refused)"}.get(
            len(problems), f" ({len(problems) - 1} more files also refused)"
        )
        acceptable = any(installer.would_accept(file, path, digests[path]) for path in candidates)
        fix = _ACCEPT if acceptable else "name a folder with the published files"
        raise DataError(f"dataset {self._entry.name}: {problems[0]}{other_refusals}", fix=fix)

    def _hash(self, candidates: list[Path], file: DatasetFile, installer: Installer) -> dict[Path, str]:
        """Return the SHA-256 of each candidate that can be read.

        Raises:
            DataError: no candidate can be read.
        """
        digests: dict[Path, str] = {}
        errors: list[DataError] = []
        for path in candidates:
            try:
                digests[path] = hash_file(path, file, installer.progress)
            except DataError as error:
                errors.append(error)
        if not digests:
            raise errors[0]
        return digests

    def _refuse_guess(self, file: DatasetFile, candidates: list[Path]) -> None:
        """Raise DataError if several candidates exist and none is in a folder with the dataset's name.

        For example, several datasets have a file train-images-idx3-ubyte.gz of the same format.
        """
        if len(candidates) > 1 and not self._in_named_folder(candidates[0]):
            raise DataError(
                f"dataset {self._entry.name}: {file.name} is in {candidates[0].parent} and in {candidates[1].parent}",
                fix="give the folder that contains only this dataset",
            )

    def _copy(self, file: DatasetFile, path: Path, installer: Installer) -> FileState:
        part = partial_path(self._entry, file.name)
        try:
            with open(path, "rb") as source:
                digest = copy_stream(source, part, file.name, path.stat().st_size, installer.progress)
        except OSError as error:
            raise DataError(f"cannot read {path}: {error.strerror or error}", fix=_CHECK_PERMISSIONS) from None
        return installer.install(file, part, digest, str(path))

    def _extract_member(self, file: DatasetFile, installer: Installer) -> FileState:
        """Install a file from an archive in the folder, or raise DataError if there is no such archive."""
        names = _archive_names(file)
        archives = [
            (names.index(name), folder / name)
            for folder, _, files in walk_folders(self._folder, lambda *_: None)
            for name in set(names).intersection(files)
            if (folder / name).is_file()
        ]
        if archives:
            _, archive = min(archives)
            return _extract(self._entry, archive, file, installer, str(archive))
        problem = f"dataset {self._entry.name}: there is no {file.name} below {self._folder}"
        fix = f"run bench data get {self._entry.name} to download it"
        if self._unreadable:
            problem += f"; the folder {self._unreadable[0].filename} cannot be listed"
            more = len(self._unreadable) - 1
            problem += f", and {more} more" if more else ""
            fix = f"allow reading the folder, or {fix}"
        raise DataError(problem, fix=fix)


class WebSource:
    """A source that downloads files from a base URL, or from the URLs of the entry.

    Args:
        entry: the dataset.
        base: the base URL; None for the entry's URLs.
        retry_policy: how often and how long to retry; the defaults of `RetryPolicy` when None.
    """

    def __init__(self, entry: DatasetEntry, base: str | None, retry_policy: RetryPolicy | None) -> None:
        self._entry = entry
        self._base = base.rstrip("/") if base else None
        self._retry_policy = retry_policy
        self._archives: dict[str, Path] = {}
        self._failed: dict[str, DownloadError] = {}

    def close(self) -> None:
        """Remove the downloaded archives. Call this method after all required files have been installed."""
        for archive in self._archives.values():
            _discard(archive)

    def fetch_file(self, file: DatasetFile, installer: Installer) -> FileState:
        """Install the file from the first URL that delivers it.

        Raises:
            DataError: no URL delivers the file; the message has the failure of each URL.
        """
        failures: list[DownloadError] = []
        for url, is_archive in self._candidate_urls(file):
            try:
                return self._fetch_member(url, file, installer) if is_archive else self._fetch(url, file, installer)
            except DownloadError as error:
                failures.append(error)
        if not failures:
            raise DataError(f"dataset {self._entry.name}: {file.name} has no URL", fix=fetch_command(self._entry))
        problems = "; ".join(error.what for error in failures)
        raise DataError(f"dataset {self._entry.name}: {problems}", fix=self._fix(failures))

    def _fix(self, failures: Sequence[DownloadError]) -> str:
        """Return the remedy for these failures."""
        fixes = []
        if any(isinstance(error, UnreachableError) for error in failures):
            fixes.append("try again")
        if any(isinstance(error, WrongFileError) and error.acceptable for error in failures):
            fixes.append(_ACCEPT)
        import_command = f"bench data import {self._entry.name} FOLDER"
        return "; or ".join([*fixes, f"get the file from another place and run {import_command}"])

    def _candidate_urls(self, file: DatasetFile) -> Iterator[tuple[str, bool]]:
        """Yield the URLs to try, in order. The flag is True if the URL leads to an archive that contains the file."""
        if self._base is None:
            for url in file.urls:
                yield url, bool(file.member)
            return
        for prefix in (f"{self._base}/{self._entry.name}", self._base):
            for name in _file_names(file):
                yield f"{prefix}/{name}", False
            for name in _archive_names(file):
                yield f"{prefix}/{name}", True

    def _fetch(self, url: str, file: DatasetFile, installer: Installer) -> FileState:
        part = partial_path(self._entry, file.name)
        while True:
            fetched = fetch(
                url,
                part,
                size=installer.required_size(file),
                any_origin=bool(file.sha256),
                progress=installer.progress,
                name=file.name,
                retry_policy=self._retry_policy,
            )
            try:
                return installer.install(file, part, fetched.sha256, url)
            except DownloadError:
                # The partial file of an earlier call may have been wrong. The file is fetched again from its beginning.
                if not fetched.resumed:
                    raise

    def _fetch_member(self, url: str, file: DatasetFile, installer: Installer) -> FileState:
        """Install a file from the archive at a URL. The archive is downloaded once for all its files."""
        if url in self._failed:
            raise self._failed[url]
        if url not in self._archives:
            name = PurePosixPath(url).name
            part = partial_path(self._entry, _as_file_name(name))
            try:
                fetch(url, part, progress=installer.progress, name=name, retry_policy=self._retry_policy)
            except DownloadError as error:
                self._failed[url] = error
                raise
            # The archive keeps the name of a partial file. After an interruption, the next call can therefore reuse it.
            self._archives[url] = part
        try:
            return _extract(self._entry, self._archives[url], file, installer, url)
        except DownloadError as error:
            # A damaged archive is removed, so that the next call fetches it again.
            self._failed[url] = error
            _discard(self._archives.pop(url))
            raise


def _extract(entry: DatasetEntry, archive: Path, file: DatasetFile, installer: Installer, origin: str) -> FileState:
    """Install one member of a tar archive. No other member is extracted.

    Raises:
        DownloadError: the archive is damaged, has no such member, or the member is not the expected file.
    """
    part = partial_path(entry, file.name)
    try:
        with tarfile.open(archive) as tar:
            # `extractfile` returns None for a link or a folder.
            source = tar.extractfile(file.member)
            if source is None:
                raise KeyError(file.member)
            with source:
                digest = copy_stream(source, part, file.name, tar.getmember(file.member).size, installer.progress)
    except KeyError:
        raise DownloadError(f"{origin} does not contain {file.member}") from None
    except (tarfile.TarError, zlib.error, EOFError, OSError) as error:
        raise DownloadError(f"{origin} is a damaged archive: {' '.join(str(error).split())}") from None
    return installer.install(file, part, digest, f"{origin}:{file.member}")


def _as_file_name(name: str) -> str:
    """Convert the last part of a URL to a valid file name.

    >>> _as_file_name("all.tar.gz"), _as_file_name("all.tar?download=1")
    ('all.tar.gz', 'archive-all.tar_download_1')
    """
    return name if is_file_name(name) else "archive-" + re.sub(r"[^A-Za-z0-9._+-]", "_", name)


def _discard(part: Path) -> None:
    """Remove a partial file and its metadata."""
    remove_partial_metadata(part)
    part.unlink(missing_ok=True)


def _file_names(file: DatasetFile) -> list[str]:
    """Return the names under which a user may have this file: its name in the dataset, and the names in its URLs."""
    url_names = [] if file.member else [PurePosixPath(url).name for url in file.urls]
    return list(dict.fromkeys([file.name, *url_names]))


def _archive_names(file: DatasetFile) -> list[str]:
    """Return the names of the archives that contain this file, from their URLs."""
    return list(dict.fromkeys(PurePosixPath(url).name for url in file.urls)) if file.member else []
