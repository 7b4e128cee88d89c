"""Define the names of files and folders of runs, records, shards and checkpoints, and compute run IDs."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final, TypeAlias

import msgspec

from harness.contract.run import RunSpec
from harness.system.files import read_error, walk_folders

#: Name of the record's file in the folder of a run.
RECORD = "record.json"
#: Name of the page with the tables of the published records.
LEADERBOARD = "LEADERBOARD.md"
#: Name of the file with the weights that are evaluated at the end of a run.
FINAL_WEIGHTS = "final.safetensors"
#: Name of the only folder to which the worker of an unfinished run may write.
WORKER = "worker"
#: Name of the compiler cache's folder, in the worker's folder.
COMPILED = "compiled"
#: Names of the last checkpoint and of the previous checkpoint, in the worker's folder.
CHECKPOINTS = ("checkpoint.pt", "checkpoint.previous.pt")
#: Pattern of the names of damaged checkpoints.
DAMAGED_CHECKPOINTS = "checkpoint*.corrupt"
#: Name of the file in which the supervisor keeps the scored time of an unfinished run (`harness.execution.account`).
ACCOUNT = "account.json"
#: Name of the folder for the results of evaluations, in the folder of an unfinished run. If the worker evaluates its
#: own weights, this folder is in the worker's folder.
EVALUATOR = "evaluator"
#: Name of the folder for replaced runs. Their records are not scored or listed. `bench verify` only reads their content
#: hashes, to find out whether attempts in the ledger have no record (`harness.verification.attempts`).
SUPERSEDED = "superseded"
#: Name of the folder for published records of earlier workload versions. A command reads these records only if its
#: arguments name this folder.
ARCHIVE = "archive"
#: A folder and the sorted names of its files.
ListedFolder: TypeAlias = tuple[Path, list[str]]
RUN_ID_PREFIX = "run-"
_RUN_ID = re.compile(RUN_ID_PREFIX + "[0-9a-f]{16}")
#: Names of shards (compressed files of packed records) and of their indexes; see `harness.storage.shards`.
SHARD_PREFIX = "records-"
SHARD_NAME = re.compile(r"records-(\d{4,})\.jsonl\.xz")
INDEX_NAME = re.compile(r"records-(\d{4,})\.index\.json")


#: Fields that were added to `RunSpec` after records had been published, with their defaults. A field with its default
#: value is left out of the hash. A trial therefore keeps the run_id that it had before the field existed.
LATER_FIELDS: Final[Mapping[str, object]] = MappingProxyType({"screening": True, "nonce": None, "held_out": None})
#: The same for fields of the ruleset.
LATER_RULESET_FIELDS: Final[Mapping[str, object]] = MappingProxyType({"common_tuning_seeds": False})


def run_id(spec: RunSpec) -> str:
    """Return the run_id of a trial. It is a hash of everything that decides the trial's outcome."""
    return _hash_spec(msgspec.to_builtins(spec, order="sorted"))


def run_id_of_json(record: bytes) -> str:
    """Return the run_id of the trial whose record is given as JSON.

    The hash is computed from the spec in the JSON. The decoded spec may have fields that did not exist when the record
    was written.

    Raises:
        msgspec.DecodeError: the record is not JSON or has no spec.
    """
    return _hash_spec(msgspec.json.decode(record, type=_RecordSpec).spec)


#: Fields of a workload or submission that contain hashes of its source.
_SOURCE_HASHES = frozenset({"source_hash", "code_hash"})


class _RecordSpec(msgspec.Struct):
    spec: dict[str, object]


def _hash_spec(spec: dict[str, object]) -> str:
    hashed = _without_later_fields(spec, LATER_FIELDS)
    if isinstance(ruleset := hashed.get("ruleset"), dict):
        hashed["ruleset"] = _without_later_fields(ruleset, LATER_RULESET_FIELDS)
    if isinstance(workload := hashed.get("workload"), dict):
        # The version of a workload identifies its code (see `WorkloadRef`).
        hashed["workload"] = {name: value for name, value in workload.items() if name not in _SOURCE_HASHES}
    if isinstance(submission := hashed.get("submission"), dict):
        # The code hash identifies a submission. A submission without a code hash is identified by its source hash.
        unused = "source_hash" if submission.get("code_hash") else "code_hash"
        hashed["submission"] = {name: value for name, value in submission.items() if name != unused}
    return RUN_ID_PREFIX + hashlib.sha256(msgspec.json.encode(hashed, order="sorted")).hexdigest()[:16]


def _without_later_fields(fields: dict[str, object], later: Mapping[str, object]) -> dict[str, object]:
    absent = object()
    return {name: value for name, value in fields.items() if later.get(name, absent) != value}


def is_run_id(name: str) -> bool:
    """Return whether a name has the form of a run_id.

    >>> is_run_id("run-0123456789abcdef"), is_run_id("run-copy")
    (True, False)
    """
    return _RUN_ID.fullmatch(name) is not None


def file_stem(entry_name: str) -> str:
    """Convert the name of a workload or submission to a text that may occur in file names.

    >>> file_stem("continual-mnist:task")
    'continual-mnist_task'
    """
    return entry_name.replace(":", "_")


def is_published_record(name: str) -> bool:
    """Return whether a file name can be that of a published record: it contains `run-` and ends in `.json`."""
    return name.endswith(".json") and RUN_ID_PREFIX in name


def is_record(name: str) -> bool:
    """Return whether a file name is the name of a record, in a run folder or published."""
    return name == RECORD or is_published_record(name)


def shard_index(shard: Path) -> Path:
    """Return the path of a shard's index."""
    return shard.with_name(shard.name.replace(".jsonl.xz", ".index.json"))


def indexed_shard(index: Path) -> Path:
    """Return the path of the shard that an index describes."""
    return index.with_name(index.name.replace(".index.json", ".jsonl.xz"))


def shard_name(number: int) -> str:
    """Return the file name of the shard with this number.

    >>> shard_name(12), shard_number("records-0012.jsonl.xz"), shard_number("records-0012.index.json")
    ('records-0012.jsonl.xz', 12, 12)
    """
    return f"records-{number:04d}.jsonl.xz"


def shard_number(name: str) -> int:
    """Return the number in the name of a shard or index; 0 for any other name."""
    match = SHARD_NAME.fullmatch(name) or INDEX_NAME.fullmatch(name)
    return int(match[1]) if match else 0


def walk_all(folders: Iterable[Path], problems: list[str]) -> Iterator[ListedFolder]:
    """Yield these folders and all folders below them, as `walk_records` does for one folder."""
    for folder in folders:
        yield from walk_records(folder, problems)


def walk_records(folder: Path, problems: list[str]) -> Iterator[ListedFolder]:
    """Yield this folder and every folder below it in sorted order, each with the sorted names of its files.

    Folders of replaced runs (`superseded/`) and of archived records (`archive/`) below this folder are skipped. A
    folder with the name of a record or shard is listed as a file. Reading it then raises an error.

    Args:
        folder: folder to search.
        problems: list to which a one-line message is appended for each folder that cannot be listed.
    """

    def report(path: Path, error: OSError) -> None:
        # A run may be moved to `superseded/` by another command while its folder is listed.
        if not isinstance(error, FileNotFoundError):
            problems.append(str(read_error(path, error)))

    for path, subfolders, names in walk_folders(folder, report):
        if subfolders:
            wrong = [name for name in subfolders if is_record(name) or shard_number(name)]
            subfolders[:] = sorted(set(subfolders) - {SUPERSEDED, ARCHIVE, *wrong})
            names = sorted([*names, *wrong])
        yield path, names
