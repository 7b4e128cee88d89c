"""Computes forward passes on one device in the precision that the workload specifies."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from harness.contract.run import RunSpec
from harness.worker.compile_cache import uses_compiler
from harness.worker.data.batch import Batch
from harness.worker.distributed.collectives import SINGLE_PROCESS, ProcessGroup
from harness.worker.pass_rng import PassId, PassRng
from harness.worker.protocols import Workload

#: The largest number of compiled graphs of a loss. Every combination of a batch shape and a set of trained parameters
#: has its own graph.
MAX_GRAPHS = 64
#: Precision in a workload's facts → the dtype of autocast. Passes in float32 use no autocast.
AUTOCAST_DTYPES = {"bfloat16": torch.bfloat16, "float16": torch.float16}


class ForwardPass:
    """The workload's loss and outputs, with autocast and compilation as the workload's facts require.

    Args:
        spec: the specification of the trial.
        workload: defines the loss and the outputs.
        model: the fp32 module. Submissions and checkpoints use this module; only the loss is compiled.
        device: the model's device.
        group: the ranks of the run.

    Attributes:
        running: whether this object is computing a pass. At other times, calls of the model come from the submission.
        compiles: whether the loss is compiled.
        rng: seeds torch's generators for the passes that need random numbers.
    """

    def __init__(
        self,
        spec: RunSpec,
        workload: Workload,
        model: nn.Module,
        device: torch.device,
        group: ProcessGroup = SINGLE_PROCESS,
    ) -> None:
        dtype = spec.workload.facts.precision.dtype
        self.model = model
        self.device = device
        self.running = False
        self.compiles = uses_compiler(spec)
        self.rng = PassRng(device, spec.seeds.data, group.rank, always=group.count > 1)
        loss = compile_loss(workload.loss) if self.compiles else workload.loss
        self._loss = add_autocast(loss, dtype, device)
        self._outputs = add_autocast(workload.outputs, dtype, device)

    @property
    def needs_warm_up(self) -> bool:
        """Whether the first pass compiles or loads kernels and therefore takes longer than later passes."""
        return self.compiles or self.device.type != "cpu"

    def loss(self, batch: Batch, per_example: bool) -> Tensor:
        """Return the mean loss (a scalar) or the loss of each example (shape (n,)), with its autograd graph."""
        return self.partial_loss(batch, per_example, self.rng.next_pass())

    def partial_loss(self, batch: Batch, per_example: bool, pass_id: PassId | None, part: int = 0) -> Tensor:
        """Return the loss of a part of a pass, with its autograd graph.

        Args:
            batch: the examples of the part.
            per_example: whether to return the loss of each example.
            pass_id: the pass; None if it is not seeded.
            part: index of the micro-batch in the pass.
        """
        self.running = True
        try:
            if pass_id is None:
                return self._loss(self.model, batch, per_example)
            with self.rng.seeded(pass_id, part, is_training=self.model.training):
                return self._loss(self.model, batch, per_example)
        finally:
            self.running = False

    def outputs(self, batch: Batch, model: nn.Module) -> Tensor:
        """Return the outputs (leading dimension n) of `model`, which may be a copy of the run's model."""
        pass_id = self.rng.next_pass()
        self.running = True
        try:
            if pass_id is None:
                return self._outputs(model, batch)
            with self.rng.seeded(pass_id):
                return self._outputs(model, batch)
        finally:
            self.running = False


def compile_loss(loss: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Return the compiled loss, which has a separate graph for each batch shape and each set of trained parameters."""
    # By default torch compiles at most eight graphs per function. A growing batch size may need more.
    limits = torch._dynamo.config
    limits.recompile_limit = max(limits.recompile_limit, MAX_GRAPHS)
    return torch.compile(loss, fullgraph=True, dynamic=False)


def add_autocast(function: Callable[..., Tensor], dtype: str, device: torch.device) -> Callable[..., Tensor]:
    """Return the function with autocast to `dtype`. For float32, return it unchanged, which saves time per step."""
    if dtype == "float32":
        return function
    autocast_dtype = AUTOCAST_DTYPES[dtype]

    @functools.wraps(function)
    def call(*args: Any) -> Tensor:
        with torch.autocast(device.type, autocast_dtype):
            return function(*args)

    return call
