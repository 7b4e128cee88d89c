"""A batch of examples: named tensors with a common leading dimension."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor


class Batch(Mapping[str, Tensor]):
    """Named tensors with the same leading dimension `n`, the number of examples.

    The workload defines the names. Submissions use the batch as a whole and not its tensors.

    Args:
        tensors: the tensors by name, each of shape (n, …).

    Raises:
        ValueError: the leading dimensions differ.

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
        """Return this batch on a device, without waiting for the copy.

        If the tensors are on the device already, return this batch itself.
        """
        if all(t.device == device for t in self._tensors.values()):
            return self
        # The tensors are copied from pinned memory. For a copy from pageable memory, the host would wait for all work
        # queued on the device. Torch caches pinned memory, and reuses it only after the device has read it.
        pin = device.type == "cuda"
        return Batch(
            **{
                k: (t.pin_memory() if pin and t.device.type == "cpu" else t).to(device, non_blocking=True)
                for k, t in self._tensors.items()
            }
        )

    def take(self, indices: Tensor) -> Batch:
        """Return the examples at these indices (int64, shape (k,))."""
        return Batch(**{k: t[indices] for k, t in self._tensors.items()})

    def rows(self, start: int, stop: int) -> Batch:
        """Return the examples from index `start` to `stop` (exclusive), as views."""
        return Batch(**{k: t[start:stop] for k, t in self._tensors.items()})

    @staticmethod
    def cat(batches: Sequence[Batch]) -> Batch:
        """Return the concatenation of batches, whose tensors must have the same names."""
        return Batch(**{k: torch.cat([b[k] for b in batches]) for k in batches[0]})
