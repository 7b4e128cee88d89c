"""The interface of passes over a batch, and the implementation that computes whole batches on one device."""

from __future__ import annotations

from typing import Any, Protocol

from torch import Tensor, nn

from harness.worker.data.batch import Batch
from harness.worker.forward import ForwardPass
from harness.worker.profiling import Profiler, timed


class Passes(Protocol):
    """Computes forward and backward passes over a batch. The caller, `CountedWork`, counts the passes.

    Attributes:
        micro_batch: largest number of examples that a device computes at once; None for no limit.
    """

    micro_batch: int | None

    def backward(self, batch: Batch, scale: float, step: int) -> Tensor:
        """Add the gradient of the mean loss times `scale` to `.grad`.

        Args:
            batch: the examples.
            scale: factor on the gradient.
            step: number of updates so far.

        Returns:
            The mean loss (a scalar), detached.
        """
        ...

    def loss(self, batch: Batch, per_example: bool) -> Tensor:
        """Return the mean loss (a scalar) or the loss of each example (shape (n,)), with its autograd graph."""
        ...

    def outputs(self, batch: Batch, model: nn.Module) -> Tensor:
        """Return the outputs of `model` (leading dimension n), with their autograd graph."""
        ...

    def warm_up(self, batch: Batch) -> None:
        """Make a first backward pass. The caller must restore gradients, buffers and global RNG states afterwards."""
        ...

    def rank_state(self) -> dict[str, Any] | None:
        """Return the state of this rank for a checkpoint; None if these passes have no state."""
        ...

    def load_rank_state(self, state: dict[str, Any]) -> None:
        """Restore a state that `rank_state` returned."""
        ...


class WholeBatchPasses:
    """Computes every pass over the whole batch on one device, with the least overhead.

    Args:
        forward: computes losses and outputs.
        profiler: measures the phases of a step; None without profiling.
    """

    micro_batch: int | None = None

    def __init__(self, forward: ForwardPass, profiler: Profiler | None = None) -> None:
        self._loss = timed(profiler, "forward", forward.loss)
        self._outputs = forward.outputs

    def backward(self, batch: Batch, scale: float, step: int) -> Tensor:
        loss = self._loss(batch, False)
        (loss if scale == 1.0 else loss * scale).backward()  # type: ignore[no-untyped-call]
        return loss.detach()

    def loss(self, batch: Batch, per_example: bool) -> Tensor:
        return self._loss(batch, per_example)

    def outputs(self, batch: Batch, model: nn.Module) -> Tensor:
        return self._outputs(batch, model)

    def warm_up(self, batch: Batch) -> None:
        self.backward(batch, 1.0, 0)

    def rank_state(self) -> dict[str, Any] | None:
        return None

    def load_rank_state(self, state: dict[str, Any]) -> None:
        raise AssertionError("passes over whole batches have no state")
