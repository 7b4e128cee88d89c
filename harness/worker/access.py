"""How training data reaches a submission: batches, pools, streams and the replay buffer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor


class Batch(Mapping[str, Tensor]):
    """Named tensors that share their leading dimension `n`, the number of examples.

    Submissions pass batches on; only the workload that made one knows its fields.

    >>> b = Batch(inputs=torch.zeros(4, 3), labels=torch.zeros(4))
    >>> b.n, sorted(b), Batch.cat([b, b]).n
    (4, ['inputs', 'labels'], 8)
    """

    __slots__ = ("_tensors", "n")

    def __init__(self, **tensors: Tensor) -> None:
        sizes = {t.shape[0] for t in tensors.values()}
        if len(sizes) != 1:
            raise ValueError(f"the tensors of a batch must share their first dimension, got sizes {sorted(sizes)}")
        self._tensors = tensors
        self.n: int = sizes.pop()

    def __getitem__(self, name: str) -> Tensor:
        return self._tensors[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._tensors)

    def __len__(self) -> int:
        return len(self._tensors)

    def to(self, device: torch.device) -> Batch:
        """This batch on a device (itself when it is there already)."""
        if all(t.device == device for t in self._tensors.values()):
            return self
        # From pageable memory the host would wait for its turn on the device, and fall behind it; the pinned copy is
        # taken from a pool of torch's and goes back to it when the device has read it.
        pin = device.type == "cuda"
        return Batch(
            **{
                k: (t.pin_memory() if pin and t.device.type == "cpu" else t).to(device, non_blocking=True)
                for k, t in self._tensors.items()
            }
        )

    def take(self, indices: Tensor) -> Batch:
        """The examples at these positions (int64, shape (k,))."""
        return Batch(**{k: t[indices] for k, t in self._tensors.items()})

    def rows(self, start: int, stop: int) -> Batch:
        """Consecutive examples, as views."""
        return Batch(**{k: t[start:stop] for k, t in self._tensors.items()})

    @staticmethod
    def cat(batches: Sequence[Batch]) -> Batch:
        """Several batches with equal fields as one."""
        return Batch(**{k: torch.cat([b[k] for b in batches]) for k in batches[0]})


@runtime_checkable
class Pool(Protocol):
    """Random access to training examples; the submission may choose the order.

    `scores` holds one float array in [0, 1] per name, of length `len(pool)`, with declared meaning:
    `quality`: high is good; `difficulty`: high is hard. It may be empty.

    A pool whose `gather` depends on the indices alone, and on no random state, may have `prefetchable = True`.
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
        """As the other pool."""
        return bool(getattr(self._pool, "prefetchable", False))


