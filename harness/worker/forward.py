"""One forward pass on one device, in the workload's precision."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from harness.contract.run import RunSpec
from harness.worker.compile_cache import uses_compiler
from harness.worker.data.batch import Batch
from harness.worker.protocols import Workload

#: Graphs that a loss may be compiled to: one per batch size that occurs in a run, and per set of trained parameters.
MAX_GRAPHS = 64


class ForwardPass:
    """The workload's loss and outputs, under autocast and compiled where its facts say so.

    Args:
        spec: the trial.
        workload: owns the loss.
        model: the raw fp32 module. The submission and the checkpoints see this one; only the loss is compiled.
        device: where the model lives.

    Attributes:
        running: whether a pass is being computed. A call of the model at any other time is the submission's own.
        compiles: whether the loss is compiled.
    """

    def __init__(self, spec: RunSpec, workload: Workload, model: nn.Module, device: torch.device) -> None:
        dtype = spec.workload.facts.precision.dtype
        self.model = model
        self.device = device
        self.running = False
        self.compiles = uses_compiler(spec)
        loss = compile_loss(workload.loss) if self.compiles else workload.loss
        self._loss = add_autocast(loss, dtype, device)
        self._outputs = add_autocast(workload.outputs, dtype, device)

    @property
    def needs_warm_up(self) -> bool:
        """Whether the first pass costs what later ones do not: compilation, loading of kernels."""
        return self.compiles or self.device.type != "cpu"

    def loss(self, batch: Batch, per_example: bool) -> Tensor:
        """The mean loss (a scalar) or the loss of each example (shape (n,)), with its graph."""
        self.running = True
        try:
            return self._loss(self.model, batch, per_example)
        finally:
            self.running = False

    def outputs(self, batch: Batch, model: nn.Module) -> Tensor:
        """The outputs of `model`, which may be a copy of the run's model; leading dimension n."""
        self.running = True
        try:
            return self._outputs(model, batch)
        finally:
            self.running = False


def compile_loss(loss: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """The loss as one graph per shape of a batch (and per set of parameters that are trained)."""
    # Torch gives up on a function after eight, which a batch size that grows in steps may need.
    limits = torch._dynamo.config
    limits.recompile_limit = max(limits.recompile_limit, MAX_GRAPHS)
    return torch.compile(loss, fullgraph=True, dynamic=False)


def add_autocast(function: Callable[..., Tensor], dtype: str, device: torch.device) -> Callable[..., Tensor]:
    """The function under autocast to `dtype`; the function itself for float32, so that a step pays for no context."""
    if dtype == "float32":
        return function
    kind = {"bfloat16": torch.bfloat16, "float16": torch.float16}[dtype]

    @functools.wraps(function)
    def cast(*args: Any) -> Tensor:
        with torch.autocast(device.type, kind):
            return function(*args)

    return cast
