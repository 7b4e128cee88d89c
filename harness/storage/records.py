"""Read and write records as JSON, validate them on reading, and iterate over all records below a folder.

The functions that read records, except `find_valid_record`, also find records that were packed into shards.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Collection, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple, Protocol, TypeVar

import msgspec

from harness.contract.record import MAX_REASON, SCHEMA_VERSION, Record, shorten_reason
from harness.errors import DamagedError, StoreError
from harness.storage import layout, shards
from harness.storage.derived import DerivedValue
from harness.storage.record_layout import format_record, remove_newlines
from harness.storage.shared_parts import SharedParts
from harness.storage.verified import VerifiedRecords, digest_of, verified_records
from harness.system.files import JSON_ERRORS, decode_json, describe_json_error, parse_json, read_file

D = TypeVar("D", bound=DerivedValue)

# --- records ------------------------------------------------------------------------------------


def encode(record: Record) -> bytes:
    """Return the text of the file of a record, with its content hash filled in."""
    return format_record(_encode_json(add_content_hash(record)))


def _encode_json(record: Record) -> bytes:
    """Return a record as JSON with sorted keys and sets, so that equal records give equal bytes."""
    return _SORTED.encode(record)


def add_content_hash(record: Record) -> Record:
    """Return the record with its content hash filled in."""
    return msgspec.structs.replace(record, content_hash=content_hash(_encode_json(record)))


def content_hash(payload: bytes) -> str:
    """Return the SHA-256 of a record's JSON without its field `content_hash`, independent of white space and key order.

    The JSON is hashed and not the decoded record, because decoding an older record adds fields with their defaults.
    """
    fields = decode_json(payload, "the record", dict[str, object])
    fields.pop("content_hash", None)
    return hashlib.sha256(msgspec.json.encode(fields, order="sorted")).hexdigest()


def _is_verified(record: Record, payload: bytes, verified: VerifiedRecords, digest: bytes) -> bool:
    """Return whether a record matches its content hash. Bytes that were checked before are not checked again."""
    if digest in verified:
        return True
    matches = _matches_hash(record, payload)
    if matches:
        verified.add(digest)
    return matches


def _matches_hash(record: Record, payload: bytes) -> bool:
    """Return whether the content of a record matches its content hash.

    If the keys of the JSON are sorted, its hash is computed without white space. Older versions did not sort the keys.
    Their records are encoded again, which takes a third of the time of `content_hash`. If the new JSON and the stored
    JSON differ in the number of quotation marks, `content_hash` decides. In this case, the stored JSON has a field that
    was not decoded, or lacks a field because an older version wrote the record.
    """
    start = b'{"content_hash":"' + record.content_hash.encode() + b'",'
    sorted_json = remove_newlines(payload) or msgspec.json.format(payload, indent=-1)
    is_whole = True
    if not sorted_json.startswith(start):
        sorted_json = _SORTED.encode(record)
        is_whole = sorted_json.startswith(start) and sorted_json.count(b'"') == payload.count(b'"')
    if is_whole and hashlib.sha256(b"{" + sorted_json[len(start) :]).hexdigest() == record.content_hash:
        return True
    return record.content_hash == content_hash(payload)


_SORTED = msgspec.json.Encoder(order="sorted")


#: Fix for a record that was damaged or edited.
_RESTORE = "restore it, or remove it and run the trial again"


def decode(
    payload: bytes,
    label: str | Path,
    *,
    known_hash: str | None = None,
    verified: VerifiedRecords | None = None,
    digest: bytes | None = None,
) -> Record:
    """Decode a record from JSON and validate it strictly.

    Args:
        payload: the record's JSON.
        label: name of the record in error messages, such as its path.
        known_hash: the record's content hash, if it was already verified; if None, the hash is computed.
        verified: the digests of verified files, if the caller has them.
        digest: the SHA-256 of the payload, if the caller has it.

    Raises:
        StoreError: a field is invalid, a key is repeated, a hit is at none of the points, the schema is unknown, or the
            content was edited. The message names the record and the path of the field.
    """
    try:
        record = _RECORDS.decode(payload)
    except JSON_ERRORS as error:
        _require_known_schema(_schema_version(payload), label)
        raise DamagedError(f"record {label} is damaged: {describe_json_error(error)}", fix=_RESTORE) from None
    _require_known_schema(record.schema, label)
    if known_hash is None:
        verified = verified_records() if verified is None else verified
        digest = digest or digest_of(payload)
        if digest not in verified:
            _require_unique_keys(payload, label)
        is_unchanged = _is_verified(record, payload, verified, digest)
    else:
        is_unchanged = record.content_hash == known_hash
    if not is_unchanged:
        raise DamagedError(f"record {label} was edited: its content does not match its hash", fix=_RESTORE)
    hits = record.stage_hits if record.hit is None else (record.hit, *record.stage_hits)
    if hits and not 0 <= min(hits) <= max(hits) < len(record.points):
        problem = f"record {label} is damaged: a hit is at none of its {len(record.points)} points"
        raise DamagedError(problem, fix=_RESTORE)
    return record


_RECORDS = msgspec.json.Decoder(Record)


def _require_unique_keys(payload: bytes, label: str | Path) -> None:
    """Raise DamagedError if an object of a record has two equal keys. Readers differ in which value they use.

    Decoding keeps only one of two equal keys, so encoding the result gives fewer quotation marks. This comparison takes
    a tenth of the time of `parse_json`. It could be misled by escaped quotation marks, which are parsed exactly.
    """
    encoded = msgspec.json.encode(msgspec.json.decode(payload))
    if encoded.count(b'"') == payload.count(b'"') and b"\\u0022" not in payload:
        return
    try:
        parse_json(payload.decode())
    except ValueError as error:
        raise DamagedError(f"record {label} is damaged: {error}", fix=_RESTORE) from None


class _Schema(msgspec.Struct):
    schema: int = SCHEMA_VERSION


def _schema_version(payload: bytes) -> int:
    """Return the schema version of a record that cannot be decoded; the current version if its version is unknown."""
    try:
        return msgspec.json.decode(payload, type=_Schema).schema
    except JSON_ERRORS:
        return SCHEMA_VERSION


def _require_known_schema(schema_version: int, label: str | Path) -> None:
    if schema_version != SCHEMA_VERSION:
        raise StoreError(
            f"record {label} has schema {schema_version}; this version reads schema {SCHEMA_VERSION}",
            fix="use the version of algorace that wrote the record, or a newer version",
        )


def find_valid_record(path: Path) -> Record | None:
    """Return the record in a plain file, or None if it is missing, damaged or of another trial.

    The record is validated in the same way as for a table, so that a trial is kept only if tables include its record.
    """
    try:
        return decode_stored(StoredRecord(path, read_file(path)))
    except StoreError:
        return None


def read_record(path: Path) -> Record:
    """Return the record in a file, or from a shard of the same folder if the file was packed.

    Raises:
        StoreError: the record is missing, cannot be read, is damaged or has the name of another trial. The message
            names the file.
    """
    return decode_stored(read_stored(path))


def read_stored(path: Path) -> StoredRecord:
    """Return the record in a file, or from a shard of the same folder if the file was packed, without validating it.

    Raises:
        StoreError: the record is missing or cannot be read.
    """
    return StoredRecord(path, _read_bytes(path))


def decode_stored(stored: StoredRecord, verified: VerifiedRecords | None = None, digest: bytes | None = None) -> Record:
    """Decode and validate a stored record.

    Args:
        stored: the record as it is stored.
        verified: the digests of verified files, if the caller has them.
        digest: the SHA-256 of the content, if the caller has it.

    Raises:
        StoreError: the record is damaged or has the name of another trial.
    """
    record = decode(stored.content, stored.path, known_hash=stored.known_hash, verified=verified, digest=digest)
    require_own_name(record.run_id, stored.path)
    if len(record.reason) > MAX_REASON:
        return msgspec.structs.replace(record, reason=shorten_reason(record.reason))
    return record


def require_own_name(identity: str, path: Path | str) -> None:
    """Raise DamagedError if the name of a record's file, or of its run's folder, is the run_id of another trial.

    A file or folder that was copied under the name of another trial must not become that trial's result.
    """
    # The properties of a path are slow, which is noticeable when thousands of records are read.
    folder, _, name = str(path).rpartition(os.sep)
    name = folder.rpartition(os.sep)[2] if name == layout.RECORD else name.rpartition(".")[0]
    if layout.is_run_id(name) and name != identity:
        raise DamagedError(f"record {path} is of another trial, {identity}", fix=_RESTORE)


def _read_bytes(path: Path) -> bytes:
    try:
        return read_file(path)
    except StoreError:
        packed_content = None if path.exists() else shards.find_packed(path)
        if packed_content is None:
            raise
        return packed_content


def read_all(folders: Iterable[Path]) -> tuple[list[Record], list[str]]:
    """Return the records below these folders, one per `run_id`, and a message for each unreadable file."""
    problems: list[str] = []
    return list(iter_records(folders, problems)), problems


def iter_records(folders: Iterable[Path], problems: list[str]) -> Iterator[Record]:
    """Yield the records below these folders, one per `run_id`.

    One record is in memory at a time. Records with equal workloads, submissions or rulesets share these objects.

    Args:
        folders: folders to search, with their subfolders.
        problems: list to which a one-line message is appended for each file or folder that cannot be read, and for each
            file that has the run_id of another record but different content.
    """
    return iter_listed_records(layout.walk_all(folders, problems), problems)


def iter_listed_records(listed: Iterable[layout.ListedFolder], problems: list[str]) -> Iterator[Record]:
    """Yield the records in some folders, as `iter_records` does.

    Args:
        listed: the folders with the names of their files.
        problems: see `iter_records`.
    """
    verified = verified_records()
    yield from iter_unique(iter_stored_in(listed, problems), problems, lambda stored: decode_stored(stored, verified))
    verified.save()


class _HasPath(Protocol):
    @property
    def path(self) -> Path | str: ...


S = TypeVar("S", bound=_HasPath)


def iter_unique(sources: Iterable[S], problems: list[str], read: Callable[[S], D]) -> Iterator[D]:
    """Yield records or their values, one per `run_id`, with shared parts.

    Args:
        sources: the records as they are stored.
        problems: see `iter_records`.
        read: function that returns the record or the value of a stored record. It may raise StoreError.
    """
    hashes: dict[str, str] = {}
    shared = SharedParts()
    for source in sources:
        try:
            item = shared.share(read(source))
        except StoreError as error:
            problems.append(str(error))
            continue
        if item.run_id not in hashes:
            hashes[item.run_id] = item.content_hash
            yield item
        elif hashes[item.run_id] != item.content_hash:
            problems.append(f"record {source.path} has the run_id of another record; the record read first is used")


class StoredRecord(NamedTuple):
    """A record as it is stored.

    Args:
        path: path of the record's file, which may be packed.
        content: the record's JSON, not validated.
        known_hash: the record's content hash from the index of its shard, after the shard's SHA-256 was verified; None
            for a plain file.
    """

    path: Path
    content: bytes
    known_hash: str | None = None


def iter_located(folders: Iterable[Path], problems: list[str]) -> Iterator[tuple[StoredRecord, Record]]:
    """Yield the records below these folders, each as it is stored and decoded. Equal run_ids may occur several times.

    Args:
        folders: folders to search, with their subfolders.
        problems: list to which a one-line message is appended for each file or folder that cannot be read.
    """
    for stored in iter_stored(folders, problems):
        try:
            record = decode_stored(stored)
        except StoreError as error:
            problems.append(str(error))
        else:
            yield stored, record


def iter_stored(folders: Iterable[Path], problems: list[str]) -> Iterator[StoredRecord]:
    """Yield the records below these folders as JSON. In each folder, records in shards come before plain files.

    Args:
        folders: folders to search, with their subfolders.
        problems: list to which a one-line message is appended for each file or folder that cannot be read.
    """
    return iter_stored_in(layout.walk_all(folders, problems), problems)


def iter_stored_in(listed: Iterable[layout.ListedFolder], problems: list[str]) -> Iterator[StoredRecord]:
    """Yield the records in some folders as JSON, as `iter_stored` does.

    Args:
        listed: the folders with the names of their files.
        problems: see `iter_stored`.
    """
    for folder, names in listed:
        yield from _iter_packed(folder, names, problems)
        for path in (folder / name for name in names if layout.is_record(name)):
            try:
                # The file may have been packed after the folder was listed.
                content = _read_bytes(path)
            except StoreError as error:
                if isinstance(error, DamagedError) or not _is_gone(path):
                    problems.append(str(error))
            else:
                yield StoredRecord(path, content)


def _is_gone(path: Path) -> bool:
    """Return whether a listed file does not exist any more, because its run was replaced or removed meanwhile."""
    try:
        os.lstat(path)
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return False


def _iter_packed(folder: Path, names: Collection[str], problems: list[str]) -> Iterator[StoredRecord]:
    if not any(name.startswith(layout.SHARD_PREFIX) for name in names):
        return
    problems += shards.find_missing_shards(folder, names)
    for shard in shards.shards_among(folder, names):
        try:
            for packed, line in shards.read_shard(shard):
                yield StoredRecord(folder / packed.file, shards.record_json(line), packed.content_hash)
        except StoreError as error:
            problems.append(str(error))
        except JSON_ERRORS as error:
            problems.append(f"shard {shard} is damaged: {describe_json_error(error)}")
