"""Collective operations that gradients flow through."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from harness.worker.distributed.collectives import ProcessGroup


class GatherRows(torch.autograd.Function):
    """From a rank's rows, shape (k, …), to the `n` rows of all ranks, shape (n, …).

    In the backward pass this rank's rows get their gradient times the number of ranks, since gradients of parameters
    are averaged over ranks afterwards.
    """

    @staticmethod
    def forward(ctx: Any, local: Tensor, group: ProcessGroup, n: int) -> Tensor:
        rows = group.shard.rows(n)
        ctx.rows, ctx.count = rows, group.count
        whole = local.new_zeros((n, *local.shape[1:]))
        whole[rows.start : rows.stop] = local.detach()
        # A sum with zeros is exact. Shards differ in size, which a gather would not take.
        return group.all_reduce_sum(whole)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        return gradient[ctx.rows.start : ctx.rows.stop] * ctx.count, None, None


class WeightedMean(torch.autograd.Function):
    """From the mean over a rank's examples, which are `share` of all examples, to the mean over all."""

    @staticmethod
    def forward(ctx: Any, local: Tensor, group: ProcessGroup, share: float) -> Tensor:
        ctx.factor = share * group.count
        return group.all_reduce_sum(local.detach() * share)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        return gradient * ctx.factor, None, None