@runtime_checkable
class Stream(Protocol):
    """One pass over staged data, order owned by the workload; only the harness calls `advance`."""

    def draw(self, n: int) -> Batch:
        """The next `n` examples of the current stage."""
        ...

    def advance(self) -> None:
        """Go on to the next stage."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Position and random state, as tensors and scalars."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None: ...


class StagedStream:
    """A stream over one pool per stage: each stage is shuffled anew for every pass over it.

    Args:
        stages: a pool per stage, in order.
        seed: of the shuffles.
    """

    def __init__(self, stages: Sequence[Pool], seed: int) -> None:
        self._stages = stages
        self._stage = 0
        self._generator = torch.Generator().manual_seed(seed)
        self._order = ShuffledOrder(len(stages[0]), self._generator)

    def draw(self, n: int) -> Batch:
        return self._stages[self._stage].gather(self._order.take(n))

    def advance(self) -> None:
        self._stage += 1
        self._order = ShuffledOrder(len(self._stages[self._stage]), self._generator)

    def state_dict(self) -> dict[str, Any]:
        return {"stage": self._stage, "order": self._order.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._stage = state["stage"]
        self._order = ShuffledOrder(len(self._stages[self._stage]), self._generator)
        self._order.load_state_dict(state["order"])


class ShuffledOrder:
    """Indices of a dataset in a fresh random order for every pass, each exactly once per pass.

    Args:
        size: number of examples, > 0.
        generator: the source of randomness; its state is part of `state_dict`.
    """

    def __init__(self, size: int, generator: torch.Generator) -> None:
        if size < 1:
            raise ValueError("an empty dataset has no order")
        self._size = size
        self._generator = generator
        self._permutation = torch.empty(0, dtype=torch.int64)
        self._position = 0

    def take(self, n: int) -> Tensor:
        """The next `n` indices (int64, shape (n,)); a pass that ends is followed by the next."""
        parts: list[Tensor] = []
        while n > 0:
            if self._position == len(self._permutation):
                self._permutation = torch.randperm(self._size, generator=self._generator)
                self._position = 0
            part = self._permutation[self._position : self._position + n]
            self._position += len(part)
            n -= len(part)
            parts.append(part)
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def peek(self, n: int) -> Tensor | None:
        """What `take(n)` would give, which stays to be taken; None where that takes a new pass's random order."""
        stop = self._position + n
        return self._permutation[self._position : stop] if stop <= len(self._permutation) else None

    def state_dict(self) -> dict[str, Any]:
        return {
            "permutation": self._permutation,
            "position": self._position,
            "generator": self._generator.get_state(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._permutation = state["permutation"]
        self._position = state["position"]
        self._generator.set_state(state["generator"])


class ReplayBuffer:
    """The harness's memory of a stream: a uniform sample of what was added (reservoir sampling).

    Source: Vitter, Random Sampling with a Reservoir, ACM TOMS 1985, algorithm R.

    Args:
        capacity: examples held at most.
        seed: of the reservoir and of `sample`.
        device: where the examples of a checkpoint, which come back on the CPU, belong.
    """

    def __init__(self, capacity: int, seed: int, device: torch.device | str = "cpu") -> None:
        self.capacity = capacity
        self._device = torch.device(device)
        self._generator = torch.Generator().manual_seed(seed)
        self._store: dict[str, Tensor] = {}
        self._size = 0
        self._seen = 0

    def __len__(self) -> int:
        return self._size

    def add(self, batch: Batch) -> None:
        """Offer the examples of a batch; each one seen so far is kept with equal probability."""
        if not self._store:
            self._store = {
                k: torch.empty((self.capacity, *t.shape[1:]), dtype=t.dtype, device=t.device) for k, t in batch.items()
            }
        free = min(self.capacity - self._size, batch.n)
        for k, t in batch.items():
            self._store[k][self._size : self._size + free] = t[:free]
        self._size += free
        self._seen += free
        late = batch.n - free
        if late:
            ranks = torch.arange(self._seen + 1, self._seen + late + 1, dtype=torch.float64)
            slots = (torch.rand(late, generator=self._generator, dtype=torch.float64) * ranks).long().tolist()
            # Later examples overwrite earlier ones that drew the same slot, as in the one-by-one algorithm.
            chosen = {slot: free + i for i, slot in enumerate(slots) if slot < self.capacity}
            if chosen:
                to, source = torch.tensor(list(chosen)), torch.tensor(list(chosen.values()))
                for k, t in batch.items():
                    self._store[k][to] = t[source]
            self._seen += late

    def sample(self, n: int) -> Batch:
        """`n` examples drawn uniformly with replacement.

        Raises:
            ValueError: the buffer is empty.
        """
        if not self._size:
            raise ValueError("the replay buffer is empty")
        indices = torch.randint(self._size, (n,), generator=self._generator)
        return Batch(**{k: t[indices] for k, t in self._store.items()})

    def state_dict(self) -> dict[str, Any]:
        return {
            "store": {k: t[: self._size] for k, t in self._store.items()},
            "size": self._size,
            "seen": self._seen,
            "generator": self._generator.get_state(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._size = state["size"]
        self._seen = state["seen"]
        self._generator.set_state(state["generator"])
        self._store = {}
        for k, t in state["store"].items():
            full = torch.empty((self.capacity, *t.shape[1:]), dtype=t.dtype, device=self._device)
            full[: self._size] = t
            self._store[k] = full
