"""What of a dataset lies on disk, and how far it can be believed."""

from __future__ import annotations

import fcntl
import gzip
import hashlib
import os
import re
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Literal, NamedTuple

import msgspec
import platformdirs

from harness.contract.base import Data
from harness.contract.entries import DatasetEntry, DatasetFile
from harness.datasets.http import CHUNK, Progress, write_error
from harness.errors import DataError, PluginError, UsageError, unknown
from harness.plugins.loading import load_object
from harness.system.files import is_file_name

#: `ok`: the checksum is the published one, or that of what it unpacks to is. `unverified`: none is published here; the
#: format is right. `accepted`: another checksum, right format, taken over by the user. The other two are no good.
State = Literal["ok", "unverified", "accepted", "missing", "damaged"]
PROVENANCE = "provenance.json"


class FileState(Data, frozen=True, kw_only=True):
    """One file or folder of a dataset: its size in bytes, its SHA-256 in hex, and what is wrong with it."""

    name: str
    state: State
    size: int = 0
    sha256: str = ""
    detail: str = ""

    @property
    def good(self) -> bool:
        """Whether it may be used."""
        return self.state in ("ok", "unverified", "accepted")


class FileNote(Data, frozen=True, kw_only=True):
    """Where a file came from: `origin` is a URL or a path, `time` is UTC, ISO 8601."""

    sha256: str
    size: int
    state: State
    origin: str
    time: str


class Provenance(Data, frozen=True, kw_only=True):
    """The content of `provenance.json`, a note per file."""

    schema: int = 1
    files: dict[str, FileNote] = msgspec.field(default_factory=dict)


# --- places -------------------------------------------------------------------------------------


def data_folder() -> Path:
    """Where datasets live: `BENCH_DATA`, or a folder in the platform's cache."""
    named = os.environ.get("BENCH_DATA")
    return Path(named).expanduser().absolute() if named else platformdirs.user_cache_path("algorace") / "data"


def dataset_folder(entry: DatasetEntry) -> Path:
    """The folder of one dataset, which need not exist."""
    return data_folder() / _plain(entry.name, entry)


def file_path(entry: DatasetEntry, name: str) -> Path:
    """Where a file or folder of a dataset belongs."""
    return dataset_folder(entry) / _plain(name, entry)


def _plain(name: str, entry: DatasetEntry) -> str:
    # A plugin's entry must not write anywhere but in its own folder.
    if not is_file_name(name) or name == PROVENANCE:
        raise PluginError(f"dataset {entry.name!r} has a bad file name: {name!r}")
    return name


def selected(entry: DatasetEntry, only: Sequence[str] = ()) -> list[str]:
    """Names of the files and folders that match one of the patterns (all when there is none).

    Raises:
        UsageError: a pattern matches nothing.
    """
    names = [file.name for file in entry.files] + list(entry.folders)
    for pattern in only:
        if not any(fnmatchcase(name, pattern) for name in names):
            complaint = unknown("file", pattern, names)
            raise UsageError(f"{entry.name}: {complaint.what}", fix=complaint.fix)
    return [name for name in names if not only or any(fnmatchcase(name, pattern) for pattern in only)]


def parse_tokens(text: str) -> int:
    """A number of tokens as people write it.

    Raises:
        UsageError: it is none.

    >>> parse_tokens("1B"), parse_tokens("4.1b"), parse_tokens("500M"), parse_tokens("2_048")
    (1000000000, 4100000000, 500000000, 2048)
    """
    found = re.fullmatch(r"([\d_]+(?:\.\d+)?) ?([kmbKMB]?)", text.strip())
    number = round(float(found[1]) * {"": 1, "k": 10**3, "m": 10**6, "b": 10**9}[found[2].lower()]) if found else 0
    if number < 1:
        raise UsageError(f"{text!r} is no number of tokens", fix="such as 1B, 4.1B or 500M")
    return number


def selects_enough(entry: DatasetEntry, tokens: int) -> list[str]:
    """The files with so many training tokens, the first ones of the dataset, and those that everybody needs.

    Raises:
        UsageError: it is not counted in tokens, or has fewer.
    """
    total = sum(file.tokens for file in entry.files)
    if not total:
        raise UsageError(f"{entry.name} is not counted in tokens", fix="--only PATTERN chooses files by name")
    if tokens > total:
        raise UsageError(f"{entry.name} has {total:,} training tokens, fewer than {tokens:,}")
    names, found = [], 0
    for file in entry.files:
        if not file.tokens or found < tokens:
            names.append(file.name)
            found += file.tokens
    return names


# --- what is there ------------------------------------------------------------------------------


def missing(entry: DatasetEntry, only: Sequence[str] = ()) -> list[str]:
    """Names of the files and folders that are not there; quick, nothing is opened.

    Args:
        only: patterns that choose some of the files.
    """
    return [name for name in selected(entry, only) if not file_path(entry, name).exists()]


