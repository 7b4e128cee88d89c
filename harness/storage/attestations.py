"""Read and write attestations, the results of checks of a record. They are small JSON files in the record's folder.

The name of such a file contains the hash of the attestation, so attestations never replace each other. It also contains
the record's content hash. The attestations of published records in a compressed file are found by this hash.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable
from pathlib import Path

import msgspec

from harness.contract.attestation import ATTESTATION_SCHEMA, Attestation
from harness.errors import StoreError
from harness.storage.layout import ListedFolder
from harness.system.files import MAX_CONFIGURATION_BYTES, read_struct, write_atomically

_NAME = re.compile(r"attestation-[0-9a-f]{16}-[0-9a-f]{8}\.json")


def write_attestation(folder: Path, attestation: Attestation) -> Path:
    """Write an attestation to the folder of its record, and return the path of the file.

    Raises:
        StoreError: the file cannot be written.
    """
    content = msgspec.json.format(msgspec.json.encode(attestation, order="sorted"), indent=1) + b"\n"
    digest = hashlib.sha256(content).hexdigest()[:8]
    path = folder / f"attestation-{attestation.record[:16]}-{digest}.json"
    write_atomically(path, content)
    return path


def read_attestations(folder: Path, names: Iterable[str] | None = None) -> tuple[list[Attestation], list[str]]:
    """Return the attestations in a folder, and a one-line message for each file that cannot be read.

    Args:
        folder: folder of records.
        names: names of the files in the folder; None to list the folder's files here.
    """
    attestations, problems = [], []
    try:
        listed = sorted(filter(_NAME.fullmatch, os.listdir(folder) if names is None else names))
    except OSError:
        return [], []
    for name in listed:
        try:
            attestation = read_struct(folder / name, Attestation, limit=MAX_CONFIGURATION_BYTES)
        except StoreError as error:
            problems.append(str(error))
            continue
        if attestation.schema != ATTESTATION_SCHEMA:
            problems.append(f"attestation {folder / name} has an unknown schema {attestation.schema}")
        else:
            attestations.append(attestation)
    return attestations, problems


def index_attestations(listed: Iterable[ListedFolder], problems: list[str]) -> dict[str, list[Attestation]]:
    """Return the attestations in some folders, by the content hash of the record that they describe.

    Args:
        listed: the folders with the names of their files.
        problems: list to which a one-line message is appended for each attestation that cannot be read.
    """
    index: dict[str, list[Attestation]] = {}
    for folder, names in listed:
        attestations, unreadable = read_attestations(folder, names)
        problems += unreadable
        for attestation in attestations:
            index.setdefault(attestation.record, []).append(attestation)
    return index
