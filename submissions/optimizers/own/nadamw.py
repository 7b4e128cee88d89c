"""NAdamW's update.

Source: Benchmarking Neural Network Training Algorithms, arXiv 2306.07179, the baseline; Incorporating Nesterov Momentum
into Adam (Dozat, 2016), with Adam's plain bias correction and decoupled decay.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from submissions.optimizers.own.moments import moments_of


class NAdamW(torch.optim.Optimizer):
    """θ ← (1 − ηλ)θ − η/(1 − β₁ᵗ)·(β₁m + (1 − β₁)g)/(√(v/(1 − β₂ᵗ)) + ε), with m and v after this step's update.

    torch.optim.NAdam schedules its momentum by `momentum_decay` and is another algorithm.

    Args:
        params: tensors or groups of them, as for any optimizer of torch.
        lr, betas, eps, weight_decay: η, (β₁, β₂), ε and λ.
    """

    def __init__(
        self,
        params: Any,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay})

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
        if group["weight_decay"]:
            torch._foreach_mul_(p, 1 - lr * group["weight_decay"])
        torch._foreach_lerp_(m, g, 1 - beta1)
        torch._foreach_mul_(v, beta2)
        torch._foreach_addcmul_(v, g, g, value=1 - beta2)
        ahead = torch._foreach_lerp(m, g, 1 - beta1)
        scale = torch._foreach_sqrt(v)
        # Both sides of the fraction times √(1 − β₂ᵗ) saves a pass over the tensors.
        roots = [(1 - beta2**t) ** 0.5 for t in steps]
        torch._foreach_add_(scale, [group["eps"] * root for root in roots])
        factors = [-lr * root / (1 - beta1**t) for root, t in zip(roots, steps, strict=True)]
        torch._foreach_addcdiv_(p, ahead, scale, factors)
