"""File names and identities: where records, shards, checkpoints and compiler caches lie."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator
from pathlib import Path

import msgspec

from harness.contract.run import RunSpec

RECORD = "record.json"
#: The compiler's cache in the folder of an unfinished run.
COMPILED = "compiled"
#: The checkpoints in the folder of an unfinished run, damaged ones included.
CHECKPOINTS = "checkpoint*.pt*"
#: The folder for replaced runs; its records are never read.
SUPERSEDED = "superseded"
RUN_ID_PREFIX = "run-"
SHARD_NAME = re.compile(r"records-(\d{4,})\.jsonl\.xz")
INDEX_NAME = re.compile(r"records-(\d{4,})\.index\.json")


def run_id(spec: RunSpec) -> str:
    """The identity of a trial: a hash of everything that decides its outcome."""
    return _hash_spec(msgspec.json.encode(spec, order="sorted"))


def run_id_of_json(record: bytes) -> str:
    """The identity of the trial in a record's JSON, by its spec.

    From the JSON, not from the decoded spec: fields that a later version adds would change the hash.

    Raises:
        msgspec.DecodeError: the record is not JSON or has no spec.
    """
    spec = msgspec.json.decode(record, type=_RecordSpec).spec
    return _hash_spec(msgspec.json.encode(spec, order="sorted"))


class _RecordSpec(msgspec.Struct):
    spec: dict[str, object]


def _hash_spec(encoded: bytes) -> str:
    return RUN_ID_PREFIX + hashlib.sha256(encoded).hexdigest()[:16]


def file_stem(entry_name: str) -> str:
    """The name of a workload or submission as the name of a folder or file.

    >>> file_stem("continual-mnist:task")
    'continual-mnist_task'
    """
    return entry_name.replace(":", "_")


def is_published_record(name: str) -> bool:
    """Whether a file name is the name of a record outside a run folder: JSON, named by its run_id."""
    return name.endswith(".json") and RUN_ID_PREFIX in name


def is_record(name: str) -> bool:
    """Whether a file name is the name of a record: in a run folder, or published."""
    return name == RECORD or is_published_record(name)


def shard_index(shard: Path) -> Path:
    """The index of a shard."""
    return shard.with_name(shard.name.replace(".jsonl.xz", ".index.json"))


def indexed_shard(index: Path) -> Path:
    """The shard of an index."""
    return index.with_name(index.name.replace(".index.json", ".jsonl.xz"))


def shard_name(number: int) -> str:
    """The name of a shard.

    >>> shard_name(12), shard_number("records-0012.jsonl.xz"), shard_number("records-0012.index.json")
    ('records-0012.jsonl.xz', 12, 12)
    """
    return f"records-{number:04d}.jsonl.xz"


def shard_number(name: str) -> int:
    """The number in the name of a shard or of an index; 0 for another file."""
    match = SHARD_NAME.fullmatch(name) or INDEX_NAME.fullmatch(name)
    return int(match[1]) if match else 0


def walk_records(folder: Path) -> Iterator[tuple[Path, list[str]]]:
    """Every folder from this one on with the names of its files, both sorted; without replaced runs."""
    for root, subfolders, names in os.walk(folder):
        subfolders[:] = sorted(name for name in subfolders if name != SUPERSEDED)
        yield Path(root), sorted(names)
