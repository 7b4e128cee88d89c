"""Snapshots of a run's state, which a submission takes and restores, as in range tests and line searches."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import nn

from harness.worker import rng
from harness.worker.protocols import Submission


class Snapshots:
    """Takes and restores snapshots of weights, buffers, the submission's state and RNG states.

    A snapshot does not include the position in the data, the counters, the clock or the replay buffer.

    Args:
        model: the run's model.

    Attributes:
        rng: the generator that the task provides to the submission.
        submission: the submission; None until it is constructed, so that its constructor cannot take snapshots.
    """

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        self.rng = torch.Generator()
        self.submission: Submission | None = None

    def take(self) -> Any:
        """Return a copy of the current state."""
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

    def restore(self, snapshot: Any) -> None:
        """Restore a snapshot. The same snapshot can be restored several times."""
        assert self.submission is not None
        snapshot = copy.deepcopy(snapshot)
        self._model.load_state_dict(snapshot["model"])
        set_model_flags(self._model, snapshot["flags"])
        self.submission.load_state_dict(snapshot["submission"])
        rng.set_rng_state(snapshot["global"])
        self.rng.set_state(snapshot["own"])


def model_flags(model: nn.Module) -> list[list[bool]]:
    """Return `training` of every module and `requires_grad` of every parameter, in the order of the model.

    The model's `state_dict` does not contain these flags.
    """
    return [[module.training for module in model.modules()], [p.requires_grad for p in model.parameters()]]


def set_model_flags(model: nn.Module, flags: list[list[bool]]) -> None:
    """Restore the flags that `model_flags` returned."""
    training_flags, gradient_flags = flags
    for module, training in zip(model.modules(), training_flags, strict=True):
        module.training = training
    for parameter, requires_grad in zip(model.parameters(), gradient_flags, strict=True):
        parameter.requires_grad_(requires_grad)
