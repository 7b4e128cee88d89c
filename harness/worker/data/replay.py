"""The replay buffer, which stores examples of a stream for later steps."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from harness.worker.data.batch import Batch


class ReplayBuffer:
    """Stores a uniform random sample of the examples that were added (reservoir sampling).

    Source: Vitter, Random Sampling with a Reservoir, ACM TOMS 1985, algorithm R.

    Args:
        capacity: largest number of stored examples.
        seed: seed of the random choices in `add` and `sample`.
        device: device to which examples are restored from a checkpoint. Added examples stay on their device.
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
        """Add a batch. Afterwards, every example added so far is in the buffer with the same probability."""
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
            # Example number i (1, 2, …) draws a slot in [0, i) uniformly. It is stored if the slot is in [0, capacity).
            numbers = torch.arange(self._seen + 1, self._seen + remaining + 1, dtype=torch.float64)
            slots = (torch.rand(remaining, generator=self._generator, dtype=torch.float64) * numbers).long().tolist()
            # If several examples draw the same slot, the last of them is stored, as if they were added one by one.
            row_by_slot = {slot: free + i for i, slot in enumerate(slots) if slot < self.capacity}
            if row_by_slot:
                targets, rows = torch.tensor(list(row_by_slot)), torch.tensor(list(row_by_slot.values()))
                for k, t in batch.items():
                    self._store[k][targets] = t[rows]
            self._seen += remaining

    def sample(self, n: int) -> Batch:
        """Return `n` examples drawn uniformly with replacement.

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
            tensor = torch.empty((self.capacity, *t.shape[1:]), dtype=t.dtype, device=self._device)
            tensor[: self._size] = t
            self._store[k] = tensor
