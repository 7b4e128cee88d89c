"""Change several files of a folder in one step: change a copy, then exchange the copy with the folder."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from harness.errors import StoreError
from harness.storage.marks import MARKS, lock_marks
from harness.system.exchange import exchange_folders
from harness.system.files import sync_folder, walk_folders, write_error

#: Files that are changed in place, and therefore copied. All other files are only replaced as a whole, so the copy of
#: the folder contains links to them.
_CHANGED_IN_PLACE: Final = frozenset({MARKS})


@contextmanager
def stage_changes(folder: Path) -> Iterator[Path]:
    """Yield a copy of a folder. When the block ends, the copy replaces the folder in one step.

    If the block raises an error, or the process is killed, the folder does not change. A copy left by a killed process
    is removed by the next call. Files that another process adds to the folder during the block are kept.

    Args:
        folder: the folder. It is created if it does not exist.

    Raises:
        StoreError: the folder cannot be copied or replaced, or another process is changing it.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        folder = folder.resolve()
    except OSError as error:
        raise write_error(folder, error) from None
    with lock_marks(folder):
        prefix = f".{folder.name}.staged-"
        for left in folder.parent.glob(f"{prefix}*"):
            shutil.rmtree(left, ignore_errors=True)
        stage = folder.with_name(f"{prefix}{os.getpid()}")
        try:
            shutil.copytree(folder, stage, symlinks=True, copy_function=_share)
            names = _list_files(stage)
            yield stage
            _sync(stage)
            _exchange(stage, folder)
            _keep_added(stage, folder, names)
        except shutil.Error as error:
            raise StoreError(f"cannot copy {folder}: {error.args[0][0][2]}", fix="check that you may read it") from None
        except OSError as error:
            raise write_error(folder, error) from None
        finally:
            shutil.rmtree(stage, ignore_errors=True)


def _share(source: str, target: str) -> None:
    """Make a link to a file. If the file is changed in place or cannot be linked, copy it instead."""
    if os.path.basename(source) not in _CHANGED_IN_PLACE:
        try:
            os.link(source, target, follow_symlinks=False)
        except OSError:
            pass
        else:
            return
    shutil.copy2(source, target, follow_symlinks=False)


def _list_files(folder: Path) -> set[Path]:
    """Return the relative paths of all files below a folder."""
    return {
        (path / name).relative_to(folder)
        for path, _, names in walk_folders(folder, lambda path, error: None)
        for name in names
    }


def _sync(stage: Path) -> None:
    for path, _, _ in walk_folders(stage, lambda path, error: None):
        sync_folder(path)


def _exchange(stage: Path, folder: Path) -> None:
    try:
        exchange_folders(stage, folder)
    except OSError as error:
        problem = f"{folder} cannot be replaced in one step: {error.strerror}"
        raise StoreError(problem, fix="choose a folder on a local disk, such as a checkout below /tmp") from None
    sync_folder(folder.parent)


def _keep_added(old: Path, folder: Path, copied: set[Path]) -> None:
    """Link the files of the old folder that are not among the copied files into the new folder.

    Another process added these files while the block ran.
    """
    for name in sorted(_list_files(old) - copied):
        target = folder / name
        if not target.exists() and not name.name.endswith(".tmp"):
            target.parent.mkdir(parents=True, exist_ok=True)
            _share(str(old / name), str(target))
