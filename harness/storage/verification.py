"""Verify records, packed or not: the hashes of shards, files and contents, and the run_ids."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from harness.errors import StoreError
from harness.storage import layout, shards
from harness.storage.records import decode, require_own_name
from harness.storage.shards import FolderReport
from harness.system.files import read_file


def verify(folder: Path) -> Iterator[FolderReport]:
    """Check the hashes and run_ids of all records below a folder, packed or not. No file is changed.

    If some folders cannot be listed, an additional last report names these folders.
    """
    unreadable: list[str] = []
    for subfolder, names in layout.walk_records(folder, unreadable):
        if any(layout.is_record(name) or layout.shard_number(name) for name in names):
            yield _verify_folder(subfolder, names)
    if unreadable:
        yield FolderReport(folder=str(folder), problems=tuple(unreadable))


def _verify_folder(folder: Path, names: Sequence[str]) -> FolderReport:
    problems = shards.find_missing_shards(folder, names)
    hashes: dict[str, str] = {}
    checked_shards = []
    records = 0
    for shard in shards.shards_among(folder, names):
        checked_shards.append(shard.name)
        try:
            for entry, content in shards.read_files(shard):
                records += 1
                problems += _verify_record(content, folder / entry.file, f"{entry.file} in {shard}", hashes)
        except StoreError as error:
            problems.append(str(error))
    for path in (folder / name for name in names if layout.is_record(name)):
        records += 1
        try:
            problems += _verify_record(read_file(path), path, str(path), hashes)
        except StoreError as error:
            problems.append(str(error))
    return FolderReport(folder=str(folder), records=records, shards=tuple(checked_shards), problems=tuple(problems))


def _verify_record(content: bytes, path: Path, label: str, hashes: dict[str, str]) -> Iterator[str]:
    """Yield a one-line message for each problem of a record.

    Args:
        content: the record's JSON.
        path: path of the record's file. If the record is packed, the file need not exist.
        label: name of the record in messages.
        hashes: content hashes of the folder's records that were already checked, by run_id.
    """
    try:
        record = decode(content, label)
        require_own_name(record.run_id, path)
    except StoreError as error:
        yield str(error)
        return
    if record.run_id != layout.run_id_of_json(content):
        yield f"record {label} has the run_id {record.run_id}; its spec gives {layout.run_id_of_json(content)}"
    if hashes.setdefault(record.run_id, record.content_hash) != record.content_hash:
        yield f"record {label} has the run_id of another record in this folder"
