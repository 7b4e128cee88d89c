"""Pools: training data with random access."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol, runtime_checkable

from torch import Tensor

from harness.worker.data.batch import Batch


@runtime_checkable
class Pool(Protocol):
    """Training data with random access, whose order the submission may choose.

    A pool may have an attribute `prefetchable = True` if the result of `gather` (or `gather_at`) depends only on the
    arguments. On a GPU, the harness then gathers the next batch during the current step.

    A pool that augments examples when they are drawn has a method `gather_at(indices, position)`, which the harness
    calls instead of `gather` to draw. `position` is the number of examples that the run has drawn before this draw. The
    random numbers of example i of the draw must depend only on the data seed and on `position + i`;
    `harness.api.uniforms_at` returns such numbers. Two runs with equal seeds then augment their examples with the same
    random numbers, whichever examples their submissions draw.

    Attributes:
        scores: per-example scores by name, each a float tensor of shape (len(pool),) with values in [0, 1]; may be
            empty. High scores named `quality` mean good examples; high scores named `difficulty` mean hard examples.
    """

    scores: Mapping[str, Tensor]

    def __len__(self) -> int: ...

    def gather(self, indices: Tensor) -> Batch:
        """Return the examples at `indices` (int64, shape (n,), values in [0, len))."""
        ...


class TensorPool:
    """A pool of tensors in memory.

    Args:
        scores: per-example scores by name, each a float tensor of shape (len(pool),) with values in [0, 1]; None for
            no scores.
        tensors: the tensors of all examples by name, with the same leading dimension.

    Raises:
        ValueError: the leading dimensions of the tensors or scores differ.
    """

    def __init__(self, *, scores: Mapping[str, Tensor] | None = None, **tensors: Tensor) -> None:
        self._examples = Batch(**tensors)
        self.scores: Mapping[str, Tensor] = dict(scores or {})
        for name, values in self.scores.items():
            if len(values) != self._examples.n:
                raise ValueError(
                    f"scores {name!r} need one value per example, got {len(values)} for {self._examples.n} examples"
                )

    def __len__(self) -> int:
        return self._examples.n

    def gather(self, indices: Tensor) -> Batch:
        return self._examples.take(indices)


class SubsetPool:
    """A subset of a larger pool. The subset's indices begin at 0.

    Args:
        pool: the larger pool.
        indices: indices of the subset's examples in the larger pool (int64, shape (size,)).
    """

    def __init__(self, pool: Pool, indices: Tensor) -> None:
        self._pool = pool
        self._indices = indices
        self.scores: Mapping[str, Tensor] = {k: v[indices] for k, v in pool.scores.items()}

    def __len__(self) -> int:
        return len(self._indices)

    def gather(self, indices: Tensor) -> Batch:
        return self._pool.gather(self._indices[indices])

    def gather_at(self, indices: Tensor, position: int) -> Batch:
        """Return the examples at `indices`, for a run that has drawn `position` examples before."""
        return positional_gather(self._pool)(self._indices[indices], position)

    @property
    def prefetchable(self) -> bool:
        """Whether the larger pool is prefetchable."""
        return bool(getattr(self._pool, "prefetchable", False))


def positional_gather(pool: Pool) -> Callable[[Tensor, int], Batch]:
    """Return the pool's `gather_at`. If it has none, return a function that calls `gather` and ignores the position."""
    gather_at: Callable[[Tensor, int], Batch] | None = getattr(pool, "gather_at", None)
    return gather_at or (lambda indices, position: pool.gather(indices))
