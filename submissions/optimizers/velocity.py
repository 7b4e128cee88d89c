"""Momentum that is there from the first update on."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    import torch

    OptimizerT = TypeVar("OptimizerT", bound=torch.optim.SGD)


def from_rest(optimizer: OptimizerT) -> OptimizerT:
    """torch.optim.SGD with a velocity of zero for every parameter, which is where it begins anyway.

    Left alone it makes a parameter's velocity with its first gradient, and its fused step fails where some have one
    and others do not: the head of a later task, a layer that is unfrozen.
    """
    import torch

    for group in optimizer.param_groups:
        for parameter in group["params"]:
            optimizer.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
    return optimizer
