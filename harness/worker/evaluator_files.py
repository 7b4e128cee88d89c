"""The files with the results of a run's evaluations, which the process that evaluates writes beside the checkpoints.

A worker's checkpoint and such a file belong together if they were written after the same number of evaluations. The
file is written first, so that every checkpoint has its file. The files of the last evaluations are kept, because a
checkpoint may be damaged or may not have been written.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

from torch import nn

from harness.contract.run import RunSpec
from harness.errors import StoreError
from harness.storage.layout import EVALUATOR, run_id
from harness.system.files import write_error
from harness.worker import checkpoint
from harness.worker.weights import save_weights

#: Number of files that are kept: those of the current and the previous checkpoint, and one whose checkpoint was not
#: written.
_KEPT = 3


class EvaluatorFiles:
    """The files of one trial.

    Args:
        folder: the trial's folder.
        spec: the specification of the trial.
    """

    def __init__(self, folder: Path, spec: RunSpec) -> None:
        self._folder = folder / EVALUATOR
        self._run_id = run_id(spec)

    def save(self, points: int, state: dict[str, Any]) -> None:
        """Write the state after a number of evaluations.

        Raises:
            StoreError: the file cannot be written.
        """
        self._make_folder()
        checkpoint.write(self._path(points), state, self._run_id)
        for number in sorted(self._numbers())[:-_KEPT]:
            self._path(number).unlink(missing_ok=True)

    def save_weights(self, index: int, model: nn.Module) -> None:
        """Write the weights of the evaluation with this index, which are judged after the run.

        Raises:
            StoreError: the file cannot be written.
        """
        self._make_folder()
        save_weights(model, self._folder / f"{index}.safetensors")

    def load(self, points: int) -> dict[str, Any] | None:
        """Return the state after a number of evaluations; None if its file is missing or damaged."""
        with contextlib.suppress(StoreError, OSError):
            return checkpoint.read(self._path(points), self._run_id)
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
