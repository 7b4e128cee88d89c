"""Snapshots that a submission takes and goes back to (learning-rate range tests, line searches)."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import nn

from harness.worker import rng
from harness.worker.protocols import Submission


class Snapshots:
    """A snapshot holds weights, buffers, the submission's state and randomness.

    It does not hold the position in the data, counters, the clock or the replay buffer: what was spent stays spent.

    Args:
        model: the run's model.

    Attributes:
        rng: the submission's own generator.
        submission: set when it exists; its constructor cannot take snapshots.
    """

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        self.rng = torch.Generator()
        self.submission: Submission | None = None

    def take(self) -> Any:
        """A copy of the present state. Taking it is on the clock."""
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
        """Go back to a snapshot; the same one may be restored any number of times."""
        assert self.submission is not None
        saved = copy.deepcopy(saved)
        self._model.load_state_dict(saved["model"])
        set_model_flags(self._model, saved["flags"])
        self.submission.load_state_dict(saved["submission"])
        rng.set_rng_state(saved["global"])
        self.rng.set_state(saved["own"])


def model_flags(model: nn.Module) -> list[list[bool]]:
    """Which modules are in training mode and which parameters require gradients: a `state_dict` holds neither."""
    return [[module.training for module in model.modules()], [p.requires_grad for p in model.parameters()]]


def set_model_flags(model: nn.Module, flags: list[list[bool]]) -> None:
    """Restore what `model_flags` returned."""
    training, gradients = flags
    for module, on in zip(model.modules(), training, strict=True):
        module.training = on
    for parameter, on in zip(model.parameters(), gradients, strict=True):
        parameter.requires_grad_(on)
