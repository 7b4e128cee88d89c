"""Where fresh examples come from: a pool in random order, or a stream in its own."""

from __future__ import annotations

from typing import Any, Protocol

import torch
from torch import Tensor

from harness.worker.data.batch import Batch
from harness.worker.data.order import ShuffledOrder
from harness.worker.data.pools import Pool, SubsetPool
from harness.worker.data.prefetch import Prefetch, prefetchable
from harness.worker.data.streams import Stream
from harness.worker.data.synthetic import RandomPool, RandomStream

#: Share of a pool that is set apart for a submission that declares the need `holdout`.
HOLDOUT_SHARE = 1 / 16


class BatchSource(Protocol):
    """Training data with a position: what has been drawn is part of a checkpoint.

    Attributes:
        pool: the examples that indices refer to; None on a stream.
        holdout: examples that are never drawn, for the submission's own use; None where it has not asked for them.
    """

    pool: Pool | None
    holdout: Pool | None

    def draw(self, n: int, indices: Tensor | None) -> Batch:
        """The next `n` examples, or those at `indices` (int64, shape (n,)) of the pool; on the run's device."""
        ...

    def random_batch(self, n: int) -> Batch:
        """`n` random examples in the shapes of real ones; on a stream this moves the position."""
        ...

    def advance(self) -> None:
        """Go on to the stream's next stage."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """The position, as tensors and scalars."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None: ...


class PoolSource:
    """A pool in a random order, each example once per pass over it.

    Args:
        pool: all training examples.
        seed: of the order, and of the choice of the holdout.
        device: where batches go.
        hold_out: whether a part of the pool is set apart.
    """

    pool: Pool | None
    holdout: Pool | None

    def __init__(self, pool: Pool, seed: int, device: torch.device, *, hold_out: bool = False) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.holdout = None
        if hold_out:
            shuffled = torch.randperm(len(pool), generator=generator)
            cut = max(1, int(len(pool) * HOLDOUT_SHARE))
            self.holdout = SubsetPool(pool, shuffled[:cut])
            pool = SubsetPool(pool, shuffled[cut:])
        self.pool = self._pool = pool
        self._order = ShuffledOrder(len(pool), generator)
        self._device = device
        self._on_cpu = device.type == "cpu"
        # On the CPU a thread would only take time from the step: there is no copy to wait for.
        ahead = prefetchable(pool) and not self._on_cpu
        self._prefetch = Prefetch(pool.gather, self._order, device) if ahead else None

    def draw(self, n: int, indices: Tensor | None) -> Batch:
        if indices is None:
            if self._prefetch is not None:
                return self._prefetch.take(n)
            indices = self._order.take(n)
        batch = self._pool.gather(indices)
        return batch if self._on_cpu else batch.to(self._device)

    def random_batch(self, n: int) -> Batch:
        return RandomPool(self._pool).gather(torch.arange(n) % len(self._pool)).to(self._device)

    def advance(self) -> None:
        raise AssertionError("a pool has no stages")

    def state_dict(self) -> dict[str, Any]:
        return self._order.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._order.load_state_dict(state)


class StreamSource:
    """A stream, whose order the workload owns.

    Args:
        stream: the training data.
        device: where batches go.
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
