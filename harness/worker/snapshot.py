"""Snapshots that a submission may take of itself and go back to (range tests, searches)."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import nn

from harness.worker import rng
from harness.worker.protocols import Submission


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
                "flags": model_flags(self._model),
                "submission": self.submission.state_dict(),
                "global": rng.rng_state(),
                "own": self.rng.get_state(),
            }
        )

    def restore(self, saved: Any) -> None:
        """Go back to a snapshot; the same one can be restored many times."""
        assert self.submission is not None
        saved = copy.deepcopy(saved)
        self._model.load_state_dict(saved["model"])
        set_model_flags(self._model, saved["flags"])
        self.submission.load_state_dict(saved["submission"])
        rng.set_rng_state(saved["global"])
        self.rng.set_state(saved["own"])


def model_flags(model: nn.Module) -> list[list[bool]]:
    """What of a model is not in its state_dict: which modules train, and which parameters take gradients."""
    return [[module.training for module in model.modules()], [p.requires_grad for p in model.parameters()]]


def set_model_flags(model: nn.Module, flags: list[list[bool]]) -> None:
    """Put back what `model_flags` returned."""
    training, gradients = flags
    for module, on in zip(model.modules(), training, strict=True):
        module.training = on
    for parameter, on in zip(model.parameters(), gradients, strict=True):
        parameter.requires_grad_(on)
