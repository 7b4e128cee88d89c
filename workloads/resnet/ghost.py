"""Batch norm with statistics over small groups of examples instead of the whole batch.

Source: Hoffer et al., Train Longer, Generalize Better (arXiv 1705.08741), algorithm 1. Unlike in the paper, the running
statistics contain variances, as in PyTorch, and not standard deviations.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class GhostBatchNorm2d(nn.BatchNorm2d):
    """Batch norm that normalises, in training, every `group` consecutive examples by their own mean and variance.

    The groups update the running statistics one after the other. Evaluation is the same as in batch norm. If the batch
    size is not a multiple of `group`, the remaining examples belong to the last group. A group therefore has fewer than
    `group` examples only if the whole batch has fewer.

    Args:
        channels: number of channels C.
        group: number of examples in a group, at least 1.
        momentum: weight of a new group in the running averages.
    """

    def __init__(self, channels: int, *, group: int, momentum: float) -> None:
        super().__init__(channels, momentum=momentum)
        self.group = group

    def forward(self, x_BCHW: Tensor) -> Tensor:
        n, groups = len(x_BCHW), len(x_BCHW) // self.group
        if not self.training or groups < 2:
            return super().forward(x_BCHW)
        if not n % self.group:
            y_BCHW, means_GC, variances_GC = self._normalise_groups(x_BCHW, groups)
        else:
            even = (groups - 1) * self.group
            parts = [self._normalise_groups(x_BCHW[:even], groups - 1), self._normalise_groups(x_BCHW[even:], 1)]
            y_BCHW, means_GC, variances_GC = (torch.cat(tensors) for tensors in zip(*parts, strict=True))
        if self.track_running_stats:
            self._update_running_stats(means_GC, variances_GC)
        return y_BCHW

    def extra_repr(self) -> str:
        return f"{self.num_features}, group={self.group}, momentum={self.momentum}, eps={self.eps}"

    def _normalise_groups(self, x_BCHW: Tensor, groups: int) -> tuple[Tensor, Tensor, Tensor]:
        """Normalise groups of equal size. Return the result, and each group's mean and unbiased variance, (groups, C).

        The groups become channels of one batch norm. This layout needs copies of the activations. Separate calls for
        hundreds of groups would take longer, and a compiler would unroll them. PyTorch's kernel keeps its sums in fp32,
        even with bfloat16 activations.
        """
        n, channels, height, width = x_BCHW.shape
        x_GSCHW = x_BCHW.reshape(groups, n // groups, channels, height, width)
        assert self.running_mean is not None
        mean, variance = (torch.zeros_like(self.running_mean).repeat(groups) for _ in range(2))
        y_SFHW = F.batch_norm(
            x_GSCHW.transpose(0, 1).flatten(1, 2),
            mean,
            variance,
            self.weight.repeat(groups),
            self.bias.repeat(groups),
            training=True,
            momentum=1.0,
            eps=self.eps,
        )
        y_SGCHW = y_SFHW.reshape(n // groups, groups, channels, height, width)
        y_BCHW = y_SGCHW.transpose(0, 1).flatten(0, 1)
        if x_BCHW.is_contiguous(memory_format=torch.channels_last):
            y_BCHW = y_BCHW.contiguous(memory_format=torch.channels_last)
        return y_BCHW, mean.view(groups, channels), variance.view(groups, channels)

    @torch.no_grad()
    def _update_running_stats(self, means_GC: Tensor, variances_GC: Tensor) -> None:
        """Update the running statistics as if each group were a batch, in the order of the groups."""
        groups = len(means_GC)
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        self.num_batches_tracked.add_(groups)
        kept: Tensor | float
        if self.momentum is None:  # cumulative mean, as when the harness recomputes statistics
            share = 1.0 / self.num_batches_tracked.to(means_GC.dtype)
            weights_G1, kept = share.expand(groups)[:, None], 1.0 - groups * share
        else:
            age_G1 = torch.arange(groups - 1, -1, -1, device=means_GC.device)[:, None]
            weights_G1, kept = self.momentum * (1.0 - self.momentum) ** age_G1, (1.0 - self.momentum) ** groups
        # This is not a matrix product, because autocast would compute a matrix product in half precision.
        self.running_mean.mul_(kept).add_((weights_G1 * means_GC).sum(0))
        self.running_var.mul_(kept).add_((weights_G1 * variances_GC).sum(0))
