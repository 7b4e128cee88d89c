"""Limit the size of a submission's files, so that a submission cannot contain weights from earlier training."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

from harness.contract.limits import MAX_SUBMISSION_BYTES
from harness.errors import UsageError
from harness.plugins.loading import is_file, split_load
from harness.plugins.locating import locate_top
from harness.plugins.source_hash import is_hashed_whole

#: Folders of bytecode that Python writes beside the source. Their files are not counted.
_BYTECODE = "__pycache__"


def check_size(name: str, loads: Iterable[str]) -> None:
    """Check the size of the files that a submission consists of.

    * A submission in a file consists of this file.
    * A submission in a package consists of all files of its top-level package, including data.
    * A package with too many files for a complete hash, such as torch, counts as a library. Its size is not limited,
      because a record contains its version.

    Args:
        name: name of the submission, for the error message.
        loads: import paths of the submission and of its parts.

    Raises:
        UsageError: together, the files are larger than `MAX_SUBMISSION_BYTES`.
    """
    sizes = {}
    for load in loads:
        module, _ = split_load(load)
        if is_file(module):
            sizes[module] = _file_size(Path(module).expanduser())
        elif is_hashed_whole(module):
            top = module.partition(".")[0]
            sizes[top] = _package_size(top)
    if sum(sizes.values()) > MAX_SUBMISSION_BYTES:
        places = ", ".join(f"{place} ({size:,} bytes)" for place, size in sorted(sizes.items()))
        raise UsageError(
            f"the files of {name} are too large: {places}; at most {MAX_SUBMISSION_BYTES:,} bytes of source and data "
            "are allowed",
            fix="move what the submission does not need into another package, and compute data instead of shipping it",
        )


@cache
def _package_size(top: str) -> int:
    """Return the size in bytes of all files of a top-level package or module."""
    folders, origin = locate_top(top)
    if not folders:
        return _file_size(origin) if origin is not None else 0
    return sum(map(_file_size, _files(folders)))


def _files(folders: Iterable[str]) -> Iterator[Path]:
    for folder in folders:
        for root, subfolders, names in os.walk(folder):
            subfolders[:] = [name for name in subfolders if name != _BYTECODE]
            yield from (Path(root, name) for name in names)


def _file_size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
