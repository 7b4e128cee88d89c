"""A batch: named tensors with a common number of examples."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor


class Batch(Mapping[str, Tensor]):
    """Named tensors that share their leading dimension `n`, the number of examples.

    A submission passes batches on; only the workload that made a batch knows its fields.

    Args:
        tensors: the fields, each of shape (n, …).

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
        """This batch on a device; itself when it is there already. A copy to a device is not waited for."""
        if all(t.device == device for t in self._tensors.values()):
            return self
        # A copy from pageable memory would make the host wait for all work queued on the device. Torch caches pinned
        # memory, and reuses it when the device has read it.
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
        """The examples from `start` up to, not including, `stop`, as views."""
        return Batch(**{k: t[start:stop] for k, t in self._tensors.items()})

    @staticmethod
    def cat(batches: Sequence[Batch]) -> Batch:
        """One batch of the examples of several, which have equal fields."""
        return Batch(**{k: torch.cat([b[k] for b in batches]) for k in batches[0]})
