"""Records on disk: their JSON, validated whenever one is read, and all records below a folder, packed or not."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec

from harness.contract.record import SCHEMA_VERSION, Record, Status
from harness.errors import DamagedError, StoreError
from harness.storage import layout, shards
from harness.system.files import read_file

# --- records ------------------------------------------------------------------------------------


def encode(record: Record) -> bytes:
    """A record as JSON with its content hash filled in."""
    return msgspec.json.format(_encode_json(add_content_hash(record)), indent=1) + b"\n"


def _encode_json(record: Record) -> bytes:
    """Sets in order, so that equal records are equal bytes."""
    return msgspec.json.encode(record, order="deterministic")


def add_content_hash(record: Record) -> Record:
    """The record with its content hash filled in."""
    return msgspec.structs.replace(record, content_hash=content_hash(_encode_json(record)))


def content_hash(payload: bytes) -> str:
    """SHA-256 of a record's JSON without the hash itself; independent of its layout and the order of its keys.

    Of the JSON, not of the decoded record: an older record lacks fields that decoding would add with their defaults.
    """
    fields = msgspec.json.decode(payload)
    fields.pop("content_hash", None)
    return hashlib.sha256(msgspec.json.encode(fields, order="sorted")).hexdigest()


#: What to do about a record that is not what was written.
_RESTORE = "restore it, or remove it and run the trial again"


def decode(payload: bytes, where: str, *, known_hash: str | None = None) -> Record:
    """A record from JSON, strictly validated.

    Args:
        where: what errors call the record.
        known_hash: its content hash where that was verified before; computed when None.

    Raises:
        StoreError: names the record with the path of the bad field, the unknown schema or the edited content.
    """
    try:
        record = _RECORDS.decode(payload)
    except msgspec.DecodeError as error:
        _require_known_schema(_schema_of(payload), where)
        raise DamagedError(f"record {where} is damaged: {error}", fix=_RESTORE) from None
    _require_known_schema(record.schema, where)
    if record.content_hash != (known_hash or content_hash(payload)):
        raise DamagedError(f"record {where} was edited: its content does not match its hash", fix=_RESTORE)
    return record


_RECORDS = msgspec.json.Decoder(Record)


class _Schema(msgspec.Struct):
    schema: int = SCHEMA_VERSION


def _schema_of(payload: bytes) -> int:
    """The schema of a record that cannot be decoded; the current one if it cannot be told."""
    try:
        return msgspec.json.decode(payload, type=_Schema).schema
    except msgspec.DecodeError:
        return SCHEMA_VERSION


def _require_known_schema(schema: int, where: str) -> None:
    if schema != SCHEMA_VERSION:
        raise StoreError(
            f"record {where} has schema {schema}; this version reads schema {SCHEMA_VERSION}",
            fix="use the version of algorace that wrote it, or a newer one",
        )


class TrialEnding(msgspec.Struct):
    """How a trial ended: the part of its record that decides whether it is run again."""

    schema: int
    run_id: str
    status: Status
    reason: str = ""


def read_ending(path: Path) -> TrialEnding | None:
    """How the trial of this record ended; None where the record is missing or cannot be read.

    Only these fields are decoded and no hash is checked, so that ten thousand take a second. `read_record` validates.
    """
    try:
        ending = _ENDINGS.decode(path.read_bytes())
    except (OSError, msgspec.DecodeError):
        return None
    return ending if ending.schema == SCHEMA_VERSION else None


_ENDINGS = msgspec.json.Decoder(TrialEnding)


def read_record(path: Path) -> Record:
    """The record in a file, or the one that was packed from it into a shard of the same folder.

    Raises:
        StoreError: it is missing, cannot be read or is damaged; names the file.
    """
    return decode(_read_json(path), str(path))


def _read_json(path: Path) -> bytes:
    packed = None if path.exists() else shards.find_packed(path)
    return read_file(path) if packed is None else packed


def read_all(folders: Iterable[Path]) -> tuple[list[Record], list[str]]:
    """Every record below these folders (each `run_id` once), and one line for each file that cannot be read."""
    problems: list[str] = []
    return list(iter_records(folders, problems)), problems


def iter_records(folders: Iterable[Path], problems: list[str]) -> Iterator[Record]:
    """Records one at a time, each `run_id` once, so that thousands need little memory.

    Args:
        folders: searched with their subfolders.
        problems: receives one line for each file that cannot be read or contradicts another one.
    """
    hashes: dict[str, str] = {}
    for path, content, known_hash in iter_json(folders, problems):
        try:
            record = decode(content, str(path), known_hash=known_hash)
        except StoreError as error:
            problems.append(str(error))
            continue
        if record.run_id not in hashes:
            hashes[record.run_id] = record.content_hash
            yield record
        elif hashes[record.run_id] != record.content_hash:
            problems.append(f"record {path} has the run_id of another record; the first one read is used")


class StoredRecord(NamedTuple):
    """A record as it is stored.

    Args:
        path: of its file, which may be packed.
        content: its JSON, not validated.
        known_hash: its content hash by the index of its shard, whose SHA-256 was verified; None for a plain file.
    """

    path: Path
    content: bytes
    known_hash: str | None = None


def iter_json(folders: Iterable[Path], problems: list[str]) -> Iterator[StoredRecord]:
    """Records below these folders as JSON, one at a time: in each folder those in shards first, then plain files.

    Args:
        problems: receives one line for each file that cannot be read.
    """
    for folder in folders:
        for subfolder, names in layout.walk_records(folder):
            yield from _iter_packed(subfolder, names, problems)
            for path in (subfolder / name for name in names if layout.is_record(name)):
                try:
                    content = _read_json(path)  # packed, if that was done since the folder was listed
                except StoreError as error:
                    problems.append(str(error))
                else:
                    yield StoredRecord(path, content)


def _iter_packed(folder: Path, names: Collection[str], problems: list[str]) -> Iterator[StoredRecord]:
    problems += shards.find_missing_shards(folder, names)
    for shard in shards.shards_among(folder, names):
        try:
            for packed, line in shards.read_shard(shard):
                yield StoredRecord(folder / packed.file, shards.record_json(line), packed.content_hash)
        except StoreError as error:
            problems.append(str(error))
        except msgspec.DecodeError as error:
            problems.append(f"shard {shard} is damaged: {error}")
