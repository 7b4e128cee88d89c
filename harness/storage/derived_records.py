"""Read values that were computed from records (see `derived`). If many are missing, two processes compute them."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO, NamedTuple, TypeVar

import msgspec

from harness.contract.record import Record
from harness.errors import StoreError
from harness.storage import layout
from harness.storage.derived import DerivedValue, DerivedValues
from harness.storage.records import (
    StoredRecord,
    decode_stored,
    iter_stored_in,
    iter_unique,
    read_stored,
    require_own_name,
)
from harness.storage.verified import VerifiedRecords, digest_of, verified_records
from harness.system.second_process import SecondProcess

V = TypeVar("V", bound=DerivedValue)
#: Minimum number of records without a stored value for which a second process is started.
MIN_MISSING = 1000
#: Typical size in bytes of a record's entry in the index of a shard.
_INDEX_ENTRY_BYTES = 220
#: Number of bytes that state the length of a message of the second process.
_LENGTH_BYTES = 8


class _Computed(NamedTuple):
    """A record whose value the second process has computed or read from the stored values.

    Args:
        path: path of the record's file, which may be packed.
        digest: SHA-256 of the record's JSON.
        known_hash: see `StoredRecord`.
    """

    path: str
    digest: bytes
    known_hash: str | None


class _RecordMessage(msgspec.Struct, array_like=True, tag="record"):
    """What the second process writes for a record.

    Args:
        path: path of the record's file.
        digest: SHA-256 of the record's JSON; empty if the second process has no value for the record.
        content: the encoded value; the record's JSON if there is no value.
        known_hash: see `StoredRecord`.
    """

    path: str
    digest: bytes
    content: bytes
    known_hash: str | None


class _EndMessage(msgspec.Struct, array_like=True, tag="end"):
    """What the second process writes after the last record.

    Args:
        problems: a message for each file that cannot be read.
        verified: SHA-256 of each file whose content hash was verified.
    """

    problems: list[str]
    verified: list[bytes]


def iter_derived(
    listed: Iterable[layout.ListedFolder], problems: list[str], values: DerivedValues[V]
) -> Iterator[V | Record]:
    """Yield the values of the records in some folders. If a record cannot have a value, yield the record itself.

    The records are selected, and share equal parts, as in `records.iter_records`. A record whose value is stored is not
    decoded. It is identified by the SHA-256 of its bytes.

    Args:
        listed: the folders with the names of their files.
        problems: see `records.iter_records`.
        values: the stored values, and the function that computes them.
    """
    verified = verified_records()
    folders = list(listed)
    middle = _find_middle(folders, len(values))
    with SecondProcess(functools.partial(_compute, folders[middle:], values, verified), wanted=middle > 0) as second:
        sources = _iter_sources(folders, middle, second, problems, values, verified)
        yield from iter_unique(sources, problems, lambda source: _value_of(source, values, verified))
    verified.save()
    values.save()


def _find_middle(folders: Sequence[layout.ListedFolder], stored: int) -> int:
    """Return the index of the folder with which the second half of the records begins.

    The result is 0 if one process suffices: few records have no stored value, or the first folder has most records.

    Args:
        folders: the folders with the names of their files.
        stored: number of stored values.
    """
    counts = [_count_records(folder, names) for folder, names in folders]
    total, count = sum(counts), 0
    if total - stored < MIN_MISSING:
        return 0
    for index, number in enumerate(counts):
        if 2 * (count + number) > total:
            return index
        count += number
    return 0


def _count_records(folder: Path, names: Iterable[str]) -> int:
    """Return the number of records in a folder. The number of packed records is estimated."""
    count = 0
    for name in names:
        if layout.is_record(name):
            count += 1
        elif layout.INDEX_NAME.fullmatch(name):
            try:
                count += (folder / name).stat().st_size // _INDEX_ENTRY_BYTES
            except OSError:
                continue  # The error is reported when the shard is read.
    return count


def _iter_sources(
    folders: Sequence[layout.ListedFolder],
    middle: int,
    second: SecondProcess,
    problems: list[str],
    values: DerivedValues[V],
    verified: VerifiedRecords,
) -> Iterator[StoredRecord | _Computed]:
    """Yield the records in the folders. The second process reads the folders from index `middle` on.

    If there is no second process, or if it failed, this process reads all folders.
    """
    yield from iter_stored_in(folders[:middle], problems)
    results = second.results()
    if results is None:
        yield from iter_stored_in(folders[middle:], problems)
        return
    for message in _iter_messages(results):
        if isinstance(message, _EndMessage):
            problems += message.problems
            for digest in message.verified:
                verified.add(digest)
        elif message.digest:
            values.offer(message.digest, message.content)
            yield _Computed(message.path, message.digest, message.known_hash)
        else:
            yield StoredRecord(Path(message.path), message.content, message.known_hash)


def _value_of(source: StoredRecord | _Computed, values: DerivedValues[V], verified: VerifiedRecords) -> V | Record:
    """Return the value of a record, stored or computed. If the record cannot have a value, return the record itself.

    Raises:
        StoreError: the record is damaged or has the name of another trial.
    """
    digest = source.digest if isinstance(source, _Computed) else digest_of(source.content)
    value = values.find(digest)
    if value is not None and source.known_hash in (None, value.content_hash):
        require_own_name(value.run_id, source.path)
        return value
    stored = read_stored(Path(source.path)) if isinstance(source, _Computed) else source
    record = decode_stored(stored, verified, digest)
    value = values.compute(record)
    if value is None:
        return record
    values.add(digest, value)
    return value


# --- the second process -------------------------------------------------------------------------


def _compute(
    folders: Sequence[layout.ListedFolder], values: DerivedValues[V], verified: VerifiedRecords, output: IO[bytes]
) -> None:
    """Write a message for each record in some folders, then an end message. The first process reports record errors."""
    problems: list[str] = []
    for stored in iter_stored_in(folders, problems):
        digest = digest_of(stored.content)
        try:
            _value_of(stored, values, verified)
        except StoreError:
            encoded = None
        else:
            encoded = values.take_used(digest)
        if encoded is None:
            message = _RecordMessage(str(stored.path), b"", stored.content, stored.known_hash)
        else:
            message = _RecordMessage(str(stored.path), digest, encoded, stored.known_hash)
        _write(output, message)
    _write(output, _EndMessage(problems, verified.new))


_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(_RecordMessage | _EndMessage)


def _write(output: IO[bytes], message: _RecordMessage | _EndMessage) -> None:
    content = _ENCODER.encode(message)
    output.write(len(content).to_bytes(_LENGTH_BYTES, "big") + content)


def _iter_messages(results: IO[bytes]) -> Iterator[_RecordMessage | _EndMessage]:
    while length := results.read(_LENGTH_BYTES):
        yield _DECODER.decode(results.read(int.from_bytes(length, "big")))
