"""Gathers a pool's next batch and copies it to the device during the current step."""

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
    """Return a pool's attribute `prefetchable`: whether batches may be gathered before they are needed."""
    return bool(getattr(pool, "prefetchable", False))


class Prefetch:
    """Returns batches in a given order. A thread gathers the next batch in advance.

    The thread gathers the examples, copies them to pinned memory and starts their copy to the device on a separate CUDA
    stream. Pinned memory is used because a copy from pageable memory would wait for all work queued on the device. A
    prefetched batch is dropped if the next request is for other indices or another position. This happens after the
    batch size was changed, examples were drawn by index, or the order was restored from a checkpoint.

    Args:
        gather: function of indices and a position in the run that returns the batch (`positional_gather`).
        order: returns the indices. No other object may take indices from this order.
        device: device of the batches. On the CPU, no batch is copied.
    """

    def __init__(self, gather: Callable[[Tensor, int], Batch], order: ShuffledOrder, device: torch.device) -> None:
        self._gather = gather
        self._order = order
        self._device = device
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="prefetch")
        # The indices and the position of the prefetched batch, and the future that returns the batch.
        self._prefetched: tuple[Tensor, int, Future[tuple[Batch, Any]]] | None = None
        self._stream = (
            torch.cuda.Stream(device) if device.type == "cuda" else None  # type: ignore[no-untyped-call]
        )

    def take(self, n: int, position: int) -> Batch:
        """Return the next `n` examples on the device.

        Args:
            n: number of examples.
            position: number of examples that the run has drawn before this draw.

        Raises:
            DataError: the pool's `gather` raised this error, now or when the thread gathered this batch.
        """
        indices = self._order.take(n)
        future = self._take_prefetched(indices, position)
        batch, copy_event = self._fetch(indices, position) if future is None else future.result()
        next_indices = self._order.peek(n)
        if next_indices is not None:
            next_position = position + n
            next_future = self._thread.submit(self._fetch, next_indices, next_position)
            self._prefetched = (next_indices, next_position, next_future)
        return self._wait_for_copy(batch, copy_event)

    def _take_prefetched(self, indices: Tensor, position: int) -> Future[tuple[Batch, Any]] | None:
        """Return the future of the prefetched batch if it is the requested batch. Otherwise drop it and return None."""
        prefetched, self._prefetched = self._prefetched, None
        if prefetched is None:
            return None
        prefetched_indices, prefetched_position, future = prefetched
        is_requested = prefetched_position == position and torch.equal(prefetched_indices, indices)
        return future if is_requested else None

    def _fetch(self, indices: Tensor, position: int) -> tuple[Batch, Any]:
        """Start to copy a batch to the device. Return it, and the CUDA event of its completed copy (None on a CPU)."""
        batch = self._gather(indices, position)
        if self._device.type != "cuda":
            return batch.to(self._device), None
        with torch.cuda.stream(self._stream):
            pinned = {k: t if t.is_cuda else t.pin_memory() for k, t in batch.items()}
            moved = Batch(**pinned).to(self._device)
            event = torch.cuda.Event()  # type: ignore[no-untyped-call]
            event.record(self._stream)
        return moved, event

    def _wait_for_copy(self, batch: Batch, copy_event: Any) -> Batch:
        if copy_event is not None:
            current_stream = torch.cuda.current_stream(self._device)
            current_stream.wait_event(copy_event)  # the device waits, not the host
            for tensor in batch.values():
                # The memory belongs to the copy stream, which must not reuse it while the current stream reads it.
                tensor.record_stream(current_stream)
        return batch
