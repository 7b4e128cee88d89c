"""torch's Muon over parameters of any shape, each seen as a matrix of its first dimension by all others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn


class FlattenedMuon(torch.optim.Muon):
    """torch.optim.Muon refuses what is not two-dimensional, so it is given views that share the parameters' memory.

    Args:
        parameters: contiguous, at least two-dimensional.
        options: of torch.optim.Muon.

    Raises:
        RuntimeError: a parameter lies in memory so that no such view of it exists.
    """

    def __init__(self, parameters: Sequence[nn.Parameter], **options: Any) -> None:
        views = [nn.Parameter(p.detach().view(p.shape[0], -1)) for p in parameters]
        self._pairs = list(zip(parameters, views, strict=True))
        super().__init__(views, **options)

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Of the parameters themselves; the views' gradients are set anew at every step."""
        for parameter, _ in self._pairs:
            if parameter.grad is not None:
                if set_to_none:
                    parameter.grad = None
                else:
                    parameter.grad.zero_()

    def step(self, closure: Any = None) -> Any:
        """One update of the parameters, through their views."""
        for parameter, view in self._pairs:
            view.grad = None if parameter.grad is None else parameter.grad.flatten(1)
        return super().step(closure)  # type: ignore[no-untyped-call]
