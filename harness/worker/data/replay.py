"""The harness's memory of a stream."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from harness.worker.data.batch import Batch


class ReplayBuffer:
    """The harness's memory of a stream: a uniform sample of what was added (reservoir sampling).

    Source: Vitter, Random Sampling with a Reservoir, ACM TOMS 1985, algorithm R.

    Args:
        capacity: the most examples held.
        seed: of the reservoir and of `sample`.
        device: where examples are put that come from a checkpoint, which is read on the CPU.
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
        """Offer the examples of a batch. Every example offered so far is in the buffer with equal probability."""
        if not self._store:
            self._store = {
                k: torch.empty((self.capacity, *t.shape[1:]), dtype=t.dtype, device=t.device) for k, t in batch.items()
            }
        free = min(self.capacity - self._size, batch.n)
        for k, t in batch.items():
            self._store[k][self._size : self._size + free] = t[:free]
        self._size += free
        self._seen += free
        remaining = batch.n - free
        if remaining:
            numbers = torch.arange(self._seen + 1, self._seen + remaining + 1, dtype=torch.float64)
            slots = (torch.rand(remaining, generator=self._generator, dtype=torch.float64) * numbers).long().tolist()
            # A later example replaces an earlier one that drew the same slot, as if they had been added one by one.
            chosen = {slot: free + i for i, slot in enumerate(slots) if slot < self.capacity}
            if chosen:
                targets, rows = torch.tensor(list(chosen)), torch.tensor(list(chosen.values()))
                for k, t in batch.items():
                    self._store[k][targets] = t[rows]
            self._seen += remaining

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
