"""Evaluates the untrained model before the worker asks for this evaluation.

The evaluator builds the same untrained model as the worker. It evaluates this model while the worker still builds the
training data and constructs the submission. If the first weights that the worker sends are equal to the weights of this
model, the result is used. If they differ, for example because the submission has changed the initial weights, the
result is discarded.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from harness.worker.evaluation import Evaluation
from harness.worker.evaluator import Evaluator
from harness.worker.weights import stored_tensors

#: Types of integers by their size in bytes.
_INTEGERS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


class EarlyEvaluation:
    """An evaluation of the untrained model on the whole split.

    If this evaluation fails, there is no result. The evaluation is then repeated, and fails again, when the worker asks
    for it.

    Args:
        evaluator: evaluates the model. It must not have evaluated a model before.
        model: the untrained model.
        stage: index of the first stage of a stream; None on a pool.
    """

    def __init__(self, evaluator: Evaluator, model: nn.Module, stage: int | None) -> None:
        self._evaluator = evaluator
        self._initial_state = evaluator.state_dict()
        self._weights = {name: tensor.clone() for name, tensor in stored_tensors(model).items()}
        self._evaluation: Evaluation | None = None
        try:
            self._evaluation = evaluator.evaluate(model, stage=stage)
        except Exception:
            self._reset()

    def take(self, model: nn.Module) -> Evaluation | None:
        """Return the result if the model still has its initial weights.

        If the model has other weights, return None, and reset the evaluator to its state before the evaluation. The
        result is also None if the evaluation failed.
        """
        if self._evaluation is not None and not self._has_initial_weights(model):
            self._reset()
        return self._evaluation

    def _has_initial_weights(self, model: nn.Module) -> bool:
        return all(_is_equal(tensor, self._weights[name]) for name, tensor in stored_tensors(model).items())

    def _reset(self) -> None:
        self._evaluation = None
        self._evaluator.load_state_dict(self._initial_state)
        self._evaluator.warnings = []


def _is_equal(a: Tensor, b: Tensor) -> bool:
    """Return whether two tensors of the same shape and type have the same bytes."""
    return torch.equal(_view_as_integers(a), _view_as_integers(b))


def _view_as_integers(tensor: Tensor) -> Tensor:
    """Return a tensor of integers with the same bytes. Integers of several bytes are compared faster than bytes."""
    if tensor.is_complex():
        tensor = torch.view_as_real(tensor.resolve_conj())
    return tensor.view(_INTEGERS[tensor.element_size()])
