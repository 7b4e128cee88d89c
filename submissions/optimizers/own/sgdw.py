"""SGDW's update.

Source: Decoupled Weight Decay Regularization, arXiv 1711.05101, algorithm 1.
"""

from __future__ import annotations

from typing import Any

import torch


class SGDW(torch.optim.SGD):
    """torch.optim.SGD after θ ← (1 − ηλ)θ, in place of the gradient's λθ; λ is scheduled with the learning rate.

    Args:
        params: tensors or groups of them, as for any optimizer of torch.
        weight_decay: λ.
        options: of torch.optim.SGD.
    """

    def __init__(self, params: Any, weight_decay: float = 0.0, **options: Any) -> None:
        super().__init__(params, weight_decay=weight_decay, **options)

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """One update: the decay, then torch's step without its own."""
        decays = [group["weight_decay"] for group in self.param_groups]
        for group, decay in zip(self.param_groups, decays, strict=True):
            moved = [p for p in group["params"] if p.grad is not None]
            if decay and moved:
                torch._foreach_mul_(moved, 1 - group["lr"] * decay)
            group["weight_decay"] = 0.0
        try:
            super().step()
        finally:
            for group, decay in zip(self.param_groups, decays, strict=True):
                group["weight_decay"] = decay
