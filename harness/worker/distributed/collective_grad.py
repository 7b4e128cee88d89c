"""Collective operations that gradients flow through."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from harness.worker.distributed.collectives import ProcessGroup


class GatherRows(torch.autograd.Function):
    """From a rank's rows to those of all ranks, (n, …).

    The gradient goes to this rank's rows, times the number of ranks, since it is averaged over them afterwards.
    """

    @staticmethod
    def forward(ctx: Any, mine: Tensor, group: ProcessGroup, n: int) -> Tensor:
        rows = group.shard.rows(n)
        ctx.rows, ctx.count = rows, group.count
        whole = mine.new_zeros((n, *mine.shape[1:]))
        whole[rows.start : rows.stop] = mine.detach()
        # A sum with zeros is exact; shares differ in size, which a gather would not take.
        return group.all_reduce_sum(whole)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        return gradient[ctx.rows.start : ctx.rows.stop] * ctx.count, None, None


class WeightedMean(torch.autograd.Function):
    """From the mean over a rank's examples, which are `share` of all, to the mean over all."""

    @staticmethod
    def forward(ctx: Any, mine: Tensor, group: ProcessGroup, share: float) -> Tensor:
        ctx.factor = share * group.count
        return group.all_reduce_sum(mine.detach() * share)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        return gradient * ctx.factor, None, None
