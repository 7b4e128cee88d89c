"""The next batch of a pool is gathered and copied to the device while the current step is computed."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import torch
from torch import Tensor

from harness.worker.data.batch import Batch
from harness.worker.data.order import ShuffledOrder
from harness.worker.data.pools import Pool


def prefetchable(pool: Pool | None) -> bool:
    """Whether a pool's batches may be gathered ahead of time; a pool declares it by an attribute `prefetchable`."""
    return bool(getattr(pool, "prefetchable", False))


class Prefetch:
    """Batches in a given order, gathered one batch ahead by a thread.

    The thread gathers the examples, puts them into pinned memory and starts their copy on a CUDA stream of its own: a
    copy from pageable memory would wait for all work queued on the device. A batch that was gathered ahead and is not
    asked for (another size, an order that was set back) is dropped.

    Args:
        gather: the pool's method.
        order: gives the indices; nothing else may take from it.
        device: where batches go. On the CPU the thread gathers, and nothing is copied.
    """

    def __init__(self, gather: Callable[[Tensor], Batch], order: ShuffledOrder, device: torch.device) -> None:
        self._gather = gather
        self._order = order
        self._device = device
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="prefetch")
        self._next: tuple[Tensor, Future[tuple[Batch, Any]]] | None = None
        self._stream = (
            torch.cuda.Stream(device) if device.type == "cuda" else None  # type: ignore[no-untyped-call]
        )

    def take(self, n: int) -> Batch:
        """The next `n` examples, on the device.

        Raises:
            DataError: the pool's `gather` raised it; raised in the step that the examples are for.
        """
        indices = self._order.take(n)
        prefetched, self._next = self._next, None
        if prefetched is not None and torch.equal(prefetched[0], indices):
            batch, copied = prefetched[1].result()
        else:
            batch, copied = self._fetch(indices)
        following = self._order.peek(n)
        if following is not None:
            self._next = (following, self._thread.submit(self._fetch, following))
        return self._wait_for_copy(batch, copied)

    def _fetch(self, indices: Tensor) -> tuple[Batch, Any]:
        """A batch that is being copied to the device, and the event that marks the end of the copy (None: no copy)."""
        batch = self._gather(indices)
        if self._device.type != "cuda":
            return batch.to(self._device), None
        with torch.cuda.stream(self._stream):
            pinned = {k: t if t.is_cuda else t.pin_memory() for k, t in batch.items()}
            moved = Batch(**pinned).to(self._device)
            event = torch.cuda.Event()  # type: ignore[no-untyped-call]
            event.record(self._stream)
        return moved, event

    def _wait_for_copy(self, batch: Batch, copied: Any) -> Batch:
        if copied is not None:
            current = torch.cuda.current_stream(self._device)
            current.wait_event(copied)  # the device waits, not the host
            for tensor in batch.values():
                # The memory belongs to the copying stream, which must not reuse it while the current one reads it.
                tensor.record_stream(current)
        return batch
