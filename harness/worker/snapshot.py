"""Snapshots that a submission may take of itself and go back to (range tests, searches)."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import nn

from harness.worker import checkpoint
from harness.worker.contract import Submission


class Snapshots:
    """Weights, buffers, submission state and randomness; never data position, counters, clock or replay.

    Args:
        model: whose weights and buffers are covered.
    """

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        self.rng = torch.Generator()
        self.submission: Submission | None = None  # set once it exists; its constructor may not take snapshots

    def take(self) -> Any:
        """A snapshot, independent of what happens next. Taking one is on the clock."""
        assert self.submission is not None, "a submission takes snapshots in its steps, not in its constructor"
        return copy.deepcopy(
            {
                "model": self._model.state_dict(),
                "submission": self.submission.state_dict(),
                "global": checkpoint.rng_state(),
                "own": self.rng.get_state(),
            }
        )

    def restore(self, saved: Any) -> None:
        """Go back to a snapshot; the same one can be restored many times."""
        assert self.submission is not None
        saved = copy.deepcopy(saved)
        self._model.load_state_dict(saved["model"])
        self.submission.load_state_dict(saved["submission"])
        checkpoint.set_rng_state(saved["global"])
        self.rng.set_state(saved["own"])
