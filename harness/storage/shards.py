"""Shards: the record files of a folder in one compressed file, byte for byte, with an index beside it.

`records-0001.jsonl.xz` has a line for each record file, in the order of their names. `records-0001.index.json` lists
these files with their hashes. Neither is ever changed: further records make `records-0002`.

A line is the record's JSON without white space; indented by one space it is the file again, byte for byte. A file of
another layout, or not named by its run_id, is stored as its text: `{"file": name, "text": content}`.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path
from types import ModuleType
from typing import IO, NamedTuple, cast

import msgspec

from harness.contract.base import Data
from harness.errors import DamagedError, StoreError
from harness.storage import layout
from harness.system.files import is_file_name, read_error, read_struct

#: liblzma's default: higher presets save one percent and take half as long again.
_PRESET = 6
#: Bytes that are read or decompressed at once.
_CHUNK = 1 << 18
RESTORE = "restore both files from version control or another copy"


class PackedFile(Data, frozen=True, kw_only=True):
    """A record file in a shard.

    Args:
        file: its name; it belongs into the shard's folder.
        run_id: of its record.
        sha256: of the file's bytes, in hex.
        content_hash: of its record.
    """

    file: str
    run_id: str
    sha256: str
    content_hash: str


class ShardIndex(Data, frozen=True, kw_only=True):
    """The content of an index: the shard's name, its SHA-256 in hex, its size in bytes, and its lines in order."""

    schema: int = 1
    shard: str
    sha256: str
    size: int
    records: tuple[PackedFile, ...]


class FolderReport(Data, frozen=True, kw_only=True):
    """What packing, unpacking or verifying did in one folder.

    Args:
        folder: its path.
        records: record files that were packed, unpacked or verified.
        shards: names of the shards that were written, removed or verified.
        problems: one line for each file that is damaged or contradicts another one; it was left as it is.
    """

    folder: str
    records: int = 0
    shards: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()


class PackedLine(NamedTuple):
    """A line of a shard, without its end, and the index's entry for it."""

    packed: PackedFile
    line: bytes


# --- lines --------------------------------------------------------------------------------------


class _Verbatim(msgspec.Struct, frozen=True):
    file: str
    text: str


class _Identity(msgspec.Struct):
    run_id: str


_VERBATIM_START = b'{"file":'


def encode_line(name: str, content: bytes) -> bytes:
    """The line of a record file, which must be valid JSON in UTF-8."""
    compact = msgspec.json.format(content, indent=-1)
    if not compact.startswith(_VERBATIM_START) and file_name(compact) == name and file_content(compact) == content:
        return compact
    return msgspec.json.encode(_Verbatim(name, content.decode()))


def file_name(line: bytes) -> str:
    """The name of the record file in a line.

    Raises:
        msgspec.DecodeError: the line is damaged.
    """
    if line.startswith(_VERBATIM_START):
        return msgspec.json.decode(line, type=_Verbatim).file
    return f"{msgspec.json.decode(line, type=_Identity).run_id}.json"


def file_content(line: bytes) -> bytes:
    """The record file in a line, byte for byte.

    Raises:
        msgspec.DecodeError: the line is damaged.
    """
    if line.startswith(_VERBATIM_START):
        return msgspec.json.decode(line, type=_Verbatim).text.encode()
    return msgspec.json.format(line, indent=1) + b"\n"


def record_json(line: bytes) -> bytes:
    """The record in a line, as JSON in any layout: `file_content` without its white space.

    Raises:
        msgspec.DecodeError: the line is damaged.
    """
    return file_content(line) if line.startswith(_VERBATIM_START) else line


# --- reading ------------------------------------------------------------------------------------


def read_index(shard: Path) -> ShardIndex:
    """The index of a shard.

    Raises:
        StoreError: it is missing, cannot be read, is damaged, belongs to another shard or has an unknown schema.
    """
    path = layout.shard_index(shard)
    if not path.exists():
        raise StoreError(f"shard {shard} has no index", fix=f"bench results pack {shard.parent} writes it")
    index = read_struct(path, ShardIndex)
    if index.schema != 1:
        problem = f"index {path} has schema {index.schema}; this version reads schema 1"
        raise StoreError(problem, fix="update algorace, or pack the records again")
    if index.shard != shard.name:
        problem = f"index {path} describes another shard: {index.shard}"
        raise DamagedError(problem, fix="restore the shard and its index together")
    for packed in index.records:
        require_record_name(packed.file, path)
    return index


def require_record_name(name: str, where: Path) -> None:
    """Refuse a file name that is not a record's: unpacking writes records alone, and into their own folder.

    Args:
        where: the folder, index or shard with the name.

    Raises:
        DamagedError: the name is not a plain file name, or not a record's.
    """
    if not is_file_name(name) or not layout.is_published_record(name):
        problem = f"{where}: {name!r} is not a file name of a record"
        raise DamagedError(problem, fix="letters, digits and any of . _ + -")


