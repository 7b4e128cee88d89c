"""Streams: the training data of continual-learning workloads, in one pass through stages."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import torch

from harness.worker.data.batch import Batch
from harness.worker.data.order import ShuffledOrder
from harness.worker.data.pools import Pool, positional_gather


@runtime_checkable
class Stream(Protocol):
    """Training data in stages. The workload determines the order of the examples. Only the harness calls `advance`."""

    def draw(self, n: int) -> Batch:
        """Return the next `n` examples of the current stage."""
        ...

    def advance(self) -> None:
        """Advance to the next stage."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Return the position in the stream and the RNG state, as tensors and scalars."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore a position that `state_dict` returned."""
        ...


class StagedStream:
    """A stream with one pool per stage. A stage may repeat the examples of its pool, each time in a new random order.

    Args:
        stages: the pools in the order of the stages.
        seed: seed of the random orders.
    """

    def __init__(self, stages: Sequence[Pool], seed: int) -> None:
        self._stages = stages
        self._stage = 0
        self._drawn = 0
        self._generator = torch.Generator().manual_seed(seed)
        self._order = ShuffledOrder(len(stages[0]), self._generator)

    def draw(self, n: int) -> Batch:
        # For augmentation, `position` is the number of examples that were drawn before (see `Pool`).
        position, self._drawn = self._drawn, self._drawn + n
        return positional_gather(self._stages[self._stage])(self._order.take(n), position)

    def advance(self) -> None:
        self._stage += 1
        self._order = ShuffledOrder(len(self._stages[self._stage]), self._generator)

    def state_dict(self) -> dict[str, Any]:
        return {"stage": self._stage, "order": self._order.state_dict(), "drawn": self._drawn}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._stage = state["stage"]
        self._order = ShuffledOrder(len(self._stages[self._stage]), self._generator)
        self._order.load_state_dict(state["order"])
        self._drawn = state["drawn"]
