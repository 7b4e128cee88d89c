"""First and second moments with a count of updates, as several optimizers keep them for every tensor."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def moments_of(optimizer: torch.optim.Optimizer, p: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor], list[int]]:
    """(m, v, t) of each tensor, made where missing, with t counting the update that is under way.

    A tensor that gets no gradient for a while keeps its own count, so its bias correction stays right.
    """
    first, second, steps = [], [], []
    for tensor in p:
        state = optimizer.state[tensor]
        if not state:
            state["step"] = 0
            state["exp_avg"] = torch.zeros_like(tensor, memory_format=torch.preserve_format)
            state["exp_avg_sq"] = torch.zeros_like(tensor, memory_format=torch.preserve_format)
        state["step"] += 1
        first.append(state["exp_avg"])
        second.append(state["exp_avg_sq"])
        steps.append(state["step"])
    return first, second, steps
