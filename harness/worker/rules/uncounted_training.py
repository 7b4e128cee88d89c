"""Evaluated weights change only through counted passes.

Forbidden: changing the weights that are evaluated although no counted pass was made since the previous evaluation.

Why: passes over the data are counted and limited. Training without counted passes would evade these limits.

Instead: compute losses, gradients and outputs with `work.backward`, `work.loss` and `work.outputs`, or by calling the
model or a copy of it.
"""

from __future__ import annotations

import torch
from torch import nn

from harness.contract.run import RunSpec
from harness.errors import RejectedError
from harness.worker.rule import Rule

#: Approximate number of elements of each parameter that are compared.
SAMPLE = 1024


class UncountedTraining(Rule):
    """Compares the norms of the parameters at every evaluation with the norms at the previous evaluation."""

    def __init__(self, spec: RunSpec) -> None:
        super().__init__(spec)
        self._norms: list[float] | None = None
        self._forward_examples = 0

    def on_step_end(self, drawn: int, forward_examples: int) -> None:
        self._forward_examples += forward_examples

    def at_evaluation(self, model: nn.Module) -> None:
        norms = compute_norms(model)
        if self._norms is not None and norms != self._norms and not self._forward_examples:
            raise RejectedError(
                "the model changed between two evaluations although no forward or backward pass was counted",
                fix="make all passes with work.backward, work.loss or work.outputs, or by calling the model",
            )
        self._norms, self._forward_examples = norms, 0


def compute_norms(model: nn.Module) -> list[float]:
    """Return the L2 norm of a sample of every parameter. Training the weights changes these norms."""
    with torch.no_grad():
        flat = [parameter.detach().flatten() for parameter in model.parameters() if parameter.numel()]
        norms = torch._foreach_norm([values[:: max(1, len(values) // SAMPLE)] for values in flat])
    # NaN is replaced, because it differs from itself. A model with NaN has diverged, which the evaluation detects.
    return torch.stack([norm.float() for norm in norms]).nan_to_num(nan=-1.0).tolist() if norms else []
