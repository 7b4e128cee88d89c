"""Record which data of a workload are already in the data folder, so that workers need not write there.

A worker in a sandbox cannot write to the data folder. Before the worker enters the sandbox, it therefore forks a
process that opens the data, and may fill the cache of generated data. A manifest then lists the files that the process
opened.

Some workloads generate training data from the seed of the run, and others read the same files for every seed. The
harness assumes the second kind in two cases: the process opened no file of the cache of generated data, or it opened
the same files as for the seed before. One *seedless* manifest then serves all seeds. If the assumption is wrong, the
worker generates the data itself.
"""

from __future__ import annotations

import functools
import hashlib
import os
from collections.abc import Iterable
from pathlib import Path

import msgspec

from harness.contract.base import Data
from harness.contract.prepared import DataPart, PreparedData
from harness.contract.run import RunSpec
from harness.datasets.generated import FOLDER
from harness.datasets.paths import data_folder
from harness.errors import StoreError
from harness.plugins.source_hash import source_hash
from harness.system.files import read_struct, write_atomically

MANIFEST_SUFFIX = ".prepared"


def find_unprepared(spec: RunSpec) -> tuple[PreparedData, ...]:
    """Return the parts of a trial's data that were never opened before, or that lack files.

    If the data folder is not writable, the result is empty.
    """
    folder = data_folder() / FOLDER
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return ()
    if not os.access(folder, os.W_OK):
        return ()
    feedback: tuple[DataPart, ...] = ("feedback",) if "feedback" in spec.submission.needs else ()
    # If `held_out` has seeds, the held-out data are drawn from a nonce. Such data are never stored.
    held_out: tuple[DataPart, ...] = ("score", *feedback) if spec.held_out is None else ()
    parts: tuple[DataPart, ...] = ("train", *held_out)
    unprepared = []
    for part in parts:
        manifest = _manifest(folder, spec, part, spec.seeds.data if part == "train" else None)
        seedless = _manifest(folder, spec, part, None) if part == "train" else ""
        if not (_is_complete(manifest) or (seedless and _is_complete(seedless))):
            unprepared.append(PreparedData(part=part, manifest=manifest, seedless=seedless))
    return tuple(unprepared)


class LastSeed(Data, frozen=True, kw_only=True):
    """The files of the training data of the seed that was prepared last.

    Args:
        manifest: path of the seed's manifest.
        files: sorted paths of the files.
    """

    manifest: str
    files: list[str]


def write_manifest(prepared: PreparedData, files: Iterable[str]) -> None:
    """Write the list of the files that a part of the data consists of.

    Args:
        prepared: the part.
        files: paths of the files.

    Raises:
        StoreError: the manifest cannot be written.
    """
    listed = sorted(set(files))
    if prepared.seedless and _are_files_of_every_seed(prepared, listed):
        write_atomically(Path(prepared.seedless), msgspec.json.encode(listed))
        return
    if prepared.seedless:
        last = LastSeed(manifest=prepared.manifest, files=listed)
        write_atomically(_last_seed_path(prepared), msgspec.json.encode(last))
    write_atomically(Path(prepared.manifest), msgspec.json.encode(listed))


def _are_files_of_every_seed(prepared: PreparedData, files: list[str]) -> bool:
    """Return whether other seeds can be assumed to need the same files."""
    generated = str(data_folder() / FOLDER) + os.sep
    if not any(path.startswith(generated) for path in files):
        return True
    try:
        last = read_struct(_last_seed_path(prepared), LastSeed)
    except StoreError:  # missing or damaged
        return False
    return last.manifest != prepared.manifest and last.files == files


def _last_seed_path(prepared: PreparedData) -> Path:
    return Path(prepared.seedless).with_suffix(f".last{MANIFEST_SUFFIX}")


def _is_complete(manifest: str) -> bool:
    path = Path(manifest)
    if not path.exists():
        return False
    try:
        return all(map(os.path.exists, read_struct(path, list[str])))
    except StoreError:
        return False


def _manifest(folder: Path, spec: RunSpec, part: DataPart, seed: int | None) -> str:
    """Return the path of a manifest. Its name is a hash of everything that decides which files belong to the part."""
    ref = spec.workload
    pieces = (part, seed, ref.load, ref.arguments, ref.facts.id, str(data_folder()), _workload_hash(ref.load))
    digest = hashlib.sha256(msgspec.json.encode(pieces, order="sorted")).hexdigest()
    return str(folder / f"{digest}{MANIFEST_SUFFIX}")


@functools.cache
def _workload_hash(load: str) -> str:
    return source_hash([load])
