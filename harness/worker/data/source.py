"""The sources from which a run draws training examples: a pool in random order, or a stream."""

from __future__ import annotations

from typing import Any, Protocol

import torch
from torch import Tensor

from harness.worker.data.batch import Batch
from harness.worker.data.order import ShuffledOrder
from harness.worker.data.pools import Pool, SubsetPool, positional_gather
from harness.worker.data.prefetch import Prefetch, prefetchable
from harness.worker.data.streams import Stream
from harness.worker.data.synthetic import RandomPool, RandomStream

#: Fraction of the pool that is reserved for a submission that declares the need `holdout`.
HOLDOUT_FRACTION = 1 / 16


class BatchSource(Protocol):
    """Training data and the current position in it. Checkpoints contain the position.

    Attributes:
        pool: the pool to which indices refer; None on a stream.
        holdout: examples that are never drawn; None unless the submission declares the need `holdout`.
    """

    pool: Pool | None
    holdout: Pool | None

    def draw(self, n: int, indices: Tensor | None) -> Batch:
        """Return examples on the rank's device.

        Args:
            n: number of examples.
            indices: indices of the pool's examples (int64, shape (n,)); None for the next `n` examples.
        """
        ...

    def random_batch(self, n: int) -> Batch:
        """Return `n` random examples with the shapes of real examples. On a stream, this advances the position."""
        ...

    def advance(self) -> None:
        """Advance to the stream's next stage."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Return the position as tensors and scalars."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore a position that `state_dict` returned."""
        ...


class PoolSource:
    """Draws from a pool by index, or in a random order with each example once per pass.

    Args:
        pool: the training data.
        seed: seed of the order of the examples and of the choice of the holdout.
        device: device of the batches.
        hold_out: whether to reserve the fraction `HOLDOUT_FRACTION` of the pool as the holdout.
    """

    pool: Pool | None
    holdout: Pool | None

    def __init__(self, pool: Pool, seed: int, device: torch.device, *, hold_out: bool = False) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.holdout = None
        if hold_out:
            shuffled = torch.randperm(len(pool), generator=generator)
            holdout_size = max(1, int(len(pool) * HOLDOUT_FRACTION))
            self.holdout = SubsetPool(pool, shuffled[:holdout_size])
            pool = SubsetPool(pool, shuffled[holdout_size:])
        self.pool = self._pool = pool
        self._gather = positional_gather(pool)
        self._drawn = 0
        self._order = ShuffledOrder(len(pool), generator)
        self._device = device
        self._on_cpu = device.type == "cpu"
        # On the CPU, no batch is copied, and a prefetch thread would only slow down the step.
        uses_prefetch = prefetchable(pool) and not self._on_cpu
        self._prefetch = Prefetch(self._gather, self._order, device) if uses_prefetch else None

    def draw(self, n: int, indices: Tensor | None) -> Batch:
        # The position is the number of examples drawn before. Pools that augment examples derive random numbers from
        # it.
        position, self._drawn = self._drawn, self._drawn + n
        if indices is None:
            if self._prefetch is not None:
                return self._prefetch.take(n, position)
            indices = self._order.take(n)
        batch = self._gather(indices, position)
        return batch if self._on_cpu else batch.to(self._device)

    def random_batch(self, n: int) -> Batch:
        return RandomPool(self._pool).gather(torch.arange(n) % len(self._pool)).to(self._device)

    def advance(self) -> None:
        raise AssertionError("a pool has no stages")

    def state_dict(self) -> dict[str, Any]:
        return {**self._order.state_dict(), "drawn": self._drawn}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._order.load_state_dict(state)
        self._drawn = state["drawn"]


class StreamSource:
    """Draws from a stream in the stream's order.

    Args:
        stream: the training data.
        device: device of the batches.
    """

    pool: Pool | None = None
    holdout: Pool | None = None

    def __init__(self, stream: Stream, device: torch.device) -> None:
        self._stream = stream
        self._device = device
        self._on_cpu = device.type == "cpu"

    def draw(self, n: int, indices: Tensor | None) -> Batch:
        batch = self._stream.draw(n)
        return batch if self._on_cpu else batch.to(self._device)

    def random_batch(self, n: int) -> Batch:
        return RandomStream(self._stream).draw(n).to(self._device)

    def advance(self) -> None:
        self._stream.advance()

    def state_dict(self) -> dict[str, Any]:
        return self._stream.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._stream.load_state_dict(state)
