"""Read and write shards. A shard is a compressed file that contains record files of one folder.

The shard `records-0001.jsonl.xz` has one line for each record file, in the order of the file names. Its index
`records-0001.index.json` lists the record files with their hashes. Neither the shard nor the index ever changes:
records that are packed later go into a new shard, `records-0002`.

The form of a line depends on the record file. From each form, the file is restored byte for byte:

- A file in the layout of `record_layout` becomes the record's JSON without white space, followed by one space.
- A file that is indented by one space, as earlier versions wrote it, becomes the record's JSON without white space.
- A file with other white space, or whose name is not `RUN_ID.json`, becomes `{"file": name, "text": content}`.
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
from harness.storage.record_layout import format_record
from harness.system.files import JSON_ERRORS, describe_json_error, is_file_name, open_regular, read_struct

#: Preset of the compression, liblzma's default. Higher presets save one percent of the size and take 1.5 times as long.
_PRESET = 6
#: Maximum number of bytes that are read or decompressed at once.
_CHUNK = 1 << 18
#: What a user can do if a shard or its index is damaged or missing.
RESTORE = "restore both files from version control or another copy"


class PackedFile(Data, frozen=True, kw_only=True):
    """A record file in a shard.

    Args:
        file: the file's name. Unpacking writes the file to the shard's folder.
        run_id: the record's run_id.
        sha256: SHA-256 of the file's bytes, in hex.
        content_hash: the record's content hash.
    """

    file: str
    run_id: str
    sha256: str
    content_hash: str


class ShardIndex(Data, frozen=True, kw_only=True):
    """The content of the index of a shard.

    Args:
        schema: version of this format.
        shard: the shard's file name.
        sha256: SHA-256 of the shard's bytes, in hex.
        size: the shard's size in bytes.
        records: the packed files, in the order of the shard's lines.
    """

    schema: int = 1
    shard: str
    sha256: str
    size: int
    records: tuple[PackedFile, ...]


class FolderReport(Data, frozen=True, kw_only=True):
    """The result of packing, unpacking or checking one folder.

    Args:
        folder: the folder's path.
        records: number of record files that were packed, unpacked or checked.
        shards: names of the shards that were written, removed or checked.
        problems: a one-line message for each file or folder that cannot be read, is damaged or contradicts another
            file. These files stay unchanged.
    """

    folder: str
    records: int = 0
    shards: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()


class PackedLine(NamedTuple):
    """A line of a shard without its newline, and the line's entry in the index."""

    packed: PackedFile
    line: bytes


# --- lines --------------------------------------------------------------------------------------


class _Verbatim(msgspec.Struct, frozen=True):
    """A line that stores a record file as text."""

    file: str
    text: str


class _Identity(msgspec.Struct):
    """The fields of a record that determine the name of its file and the hash of its content."""

    run_id: str
    content_hash: str = ""


_VERBATIM_START = b'{"file":'
#: End of a line that stores a record file in the layout of `record_layout`.
_RECORD_LAYOUT_END = b" "


def encode_line(name: str, content: bytes) -> bytes:
    """Return the line of a shard for a record file. The file's content must be valid JSON in UTF-8."""
    compact = msgspec.json.format(content, indent=-1)
    if not compact.startswith(_VERBATIM_START) and file_name(compact) == name:
        for line in (compact + _RECORD_LAYOUT_END, compact):
            if file_content(line) == content:
                return line
    return msgspec.json.encode(_Verbatim(name, content.decode()))


def file_name(line: bytes) -> str:
    """Return the name of the record file that a line contains.

    Raises:
        msgspec.DecodeError: the line is damaged.
    """
    if line.startswith(_VERBATIM_START):
        return msgspec.json.decode(line, type=_Verbatim).file
    return f"{msgspec.json.decode(line, type=_Identity).run_id}.json"


def file_content(line: bytes) -> bytes:
    """Return the content of the record file that a line contains, byte for byte.

    Raises:
        msgspec.DecodeError: the line is damaged.
    """
    if line.startswith(_VERBATIM_START):
        return msgspec.json.decode(line, type=_Verbatim).text.encode()
    if line.endswith(_RECORD_LAYOUT_END):
        return format_record(line.removesuffix(_RECORD_LAYOUT_END))
    return msgspec.json.format(line, indent=1) + b"\n"


def record_json(line: bytes) -> bytes:
    """Return the JSON of the record that a line contains.

    This function does not restore the white space of the record file. It is therefore faster than `file_content`.

    Raises:
        msgspec.DecodeError: the line is damaged.
    """
    return file_content(line) if line.startswith(_VERBATIM_START) else line


# --- reading ------------------------------------------------------------------------------------


def read_index(shard: Path) -> ShardIndex:
    """Read and check the index of a shard.

    Raises:
        StoreError: the index is missing, cannot be read, is damaged, belongs to another shard or has an unknown schema.
    """
    path = layout.shard_index(shard)
    if not path.exists():
        raise StoreError(f"shard {shard} has no index", fix=f"run bench results pack {shard.parent} to write it")
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


def require_record_name(name: str, location: Path) -> None:
    """Raise a DamagedError unless a name is the file name of a record.

    Because of this check, unpacking writes only records, and only to the shard's folder.

    Args:
        name: the file name.
        location: path of the folder, index or shard that contains the name.

    Raises:
        DamagedError: the name is not a plain file name, or is not the name of a record.
    """
    if not is_file_name(name) or not layout.is_published_record(name):
        problem = f"{location}: {name!r} is not a file name of a record"
        fix = "use a name of letters, digits and any of . _ + - that contains run- and ends in .json"
        raise DamagedError(problem, fix=fix)


