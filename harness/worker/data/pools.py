"""Pools: random access to training examples."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, runtime_checkable

from torch import Tensor

from harness.worker.data.batch import Batch


@runtime_checkable
class Pool(Protocol):
    """Random access to training examples; the submission may choose the order.

    A pool whose `gather` depends on the indices alone, and on no random state, may have `prefetchable = True`: its
    batches are then gathered ahead of time.

    Attributes:
        scores: float tensors of shape (len(pool),) with values in [0, 1], by name; may be empty. `quality`: high is
            good; `difficulty`: high is hard.
    """

    scores: Mapping[str, Tensor]

    def __len__(self) -> int: ...

    def gather(self, indices: Tensor) -> Batch:
        """The examples at `indices` (int64, shape (n,), values in [0, len))."""
        ...


class TensorPool:
    """A pool over tensors in memory.

    Args:
        scores: per-example float arrays in [0, 1], by name.
        tensors: the fields of a batch; equal leading dimension.
    """

    def __init__(self, *, scores: Mapping[str, Tensor] | None = None, **tensors: Tensor) -> None:
        self._all = Batch(**tensors)
        self.scores: Mapping[str, Tensor] = dict(scores or {})
        for name, values in self.scores.items():
            if len(values) != self._all.n:
                raise ValueError(f"score {name!r} has {len(values)} entries for {self._all.n} examples")

    def __len__(self) -> int:
        return self._all.n

    def gather(self, indices: Tensor) -> Batch:
        return self._all.take(indices)


class SubsetPool:
    """Some examples of another pool, renumbered from 0."""

    def __init__(self, pool: Pool, indices: Tensor) -> None:
        self._pool = pool
        self._indices = indices
        self.scores: Mapping[str, Tensor] = {k: v[indices] for k, v in pool.scores.items()}

    def __len__(self) -> int:
        return len(self._indices)

    def gather(self, indices: Tensor) -> Batch:
        return self._pool.gather(self._indices[indices])

    @property
    def prefetchable(self) -> bool:
        """Whether the other pool is."""
        return bool(getattr(self._pool, "prefetchable", False))
