"""Collective operations with gradients."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from harness.worker.distributed.collectives import ProcessGroup


class GatherRows(torch.autograd.Function):
    """Gathers this rank's rows, shape (k, …), to the `n` rows of all ranks, shape (n, …).

    The backward pass multiplies the gradient of this rank's rows by the number of ranks, since the gradients of
    parameters are averaged over ranks afterwards.
    """

    @staticmethod
    def forward(ctx: Any, local: Tensor, group: ProcessGroup, n: int) -> Tensor:
        rows = group.shard.rows(n)
        ctx.rows, ctx.count = rows, group.count
        whole = local.new_zeros((n, *local.shape[1:]))
        whole[rows.start : rows.stop] = local.detach()
        # A sum with zeros is exact. A gather would need shards of equal size.
        return group.all_reduce_sum(whole)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        return gradient[ctx.rows.start : ctx.rows.stop] * ctx.count, None, None


class WeightedMean(torch.autograd.Function):
    """Computes the mean over all examples from this rank's mean, whose examples are the fraction `weight` of all."""

    @staticmethod
    def forward(ctx: Any, local: Tensor, group: ProcessGroup, weight: float) -> Tensor:
        ctx.factor = weight * group.count
        return group.all_reduce_sum(local.detach() * weight)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        return gradient * ctx.factor, None, None
