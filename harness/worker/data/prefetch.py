"""The next batch of a pool, gathered and copied to the device while the present step is being computed."""

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
    """Whether a pool may be read ahead: what it gathers depends on the indices alone, and on no random state.

    A pool says so itself, by an attribute `prefetchable`.
    """
    return bool(getattr(pool, "prefetchable", False))


class Prefetch:
    """Batches in an order, one ahead.

    The thread reads the examples, puts them into page-locked memory and starts their copy on a stream of its own; a
    copy from ordinary memory would wait for all that the device has queued, and the device then for the host. What was
    read ahead and is not asked for (another size, an order that was set back) is dropped.

    Args:
        gather: of the pool.
        order: whose indices are read; nobody else takes from it.
        device: where batches go. On the processor the thread gathers, and nothing is copied.
    """

    def __init__(self, gather: Callable[[Tensor], Batch], order: ShuffledOrder, device: torch.device) -> None:
        self._gather = gather
        self._order = order
        self._device = device
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="prefetch")
        self._ahead: tuple[Tensor, Future[tuple[Batch, Any]]] | None = None
        self._stream = (
            torch.cuda.Stream(device) if device.type == "cuda" else None  # type: ignore[no-untyped-call]
        )

    def take(self, n: int) -> Batch:
        """The next `n` examples, on the device.

        Raises:
            DataError: as the pool's `gather`, in the step that the examples are for.
        """
        indices = self._order.take(n)
        ahead, self._ahead = self._ahead, None
        if ahead is not None and torch.equal(ahead[0], indices):
            batch, copied = ahead[1].result()
        else:
            batch, copied = self._fetch(indices)
        following = self._order.peek(n)
        if following is not None:
            self._ahead = (following, self._thread.submit(self._fetch, following))
        return self._arrived(batch, copied)

    def _fetch(self, indices: Tensor) -> tuple[Batch, Any]:
        """A batch on its way to the device, and what marks its arrival there."""
        batch = self._gather(indices)
        if self._device.type != "cuda":
            return batch.to(self._device), None
        with torch.cuda.stream(self._stream):
            pinned = {k: t if t.is_cuda else t.pin_memory() for k, t in batch.items()}
            moved = Batch(**pinned).to(self._device)
            event = torch.cuda.Event()  # type: ignore[no-untyped-call]
            event.record(self._stream)
        return moved, event

    def _arrived(self, batch: Batch, copied: Any) -> Batch:
        if copied is not None:
            present = torch.cuda.current_stream(self._device)
            present.wait_event(copied)  # the device waits, not the host
            for tensor in batch.values():
                # The memory belongs to the other stream, which must not take it back while this one reads it.
                tensor.record_stream(present)
        return batch