def dataset_path(entry: DatasetEntry, only: Sequence[str] = ()) -> Path:
    """The folder with the files of a dataset, all of them there and of the right size; quick, nothing is hashed.

    Args:
        only: patterns that choose the files one needs.

    Raises:
        DataError: some are missing or of another size; names the command that fetches them.
    """
    names, absent = selected(entry, only), missing(entry, only)
    folder = dataset_folder(entry)
    if absent:
        which = f"{absent[0]} is" if len(absent) == 1 else f"{len(absent)} of {len(names)} files are"
        raise DataError(f"dataset {entry.name}: {which} not in {folder}", fix=fetch_command(entry))
    for name, complaint in size_mismatches(entry, only).items():
        raise DataError(f"dataset {entry.name}: {name} {complaint}", fix=fetch_command(entry))
    return folder


def size_mismatches(entry: DatasetEntry, only: Sequence[str] = ()) -> dict[str, str]:
    """What is wrong with the files that are there with another size than they should have; quick, nothing is hashed.

    Args:
        only: patterns that choose some of the files.

    Raises:
        DataError: the notes are damaged.
    """
    names, notes = set(selected(entry, only)) - set(missing(entry, only)), read_notes(entry)
    found: dict[str, str] = {}
    for file in entry.files:
        expected = expected_size(file, notes.get(file.name))
        if file.name in names and expected and (size := file_path(entry, file.name).stat().st_size) != expected:
            found[file.name] = f"has {size:,} bytes, expected {expected:,}"
    return found


def expected_size(file: DatasetFile, note: FileNote | None) -> int:
    """Bytes that a file should have: as noted when it came, else as published; 0 when nobody knows."""
    return note.size if note is not None else file.size


class DataRequirement(NamedTuple):
    """Data that a workload needs: a dataset, and which of its files or how many of its tokens."""

    dataset: str
    pattern: str = ""
    tokens: str = ""

    @classmethod
    def parse(cls, text: str) -> DataRequirement:
        """From `name`, `name/pattern` or `name:4.1B`."""
        name, slash, pattern = text.partition("/")
        if not slash:
            name, _, tokens = text.partition(":")
            return cls(name, tokens=tokens)
        return cls(name, pattern)

    def only(self, entry: DatasetEntry) -> tuple[str, ...]:
        """Patterns of the files; none for all."""
        if self.tokens:
            return tuple(selects_enough(entry, parse_tokens(self.tokens)))
        return (self.pattern,) if self.pattern else ()

    @property
    def fetch_command(self) -> str:
        """The command that fetches them."""
        flag = f" --tokens {self.tokens}" if self.tokens else f" --only '{self.pattern}'" if self.pattern else ""
        return f"bench data get {self.dataset}{flag}"


def fetch_command(entry: DatasetEntry) -> str:
    """The command that brings a dataset here."""
    if any(file.urls for file in entry.files):
        return f"bench data get {entry.name}"
    return f"bench data import {entry.name} FOLDER"


def verify(entry: DatasetEntry, only: Sequence[str] = (), progress: Progress | None = None) -> list[FileState]:
    """The state of every file and folder: hashed, compared, and its format checked. Changes nothing.

    Args:
        only: patterns that choose some of the files.
        progress: called as bytes are hashed.

    Raises:
        PluginError: the entry's check cannot be loaded.
    """
    names, notes = selected(entry, only), read_notes(entry)
    states = [state_of_file(entry, file, notes.get(file.name), progress) for file in entry.files if file.name in names]
    return states + [state_of_folder(entry, name) for name in entry.folders if name in names]


def state_of_file(
    entry: DatasetEntry, file: DatasetFile, note: FileNote | None, progress: Progress | None = None
) -> FileState:
    """The state of the file that lies in its place."""
    path = file_path(entry, file.name)
    if not path.is_file():
        return FileState(name=file.name, state="missing")
    try:
        digest = hash_file(path, file.name, progress)
    except OSError as error:
        return FileState(name=file.name, state="damaged", detail=f"{path} cannot be read: {error.strerror or error}")
    return judge_state(entry, file, path, digest, note)


def judge_state(
    entry: DatasetEntry,
    file: DatasetFile,
    path: Path,
    digest: str,
    note: FileNote | None = None,
    *,
    accept: bool = False,
) -> FileState:
    """The state of a file whose SHA-256 is known, wherever it lies.

    Args:
        note: what was noted when it was taken in; a file that has changed since is damaged.
        accept: take another checksum or size, as long as the format is right.
    """
    size = path.stat().st_size
    accept = accept or (note is not None and note.state == "accepted" and note.sha256 == digest)
    state: State = "ok" if file.sha256 else "unverified"
    wrong = _find_mismatch(file, path, size, digest, note)
    if wrong and accept:
        wrong, state = "", "accepted"
    # A right checksum says more than any check of the format; beside a wrong one it says what is the matter.
    if wrong or state != "ok":
        wrong = "; ".join(filter(None, (wrong, _check_file(entry, path))))
    return FileState(name=file.name, state="damaged" if wrong else state, size=size, sha256=digest, detail=wrong)


