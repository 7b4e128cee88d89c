"""The file of a checkpoint: written atomically, verified when it is read, with the previous one kept.

`harness.worker.run_state` defines its content.
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
from harness.system.files import unused_path, write_atomically, write_error
from harness.worker import torch_errors

CURRENT = "checkpoint.pt"
PREVIOUS = "checkpoint.previous.pt"
_MAGIC = b"bench-checkpoint-1 "


def save(folder: Path, state: dict[str, Any]) -> None:
    """Write `state` (tensors, scalars, strings, lists and dicts) as the folder's checkpoint.

    Raises:
        StoreError: the file cannot be written; the earlier checkpoint is kept.
        PluginError: the state holds a value of a type that could not be read back.
    """
    _require_plain(state, "state")
    buffer = io.BytesIO()
    torch.save(state, buffer)
    payload = buffer.getvalue()
    header = _MAGIC + hashlib.sha256(payload).hexdigest().encode() + b"\n"
    current = folder / CURRENT
    fresh = folder / (CURRENT + ".new")
    write_atomically(fresh, header, payload)
    # Killed between these two renames, the folder still holds the previous checkpoint.
    try:
        if current.exists():
            os.replace(current, folder / PREVIOUS)
        os.replace(fresh, current)
    except OSError as error:
        raise write_error(current, error) from error


def load(folder: Path) -> tuple[dict[str, Any] | None, list[str]]:
    """The newest checkpoint that is undamaged, or None; and a warning for each damaged one.

    A damaged file is renamed to `*.corrupt`, never deleted.

    Raises:
        RuntimeError: there is not enough memory to read a checkpoint.
    """
    warnings: list[str] = []
    for name in (CURRENT, PREVIOUS):
        path = folder / name
        if not path.exists():
            continue
        try:
            return _read(path), warnings
        except (StoreError, OSError, RuntimeError, ValueError, EOFError, pickle.UnpicklingError) as error:
            if torch_errors.is_out_of_memory(error):
                raise
            earlier = name == CURRENT and (folder / PREVIOUS).exists()
            consequence = "resuming from the previous one" if earlier else "starting from the beginning"
            corrupt = unused_path(path.with_suffix(".corrupt"))
            os.replace(path, corrupt)
            reason = error.what if isinstance(error, StoreError) else f"{type(error).__name__}: {error}"
            warnings.append(f"checkpoint {path} is damaged: {reason}; kept as {corrupt.name}, {consequence}")
    return None, warnings


#: What is done about a checkpoint that cannot be used.
_EARLIER = "the run resumes from an earlier one, or starts anew"


def _read(path: Path) -> dict[str, Any]:
    header, _, payload = path.read_bytes().partition(b"\n")
    if not header.startswith(_MAGIC):
        raise DamagedError("it is not a checkpoint of this version", fix=_EARLIER)
    if hashlib.sha256(payload).hexdigest().encode() != header[len(_MAGIC) :]:
        raise DamagedError("its SHA-256 does not match its content", fix=_EARLIER)
    # weights_only: a checkpoint is data and must never run code when it is read.
    state: dict[str, Any] = torch.load(io.BytesIO(payload), map_location="cpu", weights_only=True)
    return state


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


def _require_plain(value: Any, where: str) -> None:
    """Refuse what reading would refuse, at the first evaluation and not when the run is resumed."""
    if type(value) in (dict, OrderedDict):
        for key, item in value.items():
            _require_plain(key, f"a key of {where}")
            _require_plain(item, f"{where}[{key!r}]")
    elif type(value) in (list, tuple):
        for index, item in enumerate(value):
            _require_plain(item, f"{where}[{index}]")
    elif type(value) not in _PLAIN:
        raise PluginError(
            f"{where} is a {type(value).__name__}, which a checkpoint cannot hold",
            fix="a state_dict holds tensors, numbers, strings, lists and dicts",
        )