def read_shard(path: Path) -> Iterator[PackedLine]:
    """Yield the lines of a shard, after comparing the shard's SHA-256 with the value in the shard's index.

    Raises:
        StoreError: the shard or its index is missing, cannot be read or is damaged. The message names the file.
    """
    index = read_index(path)
    with open_shard(path) as file:
        # The size is compared first, because hashing a huge file would take long.
        if os.fstat(file.fileno()).st_size != index.size or hash_file(file) != (index.sha256, index.size):
            raise DamagedError(f"shard {path} is damaged: its SHA-256 is not the one in its index", fix=RESTORE)
        try:
            for packed, line in zip(index.records, read_lines(file, path), strict=True):
                yield PackedLine(packed, line)
        except ValueError:
            raise DamagedError(f"shard {path} and its index differ in their number of records", fix=RESTORE) from None


def read_files(shard: Path) -> Iterator[tuple[PackedFile, bytes]]:
    """Yield the index entry and the content of each file in a shard. The content is first compared with the entry.

    Raises:
        StoreError: the shard or its index is missing, cannot be read or is damaged. The message names the file.
    """
    for entry, line in read_shard(shard):
        try:
            name, content = file_name(line), file_content(line)
            record = msgspec.json.decode(content, type=_Identity)
        except JSON_ERRORS as error:
            raise DamagedError(f"shard {shard} is damaged: {describe_json_error(error)}", fix=RESTORE) from None
        if name != entry.file:
            raise DamagedError(f"record {name} in {shard} is called {entry.file} in the index", fix=RESTORE)
        if hashlib.sha256(content).hexdigest() != entry.sha256:
            raise DamagedError(f"record {entry.file} in {shard} does not match its hash in the index", fix=RESTORE)
        if (record.run_id, record.content_hash) != (entry.run_id, entry.content_hash):
            problem = f"record {entry.file} in {shard} has a run_id or content hash that differs from its index"
            raise DamagedError(problem, fix=RESTORE)
        yield entry, content


@contextmanager
def open_shard(path: Path) -> Iterator[BufferedReader]:
    """Open a shard for reading.

    Raises:
        StoreError: the shard cannot be opened or read.
    """
    with open_regular(path) as file:
        yield file


def read_lines(file: IO[bytes], path: Path) -> Iterator[bytes]:
    """Yield all lines of a compressed file, without newlines. The file is decompressed piece by piece.

    Args:
        file: the compressed file.
        path: path of the file, for error messages.

    Raises:
        DamagedError: the file is truncated or cannot be decompressed.
    """
    lzma = _import_lzma()
    file.seek(0)
    decompressor, incomplete_line = lzma.LZMADecompressor(lzma.FORMAT_XZ), b""
    while not decompressor.eof:
        compressed = file.read(_CHUNK) if decompressor.needs_input else b""
        if decompressor.needs_input and not compressed:
            raise DamagedError(f"shard {path} is truncated", fix=RESTORE)
        try:
            text = decompressor.decompress(compressed, max_length=_CHUNK)
        except lzma.LZMAError as error:
            raise DamagedError(f"shard {path} is damaged: {error}", fix=RESTORE) from None
        *lines, incomplete_line = (incomplete_line + text).split(b"\n")
        yield from lines
    if incomplete_line or decompressor.unused_data or file.read(1):
        raise DamagedError(f"shard {path} is damaged: it has data after its last complete line", fix=RESTORE)


def shards_among(folder: Path, names: Iterable[str]) -> list[Path]:
    """Return the paths of a folder's shards, oldest first. `names` are the names of the files in the folder."""
    shards = [name for name in names if layout.SHARD_NAME.fullmatch(name)]
    return [folder / name for name in sorted(shards, key=layout.shard_number)]


def find_missing_shards(folder: Path, names: Collection[str]) -> list[str]:
    """Return a message for each index whose shard is missing. `names` are the names of the files in the folder."""
    indexes = [folder / name for name in names if layout.INDEX_NAME.fullmatch(name)]
    missing = [(index, shard) for index in indexes if (shard := layout.indexed_shard(index)).name not in names]
    return [f"shard {shard} of index {index.name} is missing ({RESTORE})" for index, shard in missing]


def find_packed(path: Path) -> bytes | None:
    """Return the JSON of a packed record, or None if no index in the folder lists the record's file.

    Args:
        path: path of the record's file before it was packed.

    Raises:
        StoreError: the shard or an index in the folder is damaged. The message names the file.
    """
    if not path.parent.is_dir():
        return None
    for shard in shards_among(path.parent, os.listdir(path.parent)):
        if any(packed.file == path.name for packed in read_index(shard).records):
            return next(record_json(line) for packed, line in read_shard(shard) if packed.file == path.name)
    return None


def hash_file(file: BufferedReader) -> tuple[str, int]:
    """Return the SHA-256 in hex and the size in bytes of an open file."""
    file.seek(0)
    digest = hashlib.file_digest(file, "sha256")
    return digest.hexdigest(), file.tell()


def open_compressor(file: IO[bytes]) -> IO[bytes]:
    """Return a stream that writes compressed data to a file. Equal content gives equal compressed bytes."""
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
