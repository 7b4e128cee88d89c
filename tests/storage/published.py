"""A small folder of published records, in two subfolders."""

from __future__ import annotations

from pathlib import Path

import msgspec

from harness.contract.record import Record
from harness.storage.layout import run_id
from harness.storage.records import encode
from tests.report import synthetic


def record(submission: str, study: int) -> Record:
    """A synthetic record with the run_id of its spec."""
    made = synthetic.record(submission, synthetic.facts("hills"), study)
    return msgspec.structs.replace(made, run_id=run_id(made.spec))


def write(folder: Path, submission: str, *studies: int) -> list[Path]:
    """Record files of these studies in `folder/hills/submission`; returns their paths."""
    subfolder = folder / "hills" / submission
    subfolder.mkdir(parents=True, exist_ok=True)
    paths = []
    for study in studies:
        content = record(submission, study)
        paths.append(subfolder / f"{content.run_id}.json")
        paths[-1].write_bytes(encode(content))
    return paths


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below a folder with its content, by relative path."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
