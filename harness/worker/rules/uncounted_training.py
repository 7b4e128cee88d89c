"""Evaluated weights change only through counted passes.

Forbidden: changing the parameters that are evaluated although no pass was counted in the steps since the previous
evaluation. Passes in `eval_weights` are counted, but do not count for this rule: they prepare an evaluation, and train
nothing. The norms of the parameters are compared. One counted pass suffices, whatever else changes the parameters.

Why: passes over the data are counted and limited. Training without counted passes would evade these limits.

Instead: compute losses, gradients and outputs in steps, with `work.backward`, `work.loss` and `work.outputs`, or by
calling the model or a copy of it.
"""

from __future__ import annotations

import torch
from torch import nn

from harness.contract.run import RunSpec
from harness.errors import RejectedError
from harness.worker.distributed.collectives import ProcessGroup
from harness.worker.rule import Rule


class UncountedTraining(Rule):
    """Compares the norms of the parameters at every evaluation with the norms at the previous evaluation."""

    def __init__(self, spec: RunSpec) -> None:
        super().__init__(spec)
        self._norms: list[float] | None = None
        self._forward_examples_in_steps = 0
        #: Of the current step, or of what follows the last step.
        self._forward_examples = 0

    def on_forward(self, n: int) -> None:
        self._forward_examples += n

    def on_step_end(self, drawn: int, forward_examples: int) -> None:
        # The argument follows from a counter of `work`, to which the submission can assign.
        self._forward_examples_in_steps += self._forward_examples
        self._forward_examples = 0

    def at_pause(self, model: nn.Module, group: ProcessGroup) -> None:
        self._forward_examples = 0

    def at_evaluation(self, model: nn.Module) -> None:
        norms = compute_norms(model)
        if self._norms is not None and norms != self._norms and not self._forward_examples_in_steps:
            raise RejectedError(
                "the model changed between two evaluations although no forward or backward pass was counted in a step",
                fix="make all passes in steps, with work.backward, work.loss or work.outputs, or by calling the model",
            )
        self._norms, self._forward_examples_in_steps = norms, 0


def compute_norms(model: nn.Module) -> list[float]:
    """Return the L2 norm of every parameter. Training the weights changes these norms."""
    with torch.no_grad():
        norms = torch._foreach_norm([parameter.detach() for parameter in model.parameters() if parameter.numel()])
    # NaN is replaced, because it differs from itself. A model with NaN has diverged, which the evaluation detects.
    return torch.stack([norm.float() for norm in norms]).nan_to_num(nan=-1.0).tolist() if norms else []