def read_shard(path: Path) -> Iterator[PackedLine]:
    """The lines of a shard, one at a time, after its SHA-256 was compared with its index.

    Raises:
        StoreError: the shard or its index is missing, cannot be read or is damaged; names the file.
    """
    index = read_index(path)
    with open_shard(path) as file:
        if hash_file(file) != (index.sha256, index.size):
            raise DamagedError(f"shard {path} is damaged: its SHA-256 is not the one in its index", fix=RESTORE)
        try:
            for packed, line in zip(index.records, read_lines(file, path), strict=True):
                yield PackedLine(packed, line)
        except ValueError:
            raise DamagedError(f"shard {path} has another number of records than its index", fix=RESTORE) from None


def read_files(shard: Path) -> Iterator[tuple[PackedFile, bytes]]:
    """The files in a shard, each compared with its hash in the index.

    Raises:
        StoreError: the shard or its index is missing, cannot be read or is damaged; names the file.
    """
    for entry, line in read_shard(shard):
        try:
            content = file_content(line)
        except msgspec.DecodeError as error:
            raise DamagedError(f"shard {shard} is damaged: {error}", fix=RESTORE) from None
        if hashlib.sha256(content).hexdigest() != entry.sha256:
            raise DamagedError(f"record {entry.file} in {shard} does not match its hash in the index", fix=RESTORE)
        yield entry, content


@contextmanager
def open_shard(path: Path) -> Iterator[BufferedReader]:
    """A shard, open for reading.

    Raises:
        StoreError: it cannot be opened or read.
    """
    try:
        with open(path, "rb") as file:
            yield file
    except OSError as error:
        raise read_error(path, error) from None


def read_lines(file: IO[bytes], path: Path) -> Iterator[bytes]:
    """The lines of a compressed file from its beginning, without their ends, decompressed as they are requested.

    Args:
        path: what errors call the file.

    Raises:
        DamagedError: the file is truncated or garbled.
    """
    lzma = _import_lzma()
    file.seek(0)
    decompressor, rest = lzma.LZMADecompressor(lzma.FORMAT_XZ), b""
    while not decompressor.eof:
        compressed = file.read(_CHUNK) if decompressor.needs_input else b""
        if decompressor.needs_input and not compressed:
            raise DamagedError(f"shard {path} is truncated", fix=RESTORE)
        try:
            text = decompressor.decompress(compressed, max_length=_CHUNK)
        except lzma.LZMAError as error:
            raise DamagedError(f"shard {path} is damaged: {error}", fix=RESTORE) from None
        *lines, rest = (rest + text).split(b"\n")
        yield from lines
    if rest or decompressor.unused_data or file.read(1):
        raise DamagedError(f"shard {path} is damaged: it does not end with its last line", fix=RESTORE)


def shards_among(folder: Path, names: Iterable[str]) -> list[Path]:
    """The shards among the files of a folder, in the order in which they were written."""
    shards = [name for name in names if layout.SHARD_NAME.fullmatch(name)]
    return [folder / name for name in sorted(shards, key=layout.shard_number)]


def find_missing_shards(folder: Path, names: Collection[str]) -> list[str]:
    """A problem for each index among the files of a folder whose shard is missing."""
    indexes = [folder / name for name in names if layout.INDEX_NAME.fullmatch(name)]
    missing = [(index, shard) for index in indexes if (shard := layout.indexed_shard(index)).name not in names]
    return [f"shard {shard} of index {index.name} is missing ({RESTORE})" for index, shard in missing]


def find_packed(path: Path) -> bytes | None:
    """The JSON of a record that was packed, by the path that its file had; None where no index lists it.

    Raises:
        StoreError: the shard or an index in its folder is damaged; names the file.
    """
    if not path.parent.is_dir():
        return None
    for shard in shards_among(path.parent, os.listdir(path.parent)):
        if any(packed.file == path.name for packed in read_index(shard).records):
            return next(record_json(line) for packed, line in read_shard(shard) if packed.file == path.name)
    return None


def hash_file(file: BufferedReader) -> tuple[str, int]:
    """The SHA-256 in hex and the size in bytes of an open file."""
    file.seek(0)
    digest = hashlib.file_digest(file, "sha256")
    return digest.hexdigest(), file.tell()


def open_compressor(file: IO[bytes]) -> IO[bytes]:
    """A stream that compresses what is written to it into a file; equal content gives equal bytes."""
    return cast(IO[bytes], _import_lzma().open(file, "wb", preset=_PRESET))


def _import_lzma() -> ModuleType:
    try:
        import lzma
    except ImportError:
        raise StoreError(
            "packed records need the module lzma, which this Python was built without",
            fix="install liblzma and build Python again, or use another Python",
        ) from None
    return lzma
