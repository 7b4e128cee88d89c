"""Runs and results on disk: atomic files, one lock per run, records validated when they are read."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

from harness.contract.record import SCHEMA_VERSION, Record, Status
from harness.errors import DamagedError, StoreError
from harness.storage.layout import RECORD, RUN_ID_PREFIX, SUPERSEDED

# --- records ------------------------------------------------------------------------------------


def encode(record: Record) -> bytes:
    """A record as JSON with its content hash filled in."""
    return msgspec.json.format(_json(with_content_hash(record)), indent=1) + b"\n"


def _json(record: Record) -> bytes:
    """Sets in order, so that equal records are equal bytes."""
    return msgspec.json.encode(record, order="deterministic")


def with_content_hash(record: Record) -> Record:
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


class TrialEnding(msgspec.Struct):
    """How a trial ended: the part of its record that decides whether it is run again."""

    schema: int
    run_id: str
    status: Status
    reason: str = ""


def read_ending(path: Path) -> TrialEnding | None:
    """How the trial ended whose record this is; None where there is none, or none that can be read.

    Nothing but these fields is decoded and no hash is checked, so that ten thousand take a second. A record is
    validated whenever it is read for what it says.
    """
    try:
        found = _ENDINGS.decode(path.read_bytes())
    except (OSError, msgspec.DecodeError):
        return None
    return found if found.schema == SCHEMA_VERSION else None


_ENDINGS = msgspec.json.Decoder(TrialEnding)


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
    return list(iter_records(folders, problems)), problems


def iter_records(folders: Iterable[Path], problems: list[str]) -> Iterator[Record]:
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
