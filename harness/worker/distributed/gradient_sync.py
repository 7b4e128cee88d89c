"""Averages gradients over ranks while the backward pass computes further gradients.

Source: Li et al., PyTorch Distributed: Experiences on Accelerating Data Parallel Training (arXiv 2006.15704), section
3.2: gradients are reduced in buckets as they become ready, in the same order on all ranks.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

#: Size of a bucket in bytes. With smaller buckets there are more reductions, and each reduction has a latency. With
#: larger buckets the first reduction starts later, because all gradients of its bucket must be ready.
BUCKET_BYTES = 25 << 20


class GradientSync:
    """Averages the gradients in `.grad` over ranks, while a backward pass runs in the context `overlapping`.

    A backward pass need not compute gradients for all parameters. The parameters with gradients are the same on all
    ranks, because all ranks compute the same graph. `.grad` may already contain gradients before the pass. These
    gradients must be equal on all ranks. Averaging then does not change them.

    Args:
        parameters: the model's parameters, in the same order on all ranks.
    """

    def __init__(self, parameters: Iterable[Tensor]) -> None:
        # The order of the parameters is reversed, because a backward pass computes the gradients of the last layers
        # first.
        self._buckets = list(split_into_buckets(list(parameters)[::-1]))
        self._bucket_of = {id(p): index for index, bucket in enumerate(self._buckets) for p in bucket}
        #: Ids of the parameters that have a hook.
        self._hooked: set[int] = set()
        #: Whether the context `overlapping` is open.
        self._active = False
        #: For every bucket, the parameters whose gradients are complete.
        self._ready: list[list[Tensor]] = []
        #: Index of the first bucket whose reduction has not started.
        self._next_bucket = 0
        # Running reductions: the handle, the concatenated gradients, and the gradients into which the result is copied.
        self._pending: list[tuple[Any, Tensor, list[Tensor]]] = []

    @contextmanager
    def overlapping(self) -> Iterator[None]:
        """Average the gradients of one backward pass, which the caller runs in this context.

        When the context ends, the averages are complete.
        """
        self._register_hooks()
        self._ready = [[] for _ in self._buckets]
        self._pending, self._next_bucket, self._active = [], 0, True
        try:
            yield
        finally:
            self._active = False
        for ready in self._ready[self._next_bucket :]:
            self._start_reduction(ready)
        for handle, flat, gradients in self._pending:
            handle.wait()
            flat /= dist.get_world_size()
            unflatten_into(flat, gradients)
        self._pending = []

    def _register_hooks(self) -> None:
        for bucket in self._buckets:
            for parameter in bucket:
                if parameter.requires_grad and id(parameter) not in self._hooked:
                    parameter.register_post_accumulate_grad_hook(self._on_gradient)  # type: ignore[no-untyped-call]
                    self._hooked.add(id(parameter))

    def _on_gradient(self, parameter: Tensor) -> None:
        if not self._active:
            return  # a backward pass outside of `overlapping`
        self._ready[self._bucket_of[id(parameter)]].append(parameter)
        # All ranks must start the reductions in the same order. Therefore the reductions start in the order of the
        # buckets.
        while self._next_bucket < len(self._buckets) and len(self._ready[self._next_bucket]) == len(
            self._buckets[self._next_bucket]
        ):
            self._start_reduction(self._ready[self._next_bucket])
            self._next_bucket += 1

    def _start_reduction(self, parameters: list[Tensor]) -> None:
        """Start to sum the gradients of parameters over ranks. All parameters are from one bucket."""
        sorted_parameters = sorted(parameters, key=self._position_in_bucket)
        gradients = [p.grad for p in sorted_parameters if p.grad is not None]
        if gradients:
            flat = torch.cat([g.reshape(-1) for g in gradients])
            self._pending.append((dist.all_reduce(flat, async_op=True), flat, gradients))

    def _position_in_bucket(self, parameter: Tensor) -> int:
        bucket = self._buckets[self._bucket_of[id(parameter)]]
        return next(index for index, p in enumerate(bucket) if p is parameter)


def average_over_ranks(tensors: Sequence[Tensor]) -> None:
    """Replace tensors by their means over ranks, in place and one bucket at a time."""
    for bucket in split_into_buckets(tensors):
        flat = torch.cat([t.reshape(-1) for t in bucket])
        dist.all_reduce(flat)
        flat /= dist.get_world_size()
        unflatten_into(flat, bucket)


def split_into_buckets(tensors: Sequence[Tensor]) -> Iterator[list[Tensor]]:
    """Yield lists of consecutive tensors with the same dtype and a total size of about `BUCKET_BYTES`."""
    bucket: list[Tensor] = []
    size = 0
    for tensor in tensors:
        if bucket and (size >= BUCKET_BYTES or tensor.dtype != bucket[0].dtype):
            yield bucket
            bucket, size = [], 0
        bucket.append(tensor)
        size += tensor.numel() * tensor.element_size()
    if bucket:
        yield bucket


def unflatten_into(flat: Tensor, tensors: Sequence[Tensor]) -> None:
    """Copy the elements of a one-dimensional tensor into tensors, in order."""
    parts = torch.split(flat, [t.numel() for t in tensors])
    torch._foreach_copy_(list(tensors), [part.view(t.shape) for part, t in zip(parts, tensors, strict=True)])
