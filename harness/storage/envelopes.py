"""Read and write envelopes (a reference's metric at each budget), one file for each workload."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TypeAlias

import msgspec

from harness.contract.envelope import ReferenceEnvelope
from harness.storage.layout import file_stem
from harness.system.files import read_struct, write_atomically

#: Default folder of the envelopes.
ENVELOPES_FOLDER = Path("calibration/envelopes")
#: `name@version` of a workload -> its envelope.
Envelopes: TypeAlias = Mapping[str, ReferenceEnvelope]


def envelope_file(folder: Path, workload: str) -> Path:
    """Return the path of the envelope of the workload called `workload`."""
    return folder / f"{file_stem(workload)}.json"


def default_envelopes(results: Path) -> Path:
    """Return the folder of envelopes: the one in the current folder or, if there is none, beside published records.

    Args:
        results: folder of published records.
    """
    beside = results.absolute().parent / ENVELOPES_FOLDER
    return beside if beside.is_dir() and not ENVELOPES_FOLDER.is_dir() else ENVELOPES_FOLDER


def read_envelope(folder: Path, workload: str) -> ReferenceEnvelope | None:
    """Return the envelope of the workload called `workload`, of any version; None if there is no file.

    Raises:
        StoreError: the file is damaged.
    """
    path = envelope_file(folder, workload)
    return read_struct(path, ReferenceEnvelope) if path.exists() else None


def read_envelopes(folder: Path = ENVELOPES_FOLDER) -> dict[str, ReferenceEnvelope]:
    """Return the envelopes in a folder by `name@version` of the workload; empty if the folder does not exist.

    Raises:
        StoreError: a file is damaged.
    """
    if not folder.is_dir():
        return {}
    envelopes = (read_struct(path, ReferenceEnvelope) for path in sorted(folder.glob("*.json")))
    return {envelope.workload: envelope for envelope in envelopes}


def write_envelope(folder: Path, envelope: ReferenceEnvelope) -> Path:
    """Write an envelope to its file, and return the path of the file."""
    folder.mkdir(parents=True, exist_ok=True)
    path = envelope_file(folder, envelope.workload.partition("@")[0])
    payload = msgspec.json.format(msgspec.json.encode(envelope, order="deterministic"), indent=1)
    write_atomically(path, payload + b"\n")
    return path
