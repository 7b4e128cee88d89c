"""Polynomial-decay averaging of the weights, which needs no tuning and knows no horizon.

Source: Stochastic Gradient Descent for Non-smooth Optimization: Convergence Results and Optimal Averaging Schemes,
arXiv 1212.1824, section 4; with γ = 8 as in DoG is SGD's Best Friend, arXiv 2302.12022.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from harness.api import Fixed, PartEntry, Source
from submissions.averaging.common import Mean

if TYPE_CHECKING:
    from torch import nn

ENTRY = PartEntry(
    kind="averaging",
    name="polynomial",
    load=f"{__name__}:Polynomial",
    summary="evaluates a mean of the weights that forgets the early ones as t^−γ",
    space={"gamma_average": Fixed(8.0, limits=(0.0, None))},
    sources=(
        Source(
            title="Stochastic Gradient Descent for Non-smooth Optimization: "
            "Convergence Results and Optimal Averaging Schemes",
            arxiv="1212.1824",
            equation="section 4",
        ),
        Source(title="DoG is SGD's Best Friend: A Parameter-Free Dynamic Step Size Schedule", arxiv="2302.12022"),
    ),
)


class Polynomial(Mean):
    """Implements `harness.api.Averager`: x̄ ← x̄ + c·(x − x̄), c = (1 + γ)/(t + γ) at the t-th update, t from 1."""

    def __init__(self, model: nn.Module, gamma_average: float) -> None:
        super().__init__(model)
        self._gamma = gamma_average
        self._updates = 0

    def update(self) -> None:
        """Take in the weights after an update."""
        self._updates += 1
        self.take((1 + self._gamma) / (self._updates + self._gamma))

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "updates": self._updates}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        self._updates = state["updates"]
