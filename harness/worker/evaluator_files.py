"""Files with the results of a run's evaluations. The process that makes the evaluations writes them.

Each file belongs to one checkpoint of the worker. Both were written after the same number of evaluations, and the file
contains the SHA-256 of the checkpoint. The file is written after the checkpoint is staged and before it is committed,
so every committed checkpoint has its file. Two earlier files are kept, because the newest checkpoint may be damaged
or may never be committed.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
from pathlib import Path
from typing import Any

from torch import nn

from harness.contract.run import RunSpec
from harness.errors import StoreError
from harness.storage.layout import EVALUATOR, run_id
from harness.system.files import write_error
from harness.worker import checkpoint
from harness.worker.weights import save_weights

#: Number of files that are kept: for the current and the previous checkpoint, and for one that was never committed.
_KEPT = 3
#: Key of the checkpoint's SHA-256 in a file.
_CHECKPOINT = "checkpoint"


class EvaluatorFiles:
    """The files of one trial.

    Args:
        folder: the parent of the folder with the files.
        spec: the specification of the trial.
        checkpoints: the worker's folder with the checkpoints.
    """

    def __init__(self, folder: Path, spec: RunSpec, checkpoints: Path) -> None:
        self._folder = folder / EVALUATOR
        self._checkpoints = checkpoints
        self._run_id = run_id(spec)

    def exist(self) -> bool:
        """Return whether the trial has at least one such file, so that its run may resume."""
        return bool(self._numbers())

    def save(self, points: int, state: dict[str, Any]) -> None:
        """Write the state after `points` evaluations, with the SHA-256 of the staged checkpoint.

        Raises:
            StoreError: the file cannot be written.
        """
        self._make_folder()
        staged = digest(self._checkpoints / checkpoint.STAGED)
        checkpoint.write(self._path(points), {**state, _CHECKPOINT: staged}, self._run_id)
        for number in sorted(self._numbers())[:-_KEPT]:
            self._path(number).unlink(missing_ok=True)

    def save_weights(self, index: int, model: nn.Module) -> None:
        """Write the weights of the evaluation with this index. They are judged after the run.

        Raises:
            StoreError: the file cannot be written.
        """
        self._make_folder()
        save_weights(model, self._folder / f"{index}.safetensors")

    def load(self, points: int) -> dict[str, Any] | None:
        """Return the state after a number of evaluations.

        Returns:
            The state; None if its file is missing or damaged, if it has no SHA-256 of a checkpoint, or if this
            checkpoint is not in the worker's folder.
        """
        with contextlib.suppress(StoreError, OSError):
            state = checkpoint.read(self._path(points), self._run_id)
            accepted = state.pop(_CHECKPOINT, "")
            names = (checkpoint.CURRENT, checkpoint.PREVIOUS)
            if accepted in {digest(self._checkpoints / name) for name in names} - {""}:
                return state
        return None

    def remove_later(self, points: int) -> None:
        """Remove the files that were written after a larger number of evaluations. These evaluations are repeated."""
        for number in self._numbers():
            if number > points:
                self._path(number).unlink(missing_ok=True)

    def _make_folder(self) -> None:
        try:
            self._folder.mkdir(exist_ok=True)
        except OSError as error:
            raise write_error(self._folder, error) from error

    def _path(self, points: int) -> Path:
        return self._folder / f"{points}.pt"

    def _numbers(self) -> list[int]:
        return [int(path.stem) for path in self._folder.glob("*.pt") if path.stem.isdecimal()]


def digest(path: Path) -> str:
    """Return the SHA-256 of a regular file; an empty string if it cannot be read.

    The flags guard against a file that another process has replaced by a link or a named pipe.
    """
    with contextlib.suppress(OSError):
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(descriptor, "rb") as file:
            if stat.S_ISREG(os.fstat(descriptor).st_mode):
                return hashlib.file_digest(file, "sha256").hexdigest()
    return ""
