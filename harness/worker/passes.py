"""Computes forward and backward passes over a batch in one piece, on one device."""

from __future__ import annotations

from typing import Any, Protocol

from torch import Tensor, nn

from harness.worker.data.batch import Batch
from harness.worker.forward import ForwardPass
from harness.worker.profiling import Profiler, timed


class Passes(Protocol):
    """Computes passes over whole batches. It counts nothing: `CountedWork` does, which calls it.

    Attributes:
        micro_batch: the most examples in one pass on one device; None for no limit.
    """

    micro_batch: int | None

    def backward(self, batch: Batch, scale: float, step: int) -> Tensor:
        """Add the gradient of the mean loss times `scale` to `.grad`.

        Args:
            step: updates before this one.

        Returns:
            The mean loss (a scalar), detached.
        """
        ...

    def loss(self, batch: Batch, per_example: bool) -> Tensor:
        """The mean loss (a scalar) or the loss of each example (shape (n,)), with its graph."""
        ...

    def outputs(self, batch: Batch, model: nn.Module) -> Tensor:
        """The outputs of `model`, with their graph; leading dimension n."""
        ...

    def warm_up(self, batch: Batch) -> None:
        """A first backward pass. It leaves gradients behind, and may move buffers and global randomness."""
        ...

    def rank_state(self) -> dict[str, Any] | None:
        """What a checkpoint holds for each rank, None for nothing."""
        ...

    def load_rank_state(self, state: dict[str, Any]) -> None: ...


class WholeBatchPasses:
    """Every pass in one piece on one device, which costs least.

    Args:
        forward: computes losses and outputs.
        profiler: times the phases of a step; None for none.
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
        raise AssertionError("a pass in one piece has no state")
