"""Pack record files into compressed files (shards), and unpack the shards. An interrupted call loses no record.

Packing writes a shard, reads it back, syncs it to disk and writes its index. Only then are the packed files removed.
Unpacking removes a shard only after all its files are written. If a call is interrupted, the next call completes it.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec

from harness.errors import DamagedError, StoreError
from harness.storage import layout, shards
from harness.storage.records import decode
from harness.storage.shards import FolderReport, PackedFile, ShardIndex
from harness.system.files import (
    JSON_ERRORS,
    describe_json_error,
    open_atomically,
    read_error,
    read_file,
    sync_folder,
    write_atomically,
    write_error,
)
from harness.system.locks import LockHeldError, take_lock

# --- pack ---------------------------------------------------------------------------------------


def pack(folder: Path) -> Iterator[FolderReport]:
    """Pack the published records below a folder into one new shard per subfolder.

    Damaged records are not packed. Records in run folders (`record.json`) are not packed, because a run resumes from
    its folder. If some folders cannot be listed, an additional last report names these folders.

    Raises:
        StoreError: a folder cannot be written, or another process is packing it.
    """
    unreadable: list[str] = []
    for subfolder, names in layout.walk_records(folder, unreadable):
        if any(layout.is_published_record(name) or layout.shard_number(name) for name in names):
            report = _pack_folder(subfolder)
            if report.records or report.shards or report.problems:
                yield report
    if unreadable:
        yield FolderReport(folder=str(folder), problems=tuple(unreadable))


def _pack_folder(folder: Path) -> FolderReport:
    with _locked(folder):
        problems: list[str] = []
        written_shards = _complete_indexes(folder, problems)
        paths = [folder / name for name in sorted(os.listdir(folder)) if layout.is_published_record(name)]
        packed_entries = _find_packed_entries(folder, {path.name for path in paths}, problems)
        removable_entries = [
            entry
            for path in paths
            if (entry := packed_entries.get(path.name)) and _equals_packed_copy(path, entry, problems)
        ]
        new_entries = [
            entry for path in paths if path.name not in packed_entries and (entry := _describe(path, problems))
        ]
        if new_entries:
            written_shards.append(_write_shard(folder, new_entries))
        _remove(folder, [*removable_entries, *new_entries])
    records = len(removable_entries) + len(new_entries)
    return FolderReport(folder=str(folder), records=records, shards=tuple(written_shards), problems=tuple(problems))


def _complete_indexes(folder: Path, problems: list[str]) -> list[str]:
    """Write the index of every shard without an index, and return the names of these shards."""
    names = os.listdir(folder)
    problems += shards.find_missing_shards(folder, names)
    completed_shards = []
    for shard in shards.shards_among(folder, names):
        if layout.shard_index(shard).exists():
            continue
        try:
            entries = _describe_shard(shard)
        except StoreError as error:
            problems.append(str(error))
        else:
            _write_index(shard, entries)
            completed_shards.append(shard.name)
    return completed_shards


def _describe_shard(shard: Path) -> list[PackedFile]:
    """Return the index entries of a shard, computed from the shard's lines.

    Raises:
        StoreError: the shard cannot be read, or a line is not a valid record.
    """
    with shards.open_shard(shard) as file:
        return [_describe_line(line, shard) for line in shards.read_lines(file, shard)]


def _describe_line(line: bytes, shard: Path) -> PackedFile:
    """Return the index entry for a line of a shard."""
    try:
        name, content = shards.file_name(line), shards.file_content(line)
    except JSON_ERRORS as error:
        raise DamagedError(f"shard {shard} is damaged: {describe_json_error(error)}", fix=shards.RESTORE) from None
    shards.require_record_name(name, shard)
    return _packed_file(name, content, f"{name} in {shard}")


def _packed_file(name: str, content: bytes, label: str) -> PackedFile:
    """Return the index entry of a record file.

    Raises:
        StoreError: the content is not a valid record, or has a schema that this version does not read.
    """
    record = decode(content, label)
    digest = hashlib.sha256(content).hexdigest()
    return PackedFile(file=name, run_id=record.run_id, sha256=digest, content_hash=record.content_hash)


def _indexed_shards(folder: Path) -> list[Path]:
    """Return the shards of a folder that have an index. `_complete_indexes` has reported the others as problems."""
    return [shard for shard in shards.shards_among(folder, os.listdir(folder)) if layout.shard_index(shard).exists()]


def _find_packed_entries(folder: Path, names: set[str], problems: list[str]) -> dict[str, PackedFile]:
    """Return the index entries of the packed files of a folder, by file name.

    Only shards that contain a file in `names` are read. A damaged shard is reported as a problem, and its files count
    as not packed.
    """
    packed: dict[str, PackedFile] = {}
    for shard in _indexed_shards(folder):
        try:
            index = shards.read_index(shard)
            if not names.isdisjoint(entry.file for entry in index.records):
                packed |= {entry.file: entry for entry, _ in shards.read_files(shard)}
        except StoreError as error:
            problems.append(str(error))
    return packed


def _equals_packed_copy(path: Path, entry: PackedFile, problems: list[str]) -> bool:
    """Return whether a plain (unpacked) record file equals its packed copy. A difference is reported as a problem."""
    try:
        is_equal = _hash(path) == entry.sha256
    except StoreError as error:
        problems.append(str(error))
        return False
    if not is_equal:
        problems.append(
            f"record {path} differs from the packed record of the same name; both were kept ({_conflict_fix(path)})"
        )
    return is_equal


def _describe(path: Path, problems: list[str]) -> PackedFile | None:
    """Return the index entry for a plain record file. If it cannot be packed, report a problem and return None."""
    try:
        shards.require_record_name(path.name, path.parent)
        return _packed_file(path.name, read_file(path), str(path))
    except StoreError as error:
        problems.append(str(error))
        return None


def _write_shard(folder: Path, entries: Sequence[PackedFile]) -> str:
    """Write a shard and its index, and return the shard's name.

    Raises:
        StoreError: a file cannot be read, a file was changed during packing, or the shard cannot be written.
    """
    number = 1 + max(layout.shard_number(name) for name in os.listdir(folder))
    shard = folder / layout.shard_name(number)
    with open_atomically(shard) as file:
        with shards.open_compressor(file) as out:
            for entry in entries:
                out.write(shards.encode_line(entry.file, read_file(folder / entry.file)) + b"\n")
        # The shard is read back before any file is removed.
        for entry, line in zip(entries, shards.read_lines(file, shard), strict=True):
            content = shards.file_content(line)
            if shards.file_name(line) != entry.file or hashlib.sha256(content).hexdigest() != entry.sha256:
                raise StoreError(
                    f"record {folder / entry.file} was changed while it was packed", fix="repeat the command"
                )
    _write_index(shard, entries)
    return shard.name


def _write_index(shard: Path, entries: Sequence[PackedFile]) -> None:
    with shards.open_shard(shard) as file:
        digest, size = shards.hash_file(file)
    index = ShardIndex(shard=shard.name, sha256=digest, size=size, records=tuple(entries))
    write_atomically(layout.shard_index(shard), msgspec.json.format(msgspec.json.encode(index), indent=1) + b"\n")


def _remove(folder: Path, entries: Iterable[PackedFile]) -> None:
    """Remove plain files that were packed and have not changed since then."""
    for entry in entries:
        path = folder / entry.file
        if _hash(path) == entry.sha256:
            _unlink(path)
    sync_folder(folder)


# --- unpack -------------------------------------------------------------------------------------


def unpack(folder: Path) -> Iterator[FolderReport]:
    """Write the record files of all shards below a folder, byte for byte, and remove the shards.

    A shard stays if it is damaged, or if one of its files already exists with different content. If some folders cannot
    be listed, an additional last report names these folders.

    Raises:
        StoreError: a folder cannot be written, or another process is packing it.
    """
    unreadable: list[str] = []
    for subfolder, names in layout.walk_records(folder, unreadable):
        if any(layout.shard_number(name) for name in names):
            yield _unpack_folder(subfolder)
    if unreadable:
        yield FolderReport(folder=str(folder), problems=tuple(unreadable))


def _unpack_folder(folder: Path) -> FolderReport:
    with _locked(folder):
        _remove_temporaries(folder, ".*run-*.json.*.tmp")
        problems: list[str] = []
        _complete_indexes(folder, problems)
        records, removed_shards = 0, []
        for shard in _indexed_shards(folder):
            try:
                records += _unpack_shard(shard)
            except DamagedError as error:
                problems.append(str(error))
            else:
                removed_shards.append(shard.name)
    return FolderReport(folder=str(folder), records=records, shards=tuple(removed_shards), problems=tuple(problems))


def _unpack_shard(shard: Path) -> int:
    """Write the files of a shard, remove the shard, and return the number of files.

    Raises:
        DamagedError: the shard is damaged, or a file exists with different content. In both cases, no file was written.
    """
    for entry, content in shards.read_files(shard):
        path = shard.with_name(entry.file)
        if path.exists() and read_file(path) != content:
            raise DamagedError(
                f"record {path} differs from the record of the same name in {shard.name}; both were kept",
                fix=_conflict_fix(path),
            )
    count = 0
    for entry, content in shards.read_files(shard):
        path = shard.with_name(entry.file)
        if not path.exists():
            write_atomically(path, content)
        count += 1
    # The index is removed first. If the call is then interrupted, the shard without an index can still be read.
    _unlink(layout.shard_index(shard))
    _unlink(shard)
    sync_folder(shard.parent)
    return count


# --- files --------------------------------------------------------------------------------------


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Lock a folder against other packing processes, and remove the temporary files of a process that was killed.

    Raises:
        StoreError: another process has locked the folder, or the folder cannot be opened.
    """
    try:
        descriptor = take_lock(folder, has_content=True)
    except LockHeldError:
        raise StoreError(
            f"another process packs or unpacks {folder}", fix="wait until it has finished, then repeat the command"
        ) from None
    except OSError as error:
        raise read_error(folder, error) from None
    try:
        _remove_temporaries(folder, ".records-*.tmp")
        yield
    finally:
        os.close(descriptor)


def _remove_temporaries(folder: Path, pattern: str) -> None:
    for temporary in folder.glob(pattern):
        temporary.unlink(missing_ok=True)


def _hash(path: Path) -> str:
    return hashlib.sha256(read_file(path)).hexdigest()


def _unlink(path: Path) -> None:
    try:
        path.unlink()
    except OSError as error:
        raise write_error(path, error) from None


def _conflict_fix(path: Path) -> str:
    """Return what a user can do if a plain file differs from the packed record of the same name."""
    return (
        f"to keep the packed record, delete the plain file; to replace it, move the plain file away, run "
        f"bench results unpack {path.parent}, and move it back"
    )
