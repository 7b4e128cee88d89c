"""Writes checkpoint files atomically, keeps the previous file, and verifies the SHA-256 of a file when reading it.

A checkpoint is written in two steps, `stage` and `commit`. Between these steps, the process that makes the evaluations
stores the SHA-256 of the new file. A resumed run recognises its checkpoint by this hash
(`harness.worker.evaluator_files`).

`harness.worker.run_state` defines the content of a checkpoint.
"""

from __future__ import annotations

import hashlib
import io
import os
import pickle
from collections import OrderedDict
from pathlib import Path
from typing import Any

import torch

from harness.errors import DamagedError, PluginError, StoreError
from harness.storage.layout import CHECKPOINTS
from harness.system.files import read_file, unused_path, write_atomically, write_error
from harness.worker import torch_errors

CURRENT, PREVIOUS = CHECKPOINTS
#: Name of a checkpoint file that is complete but not committed yet.
STAGED = CURRENT + ".new"
#: The first bytes of a checkpoint file, with the version of the format. The version increases if a run could not be
#: resumed exactly from a checkpoint of the previous version.
_MAGIC = b"bench-checkpoint-3 "
#: Key of the trial's run_id in the content of a checkpoint.
_RUN_ID = "run_id"


def stage(folder: Path, state: dict[str, Any], run_id: str) -> None:
    """Write `state` as the folder's next checkpoint. `commit` has to follow.

    Args:
        folder: the trial's folder.
        state: the content, which consists of tensors, scalars, strings, lists and dicts.
        run_id: the trial's run_id, which is stored with the content.

    Raises:
        StoreError: the file cannot be written. The previous checkpoint is not changed.
        PluginError: the state contains a value of a type that cannot be read from a checkpoint.
    """
    write(folder / STAGED, state, run_id)


def commit(folder: Path) -> None:
    """Make the staged checkpoint the folder's checkpoint, and keep the previous checkpoint.

    Raises:
        StoreError: a file cannot be renamed.
    """
    current = folder / CURRENT
    # If the process is killed between these two renames, the previous checkpoint still exists.
    try:
        if current.exists():
            os.replace(current, folder / PREVIOUS)
        os.replace(folder / STAGED, current)
    except OSError as error:
        raise write_error(current, error) from error


def write(path: Path, state: dict[str, Any], run_id: str) -> None:
    """Write a state and its SHA-256 to a file; see `stage`.

    Raises:
        StoreError: the file cannot be written.
        PluginError: the state contains a value of a type that cannot be read from a checkpoint.
    """
    require_plain(state, "state")
    buffer = io.BytesIO()
    torch.save({**state, _RUN_ID: run_id}, buffer)
    payload = buffer.getvalue()
    header = _MAGIC + hashlib.sha256(payload).hexdigest().encode() + b"\n"
    write_atomically(path, header, payload)


def load(folder: Path, run_id: str) -> tuple[dict[str, Any] | None, list[str]]:
    """Read the newest undamaged checkpoint of a trial. A damaged file is renamed to `*.corrupt` and not deleted.

    A checkpoint of another trial, which was copied into the folder, is treated like a damaged file.

    Args:
        folder: the trial's folder.
        run_id: the trial's run_id.

    Returns:
        The state, or None if there is no undamaged checkpoint; and a list with a warning for each damaged file.

    Raises:
        RuntimeError: there is not enough memory to read the checkpoint.
    """
    warnings: list[str] = []
    for name in (CURRENT, PREVIOUS):
        path = folder / name
        if not path.exists():
            continue
        try:
            return read(path, run_id), warnings
        except (StoreError, OSError, RuntimeError, ValueError, EOFError, pickle.UnpicklingError) as error:
            if torch_errors.is_out_of_memory(error):
                raise
            has_previous = name == CURRENT and (folder / PREVIOUS).exists()
            consequence = (
                "the run resumes from the previous checkpoint" if has_previous else "the run starts from the beginning"
            )
            corrupt = unused_path(path.with_suffix(".corrupt"))
            os.replace(path, corrupt)
            reason = error.what if isinstance(error, StoreError) else f"{type(error).__name__}: {error}"
            warnings.append(
                f"the checkpoint {path} is damaged: {reason}; it was renamed to {corrupt.name}, and {consequence}"
            )
    return None, warnings


#: The text `fix` of errors about an unusable checkpoint.
_FALLBACK = "the run resumes from the previous checkpoint, or starts again"


def read(path: Path, run_id: str) -> dict[str, Any]:
    """Return the state from a file that `write` wrote.

    Raises:
        DamagedError: the file was not written by `write`, was changed, or belongs to another trial.
    """
    header, _, payload = read_file(path, limit=None).partition(b"\n")
    if not header.startswith(_MAGIC):
        raise DamagedError("the file does not begin with the header of a checkpoint of this version", fix=_FALLBACK)
    if hashlib.sha256(payload).hexdigest().encode() != header[len(_MAGIC) :]:
        raise DamagedError("the SHA-256 in the file does not match its content", fix=_FALLBACK)
    # With weights_only, reading a checkpoint cannot execute code.
    state: dict[str, Any] = torch.load(io.BytesIO(payload), map_location="cpu", weights_only=True)
    # Older checkpoints of this format version contain no run_id.
    stored_id = state.pop(_RUN_ID, run_id)
    if stored_id != run_id:
        raise DamagedError(f"it belongs to the trial {str(stored_id)[:40]}", fix=_FALLBACK)
    return state


#: The types of values that `torch.load(weights_only=True)` accepts, in addition to dicts, lists and tuples.
_PLAIN = (
    torch.Tensor,
    torch.nn.Parameter,
    bool,
    int,
    float,
    complex,
    str,
    bytes,
    type(None),
    torch.dtype,
    torch.device,
    torch.Size,
)


def require_plain(value: Any, where: str) -> None:
    """Raise PluginError if a value cannot be read from a checkpoint.

    The check is made when a checkpoint is written. Without this check, the error would occur only on resuming the run.
    """
    if type(value) in (dict, OrderedDict):
        for key, item in value.items():
            require_plain(key, f"a key of {where}")
            require_plain(item, f"{where}[{key!r}]")
    elif type(value) in (list, tuple):
        for index, item in enumerate(value):
            require_plain(item, f"{where}[{index}]")
    elif type(value) not in _PLAIN:
        raise PluginError(
            f"{where} is a {type(value).__name__}, but a checkpoint cannot store this type",
            fix="return only tensors, numbers, strings, lists and dicts from state_dict()",
        )
