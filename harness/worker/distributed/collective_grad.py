"""Collective operations that autograd can differentiate."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from harness.worker.distributed.collectives import ProcessGroup


class GatherRows(torch.autograd.Function):
    """Concatenates the rows of all ranks.

    Every rank passes a tensor with its own k rows, and gets the tensor with all n rows.

    The backward pass multiplies the gradient of this rank's rows by the number of ranks. Afterwards the harness
    averages the gradients of the parameters over ranks. Because of the factor, this average is the sum over ranks.
    """

    @staticmethod
    def forward(ctx: Any, local: Tensor, group: ProcessGroup, n: int) -> Tensor:
        rows = group.shard.rows(n)
        ctx.rows, ctx.count = rows, group.count
        whole = local.new_zeros((n, *local.shape[1:]))
        whole[rows.start : rows.stop] = local.detach()
        # Adding zeros is exact, so the sum over ranks gathers the rows. A gather would need shards of equal size.
        return group.all_reduce_sum(whole)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        return gradient[ctx.rows.start : ctx.rows.stop] * ctx.count, None, None


class WeightedMean(torch.autograd.Function):
    """Computes the mean over all examples from the mean over each rank's examples.

    `weight` is this rank's fraction of all examples. As in `GatherRows`, the backward pass multiplies the gradient by
    the number of ranks.
    """

    @staticmethod
    def forward(ctx: Any, local: Tensor, group: ProcessGroup, weight: float) -> Tensor:
        ctx.factor = weight * group.count
        return group.all_reduce_sum(local.detach() * weight)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        return gradient * ctx.factor, None, None
