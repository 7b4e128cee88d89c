"""Cross-entropy of a linear head, computed in chunks, so that the logits of a whole batch are never in memory together.

Source: Wijmans et al., Cut Your Losses in Large-Vocabulary Language Models (arXiv 2411.09009), section 4; Hsu et al.,
Liger Kernel (arXiv 2410.10989), section 3.2: the gradient is computed in the forward pass, when the logits exist.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F


def head_loss(x_ND: Tensor, weight_VD: Tensor, targets_N: Tensor, *, rows: int, label_smoothing: float = 0.0) -> Tensor:
    """Return `F.cross_entropy(x_ND @ weight_VD.T, targets_N)` with label smoothing, the mean over the N rows.

    The result is in fp32. If autocast is enabled, matrix products use its data type. Everything else is in fp32. Second
    derivatives are not supported. Chunks save memory: with 50,304 symbols, the logits of 65,536 rows take 13 GB in
    fp32, and those of 8,192 rows 1.6 GB.

    Args:
        x_ND: inputs of the head, N rows.
        weight_VD: weight of the head, which has no bias; V is the number of symbols.
        targets_N: the correct symbols, int64, in [0, V).
        rows: maximum number of rows whose logits exist at once.
        label_smoothing: fraction of the probability that is spread over all symbols, in [0, 1].
    """
    kind = x_ND.device.type
    dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else x_ND.dtype
    loss: Tensor = _HeadLoss.apply(x_ND.to(dtype), weight_VD.to(dtype), targets_N, rows, label_smoothing)  # type: ignore[no-untyped-call]
    return loss


class _HeadLoss(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x_ND: Tensor, weight_VD: Tensor, targets_N: Tensor, rows: int, label_smoothing: float
    ) -> Tensor:
        n, vocabulary = len(x_ND), len(weight_VD)
        needs_gradient = any(ctx.needs_input_grad[:2])
        total = torch.zeros((), device=x_ND.device)
        # The sum over chunks is in fp32, because a sum in bf16 would lose many small terms.
        weight_grad_VD = torch.zeros_like(weight_VD, dtype=torch.float32) if needs_gradient else None
        x_grads = []
        for x_RD, targets_R in zip(torch.split(x_ND, rows), torch.split(targets_N, rows), strict=True):
            logits_RV = F.linear(x_RD, weight_VD).float()
            log_sum_R = logits_RV.logsumexp(1)
            target_logits_R = logits_RV.gather(1, targets_R[:, None]).squeeze(1)
            if label_smoothing:
                target_logits_R = (1 - label_smoothing) * target_logits_R + label_smoothing * logits_RV.mean(1)
            total = total + (log_sum_R - target_logits_R).sum()
            if weight_grad_VD is not None:
                error_RV = (logits_RV - log_sum_R[:, None]).exp() - label_smoothing / vocabulary
                corrections_R1 = torch.full_like(target_logits_R, label_smoothing - 1.0)[:, None]
                error_RV = (error_RV.scatter_add(1, targets_R[:, None], corrections_R1) / n).to(x_RD.dtype)
                x_grads.append(error_RV @ weight_VD)
                weight_grad_VD = weight_grad_VD + (error_RV.T @ x_RD).float()
        if weight_grad_VD is not None:
            ctx.save_for_backward(torch.cat(x_grads), weight_grad_VD.to(weight_VD.dtype))
        return total / n

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None, None, None]:
        x_grad_ND, weight_grad_VD = ctx.saved_tensors
        return x_grad_ND * gradient, weight_grad_VD * gradient, None, None, None
