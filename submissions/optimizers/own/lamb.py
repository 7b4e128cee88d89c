"""LAMB's update.

Source: Large Batch Optimization for Deep Learning: Training BERT in 76 minutes, arXiv 1904.00962, algorithm 2.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from submissions.optimizers.own.moments import moments_of


class Lamb(torch.optim.Optimizer):
    """θ ← θ − η·(‖θ‖/‖u‖)·u per tensor, u = m̂/(√v̂ + ε) + λθ; the paper's third version, φ the identity.

    Where θ or u is zero the ratio is 1. A group with `adapt=False` takes plain steps of −ηu.

    Args:
        params: tensors or groups of them, as for any optimizer of torch.
        lr, betas, eps, weight_decay: η, (β₁, β₂), ε and λ.
        adapt: whether steps are scaled by the ratio of the norms.
    """

    def __init__(
        self,
        params: Any,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-6,
        weight_decay: float = 0.0,
        adapt: bool = True,
    ) -> None:
        options = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "adapt": adapt}
        super().__init__(params, options)

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """One update of every tensor that has a gradient."""
        for group in self.param_groups:
            p = [tensor for tensor in group["params"] if tensor.grad is not None]
            if p:
                self._update(group, p, [tensor.grad for tensor in p])

    def _update(self, group: dict[str, Any], p: list[Tensor], g: list[Tensor]) -> None:
        (beta1, beta2), lr = group["betas"], group["lr"]
        m, v, steps = moments_of(self, p)
        torch._foreach_lerp_(m, g, 1 - beta1)
        torch._foreach_mul_(v, beta2)
        torch._foreach_addcmul_(v, g, g, value=1 - beta2)
        scale = torch._foreach_sqrt(v)
        # u is kept times (1 − β₁ᵗ)/√(1 − β₂ᵗ): one pass over the tensors less, and the ratio puts it right.
        roots = [(1 - beta2**t) ** 0.5 for t in steps]
        torch._foreach_add_(scale, [group["eps"] * root for root in roots])
        u = torch._foreach_div(m, scale)
        factors = [root / (1 - beta1**t) for root, t in zip(roots, steps, strict=True)]
        if group["weight_decay"]:
            decay = [group["weight_decay"] / factor for factor in factors]
            torch._foreach_add_(u, torch._foreach_mul(p, decay))
        if not group["adapt"]:
            torch._foreach_mul_(u, [-lr * factor for factor in factors])
            torch._foreach_add_(p, u)
            return
        sizes, steps_taken = torch.stack(torch._foreach_norm(p)), torch.stack(torch._foreach_norm(u))
        plain = torch.tensor(factors, dtype=sizes.dtype, device=sizes.device)
        lengths = torch.where((sizes > 0) & (steps_taken > 0), sizes / steps_taken, plain).mul_(-lr)
        torch._foreach_mul_(u, list(lengths.unbind()))
        torch._foreach_add_(p, u)
