"""Recognises an evaluation that repeats the last one: the same weights, with the same decisions.

Weights do not change at a learning rate of 0, with which many schedules end. The result of such an evaluation is known.
"""

from __future__ import annotations

import hashlib
import math

import msgspec
import torch
from torch import nn

from harness.worker.evaluation import Evaluation
from harness.worker.screening import Decisions
from harness.worker.weights import stored_tensors


class RepeatedEvaluation:
    """Keeps the result of the last evaluation."""

    def __init__(self) -> None:
        self._key = ""
        self._evaluation: Evaluation | None = None

    def find(self, key: str) -> Evaluation | None:
        """Return the result of the last evaluation if it had this key, which is not empty; otherwise None."""
        return self._evaluation if key == self._key else None

    def keep(self, key: str, evaluation: Evaluation) -> None:
        """Keep the result of an evaluation, unless its key is empty or a metric cannot be stored as JSON."""
        is_storable = bool(key) and all(map(math.isfinite, evaluation.metrics.values()))
        self._key, self._evaluation = (key, evaluation) if is_storable else ("", None)

    def state_dict(self) -> dict[str, str]:
        """Return the state as strings."""
        return {"key": self._key, "evaluation": msgspec.json.encode(self._evaluation).decode()}

    def load_state_dict(self, state: dict[str, str]) -> None:
        """Restore what `state_dict` returned."""
        self._key = state["key"]
        self._evaluation = msgspec.json.decode(state["evaluation"], type=Evaluation | None)


def evaluation_key(model: nn.Module, stage: int | None, decisions: Decisions | None) -> str:
    """Return a hash of everything that determines the result of an evaluation, apart from the evaluator's state.

    Args:
        model: the model, on a CPU.
        stage: index of the stage of a stream; None on a pool.
        decisions: what the evaluation has to decide; None if it has to use the whole split.
    """
    digest = hashlib.sha256(msgspec.json.encode((stage, decisions)))
    for name, tensor in stored_tensors(model).items():
        digest.update(name.encode())
        digest.update(tensor.contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()
