"""Runs and results on disk: atomic files, one lock per run, records validated when they are read."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import shutil
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from harness.errors import DamagedError, StoreError
from harness.types import SCHEMA_VERSION, Record, RunSpec, Status

RECORD = "record.json"
#: In the folder of a run: what its compiler keeps until it has ended.
COMPILED = "compiled"
#: There, too: the checkpoints of an unfinished run, damaged ones included.
CHECKPOINTS = "checkpoint*.pt*"


# --- files --------------------------------------------------------------------------------------


def write_atomically(path: Path, *chunks: bytes) -> None:
    """Write a file so that a reader sees the old content or the new, never a part (temporary file, fsync, rename).

    Raises:
        StoreError: disk full, read-only or not permitted; what was there before is untouched.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "wb") as file:
            for chunk in chunks:
                file.write(chunk)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        sync_folder(path.parent)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise cannot_write(path, error) from error
        raise


def free_name(path: Path) -> Path:
    """The path, or one like it that nothing has yet: what is put aside must not replace what was put aside before."""
    number, free = 1, path
    while free.exists():
        number += 1
        free = path.with_name(f"{path.name}.{number}")
    return free


def sync_folder(folder: Path) -> None:
    """Have the names in a folder on the disk, as `fsync` has the content of a file."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def cannot_write(path: Path, error: OSError) -> StoreError:
    """The error for a failed write, with what to do about it."""
    fixes = {
        errno.ENOSPC: "free some space and give the command again; it goes on where it was",
        errno.EDQUOT: "free some of your quota and give the command again; it goes on where it was",
        errno.EROFS: "name a writable folder with --runs",
        errno.EACCES: "name a writable folder with --runs",
        errno.EPERM: "name a writable folder with --runs",
    }
    return StoreError(f"cannot write {path}: {error.strerror or error}", fix=fixes.get(error.errno or 0))


# --- records ------------------------------------------------------------------------------------


def encode(record: Record) -> bytes:
    """A record as JSON with its content hash filled in."""
    return msgspec.json.format(_json(sealed(record)), indent=1) + b"\n"


def _json(record: Record) -> bytes:
    """Sets in order, so that equal records are equal bytes."""
    return msgspec.json.encode(record, order="deterministic")


def sealed(record: Record) -> Record:
    """The record with its content hash filled in."""
    return msgspec.structs.replace(record, content_hash=content_hash(_json(record)))


def content_hash(payload: bytes) -> str:
    """SHA-256 of everything in a record's JSON but the hash itself, however it is laid out.

    Of the JSON, not of the decoded record: a later version's record may have fields that this file does not.
    """
    plain = msgspec.json.decode(payload)
    plain.pop("content_hash", None)
    return hashlib.sha256(msgspec.json.encode(plain, order="sorted")).hexdigest()


def decode(payload: bytes, where: str) -> Record:
    """A record from JSON, strictly validated.

    Raises:
        StoreError: naming the file and the path of the bad field, the unknown schema, or the edited content.
    """
    try:
        schema = msgspec.json.decode(payload, type=_Schema).schema
        if schema != SCHEMA_VERSION:
            raise StoreError(
                f"record {where} has schema {schema}; this version reads schema {SCHEMA_VERSION}",
                fix="use the version of algorace that wrote it, or a newer one",
            )
        record = msgspec.json.decode(payload, type=Record)
    except msgspec.DecodeError as error:
        raise DamagedError(f"record {where} is damaged: {error}") from None
    if record.content_hash != content_hash(payload):
        raise DamagedError(f"record {where} was edited: its content does not match its hash")
    return record


class _Schema(msgspec.Struct):
    schema: int


class Ending(msgspec.Struct):
    """How a trial ended: the part of its record that decides whether it is run again."""

    schema: int
    run_id: str
    status: Status
    reason: str = ""


def ending(path: Path) -> Ending | None:
    """How the trial ended whose record this is; None where there is none, or none that can be read.

    Nothing but these fields is decoded and no hash is checked, so that ten thousand take a second. A record is
    validated whenever it is read for what it says.
    """
    try:
        found = _ENDINGS.decode(path.read_bytes())
    except (OSError, msgspec.DecodeError):
        return None
    return found if found.schema == SCHEMA_VERSION else None


_ENDINGS = msgspec.json.Decoder(Ending)


def read_record(path: Path) -> Record:
    """The record in a file.

    Raises:
        StoreError: it cannot be read, or is not a whole and unedited record.
    """
    try:
        return decode(path.read_bytes(), str(path))
    except OSError as error:
        raise StoreError(f"cannot read {path}: {error.strerror or error}") from None


def read_all(folders: Iterable[Path]) -> tuple[list[Record], list[str]]:
    """Every record below these folders (each `run_id` once), and one line for each file that is not one."""
    problems: list[str] = []
    return list(stream(folders, problems)), problems


def stream(folders: Iterable[Path], problems: list[str]) -> Iterator[Record]:
    """Records one at a time, each `run_id` once, so that thousands need little memory.

    Args:
        folders: where to look.
        problems: gets one line for each file that is no record, or that another one contradicts.
    """
    seen: dict[str, str] = {}
    for path in record_files(folders):
        try:
            record = read_record(path)
        except StoreError as error:
            problems.append(str(error))
            continue
        if record.run_id not in seen:
            seen[record.run_id] = record.content_hash
            yield record
        elif seen[record.run_id] != record.content_hash:
            problems.append(f"record {path} has the run_id of another record; the first one read is used")


def record_files(folders: Iterable[Path]) -> Iterator[Path]:
    """Files below these folders that are records by their names."""
    for folder in folders:
        for root, names, files in os.walk(folder):
            names[:] = sorted(name for name in names if name != SUPERSEDED)
            for file in sorted(files):
                # A run folder holds one record; a results folder holds files named by run_id.
                if file.endswith(".json") and (file == RECORD or RUN_ID_PREFIX in file):
                    yield Path(root) / file


# --- runs ---------------------------------------------------------------------------------------

SUPERSEDED = "superseded"
RUN_ID_PREFIX = "run-"


def run_id(spec: RunSpec) -> str:
    """The identity of a trial: a hash of everything that decides its outcome."""
    return RUN_ID_PREFIX + hashlib.sha256(msgspec.json.encode(spec, order="sorted")).hexdigest()[:16]


class RunFolder:
    """The folder of one trial, locked for as long as this process and its worker live.

    Args:
        root: the runs folder.
        identity: the run_id.
    """

    def __init__(self, root: Path, identity: str) -> None:
        self.root = root
        self.identity = identity
        self.path = root / identity
        self.lock_descriptor = -1

    @property
    def record_path(self) -> Path:
        return self.path / RECORD

    def record(self) -> Record | None:
        """The record that is there, or None.

        Raises:
            StoreError: there is one, but it is damaged.
        """
        return read_record(self.record_path) if self.record_path.exists() else None

    def write(self, record: Record) -> Record:
        """Write the record; returns it with its hash."""
        record = sealed(record)
        write_atomically(self.record_path, encode(record))
        return record

    @contextmanager
    def locked(self, patience: float = 10.0) -> Iterator[None]:
        """Hold the run's lock.

        The descriptor is inherited by the worker and the lock lasts until both are gone: a new supervisor
        waits out a worker whose supervisor was killed a moment ago.

        Raises:
            StoreError: the folder cannot be made, or somebody else is running this trial.
        """
        path = self.path / "lock"
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self.lock_descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise cannot_write(path, error) from error
        try:
            _flock(self.lock_descriptor, path, patience)
            for litter in self.path.glob(".*.tmp"):  # of a writer that was killed; only we write here now
                litter.unlink(missing_ok=True)
            yield
        finally:
            os.close(self.lock_descriptor)
            self.lock_descriptor = -1

    def set_aside(self, *, keep_checkpoints: bool = False) -> None:
        """Move what an earlier run left to `superseded/`, so that the trial starts anew and nothing is lost.

        Args:
            keep_checkpoints: those stay, with what the compiler made, for the trial to go on from.
        """
        contents = [p for p in self.path.iterdir() if p.name != "lock"] if self.path.exists() else []
        if keep_checkpoints:
            contents = [p for p in contents if p.name != COMPILED and not p.match(CHECKPOINTS)]
        if not contents:
            return
        aside = self.root / SUPERSEDED / f"{self.identity}-{time.strftime('%Y%m%dT%H%M%S')}-{time.time_ns() % 10**9:09}"
        try:
            aside.mkdir(parents=True)
            for path in contents:
                os.replace(path, aside / path.name)
        except OSError as error:
            raise cannot_write(aside, error) from error

    def drop_checkpoints(self) -> None:
        """Remove what only an unfinished run needs."""
        with contextlib.suppress(OSError):
            for path in self.path.glob(CHECKPOINTS):
                path.unlink(missing_ok=True)
        for name in ("scratch", COMPILED):
            shutil.rmtree(self.path / name, ignore_errors=True)


def _flock(descriptor: int, path: Path, patience: float) -> None:
    deadline = time.monotonic() + patience
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                holder = os.pread(descriptor, 32, 0).decode(errors="replace") or "unknown"
                raise StoreError(
                    f"this trial is already running (process {holder}, {path.parent})",
                    fix="wait for it, or stop it and give the command again",
                ) from None
            time.sleep(0.05)
            continue
        # Who holds it is only a courtesy to the next one who asks; a full disk must not stop a run here.
        with contextlib.suppress(OSError):
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, str(os.getpid()).encode(), 0)
        return
