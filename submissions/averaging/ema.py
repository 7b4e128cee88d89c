"""An exponential moving average of the weights, for evaluation only.

Source: Acceleration of Stochastic Approximation by Averaging (Polyak and Juditsky, 1992), in the exponential form of
torch.optim.swa_utils.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.api import PartEntry, Source, Uniform
from submissions.averaging.common import Mean

if TYPE_CHECKING:
    from torch import nn

ENTRY = PartEntry(
    kind="averaging",
    name="ema",
    load=f"{__name__}:Ema",
    summary="evaluates an exponential moving average of the weights after every update",
    space={"ema_decay": Uniform(0.9, 0.999, default=0.98, limits=(0.0, 0.999999))},
    sources=(
        Source(title="Acceleration of Stochastic Approximation by Averaging"),
        Source(title="Averaging Weights Leads to Wider Optima and Better Generalization", arxiv="1803.05407"),
        Source(
            title="Improving Online Continual Learning Performance and Stability with Temporal Ensembles",
            arxiv="2306.16817",
        ),
        Source(
            title="Momentum-based Weight Interpolation of Strong Zero-Shot Models for Continual Learning",
            arxiv="2211.03186",
        ),
    ),
)


class Ema(Mean):
    """Implements `harness.api.Averager`: θ̄ ← d·θ̄ + (1 − d)·θ over the parameters, begun at the first update.

    torch's `AveragedModel` would copy the module with its hooks; the arithmetic is the same, the first update
    included, which takes the weights as they are.
    """

    def __init__(self, model: nn.Module, ema_decay: float) -> None:
        super().__init__(model)
        self._decay = ema_decay

    def update(self) -> None:
        """Take in the weights after an update."""
        self.take(1 - self._decay)
