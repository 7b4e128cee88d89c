"""An exponential moving average of the weights, for evaluation only.

Source: Acceleration of Stochastic Approximation by Averaging (Polyak and Juditsky, 1992), in the exponential form of
torch.optim.swa_utils.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from harness.api import PartEntry, Source, Uniform

if TYPE_CHECKING:
    from torch import Tensor, nn

ENTRY = PartEntry(
    kind="averaging",
    name="ema",
    load=f"{__name__}:Ema",
    summary="evaluates an exponential moving average of the weights after every update",
    space={"ema_decay": Uniform(0.9, 0.999, default=0.98, limits=(0.0, 0.999999))},
    sources=(
        Source(title="Acceleration of Stochastic Approximation by Averaging"),
        Source(title="Averaging Weights Leads to Wider Optima and Better Generalization", arxiv="1803.05407"),
    ),
)


class Ema:
    """Implements `harness.api.Averager`: θ̄ ← d·θ̄ + (1 − d)·θ over the parameters, begun at the first update.

    torch's `AveragedModel` would copy the module with its hooks; the arithmetic is the same, the first update
    included, which takes the weights as they are.
    """

    def __init__(self, model: nn.Module, ema_decay: float) -> None:
        self._decay = ema_decay
        self._parameters: list[Tensor] = [p for p in model.parameters() if p.requires_grad]
        self._mean: list[Tensor] = []

    def update(self) -> None:
        """Take in the weights after an update."""
        import torch

        with torch.no_grad():
            if self._mean:
                torch._foreach_lerp_(self._mean, self._parameters, 1 - self._decay)
            else:
                self._mean = [p.detach().clone() for p in self._parameters]

    @contextmanager
    def swapped(self) -> Iterator[None]:
        """While open, the model holds the mean; afterwards, exactly what it held before."""
        import torch

        if not self._mean:
            yield
            return
        kept = [p.detach().clone() for p in self._parameters]
        with torch.no_grad():
            torch._foreach_copy_(self._parameters, self._mean)
        try:
            yield
        finally:
            with torch.no_grad():
                torch._foreach_copy_(self._parameters, kept)

    def state_dict(self) -> dict[str, Any]:
        return {"mean": list(self._mean)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        device = self._parameters[0].device
        self._mean = [m.to(device) for m in state["mean"]]