def _find_mismatch(file: DatasetFile, path: Path, size: int, digest: str, note: FileNote | None) -> str:
    """How a file differs from the published one, or where nothing is published from the one that came."""
    if file.sha256:
        if digest == file.sha256 or (file.content_sha256 and _content_sha256(path) == file.content_sha256):
            return ""
        bytes_ = f" ({file.size:,} bytes)" if file.size else ""
        return f"sha256 is {digest} ({size:,} bytes), expected {file.sha256}{bytes_}"
    if file.size not in (0, size):
        return f"it has {size:,} bytes, expected {file.size:,}"
    if note is not None and note.sha256 != digest:
        return f"it has changed: sha256 is {digest}, was {note.sha256} when it came"
    return ""


def _content_sha256(path: Path) -> str:
    """SHA-256 of what a gzip file unpacks to, in hex; empty when it is damaged or none."""
    digest = hashlib.sha256()
    try:
        with gzip.open(path) as file:
            while chunk := file.read(CHUNK):
                digest.update(chunk)
    except (OSError, EOFError, zlib.error):
        return ""
    return digest.hexdigest()


def state_of_folder(entry: DatasetEntry, name: str, path: Path | None = None) -> FileState:
    """The state of a tree that the user provides: nobody has published a checksum, so its layout decides."""
    path = path or file_path(entry, name)
    if not path.is_dir():
        return FileState(name=name, state="missing")
    wrong = _check(entry, path)
    return FileState(name=name, state="damaged" if wrong else "unverified", detail=wrong)


def _check_file(entry: DatasetEntry, path: Path) -> str:
    """As `_check`, of one file that is not named again: who prints this has named it."""
    said = _check(entry, path)
    rest = said.removeprefix(str(path))
    return rest.removeprefix(": ") if rest.startswith(": ") else f"it{rest}" if rest != said else said


def _check(entry: DatasetEntry, path: Path) -> str:
    """What the entry's own check says against a file or folder."""
    if not entry.check:
        return ""
    try:
        load_object(entry.check)(path)
    except DataError as error:
        return str(error)
    except OSError as error:
        return f"{path} cannot be read: {error.strerror or error}"
    return ""


def hash_file(path: Path, name: str, progress: Progress | None = None) -> str:
    """SHA-256 of a file, in hex."""
    digest, done, total = hashlib.sha256(), 0, path.stat().st_size
    with open(path, "rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
            done += len(chunk)
            if progress:
                progress(name, done, total)
    return digest.hexdigest()


# --- notes and the lock -------------------------------------------------------------------------


def read_notes(entry: DatasetEntry) -> dict[str, FileNote]:
    """What was noted of each file when it came; empty where nothing was.

    Raises:
        DataError: the notes are damaged.
    """
    path = dataset_folder(entry) / PROVENANCE
    try:
        return msgspec.json.decode(path.read_bytes(), type=Provenance).files
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, msgspec.DecodeError) as error:
        raise DataError(f"{path} cannot be read: {error}", fix=f"delete it, then: {fetch_command(entry)}") from None


def write_note(entry: DatasetEntry, state: FileState, origin: str) -> None:
    """Note where a file came from and what was decided about it; the dataset must be locked.

    Raises:
        DataError: the folder cannot be written to.
    """
    now = datetime.now(UTC).isoformat(timespec="seconds")
    note = FileNote(sha256=state.sha256, size=state.size, state=state.state, origin=origin, time=now)
    content = Provenance(files={**read_notes(entry), state.name: note})
    path = dataset_folder(entry) / PROVENANCE
    temporary = path.with_name(f".{PROVENANCE}.tmp")
    try:
        with open(temporary, "wb") as file:
            file.write(msgspec.json.format(msgspec.json.encode(content, order="deterministic"), indent=1) + b"\n")
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        raise write_error(path, error) from None


@contextmanager
def locked(entry: DatasetEntry) -> Iterator[None]:
    """Hold the dataset's folder, which is made where it is not there, against another process or thread.

    Raises:
        DataError: somebody else holds it, or it cannot be made.
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
                f"dataset {entry.name} is being fetched by another process ({holder})", fix="wait until it is done"
            ) from None
        except OSError as error:
            raise write_error(path, error) from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, str(os.getpid()).encode(), 0)
        yield
    finally:
        # The file stays: removing it would let a third process lock a new one beside the old.
        os.close(descriptor)
