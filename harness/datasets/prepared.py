"""Remember which data of a workload have been generated or read, so that a worker without write access finds them.

A worker in a sandbox cannot write to the data folder. Before it enters the sandbox, it therefore opens the data in
another process, which may fill the cache of generated data. A manifest then lists the opened files.
"""

from __future__ import annotations

import functools
import hashlib
import os
from collections.abc import Iterable
from pathlib import Path

import msgspec

from harness.contract.run import DataPart, PreparedData, RunSpec
from harness.datasets.generated import FOLDER
from harness.datasets.paths import data_folder
from harness.errors import StoreError
from harness.plugins.source_hash import source_hash
from harness.system.files import read_struct, write_atomically

MANIFEST_SUFFIX = ".prepared"


def find_unprepared(spec: RunSpec) -> tuple[PreparedData, ...]:
    """Return the parts of a trial's data that have not been opened before, or whose files are missing.

    If the data folder cannot be written, the result is empty, because nothing could be stored there.
    """
    folder = data_folder() / FOLDER
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return ()
    if not os.access(folder, os.W_OK):
        return ()
    feedback: tuple[DataPart, ...] = ("feedback",) if "feedback" in spec.submission.needs else ()
    parts: tuple[DataPart, ...] = ("train", "score", *feedback)
    manifests = {part: str(folder / f"{_manifest_name(spec, part)}{MANIFEST_SUFFIX}") for part in parts}
    return tuple(
        PreparedData(part=part, manifest=path) for part, path in manifests.items() if not _is_complete(Path(path))
    )


def write_manifest(manifest: Path, files: Iterable[str]) -> None:
    """Write the list of the files that a part of the data consists of.

    Raises:
        StoreError: the manifest cannot be written.
    """
    write_atomically(manifest, msgspec.json.encode(sorted(set(files))))


def _is_complete(manifest: Path) -> bool:
    if not manifest.exists():
        return False
    try:
        return all(map(os.path.exists, read_struct(manifest, list[str])))
    except StoreError:
        return False


def _manifest_name(spec: RunSpec, part: DataPart) -> str:
    """Return a hash of everything that decides which files a part of the data consists of."""
    ref = spec.workload
    seed = spec.seeds.data if part == "train" else None
    pieces = (part, seed, ref.load, ref.arguments, ref.facts.id, str(data_folder()), _workload_hash(ref.load))
    return hashlib.sha256(msgspec.json.encode(pieces, order="sorted")).hexdigest()


@functools.cache
def _workload_hash(load: str) -> str:
    return source_hash([load])
