"""Stochastic weight averaging: the plain mean of weights sampled late in the run.

Source: Averaging Weights Leads to Wider Optima and Better Generalization, arXiv 1803.05407, algorithm 1. The recipe
takes batch norm's statistics anew for the mean; the learning rate is `schedule:swa`'s.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from harness.api import Domain, PartEntry, Source, Uniform
from submissions.averaging.common import Mean, updates

if TYPE_CHECKING:
    from torch import nn

#: Where sampling begins: the paper's three quarters of the budget.
START: Domain = Uniform(0.5, 0.9, default=0.75, limits=(0.0, None))
SOURCE = Source(
    title="Averaging Weights Leads to Wider Optima and Better Generalization",
    arxiv="1803.05407",
    equation="algorithm 1",
)
ENTRY = PartEntry(
    kind="averaging",
    name="swa",
    load=f"{__name__}:Swa",
    summary="evaluates the mean of the weights sampled once per cycle after `swa_start`; before that, the weights",
    # One hundredth of the horizon: the paper samples once per epoch, of a hundred or more.
    space={"swa_start": START, "swa_every": Uniform(0.005, 0.05, default=0.01, limits=(1e-6, None))},
    checks=("steps(swa_start) <= horizon",),
    needs=frozenset({"horizon"}),
    sources=(SOURCE,),
)


class Swa(Mean):
    """Implements `harness.api.Averager`: θ̄ ← (n·θ̄ + θ)/(n + 1) every `swa_every` from `swa_start` on.

    Args:
        model: whose trained parameters are averaged.
        swa_start, swa_every: durations; shares of the horizon below 1.
        horizon: planned updates.
    """

    def __init__(self, model: nn.Module, swa_start: float, swa_every: float, horizon: int | None = None) -> None:
        super().__init__(model)
        self._start, self._every = updates(swa_start, horizon), updates(swa_every, horizon)
        self._updates = self._taken = 0

    def update(self) -> None:
        """Take in the weights where a sample is due."""
        self._updates += 1
        if self._updates >= self._start and (self._updates - self._start) % self._every == 0:
            self._taken += 1
            self.take(1 / self._taken)

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "updates": self._updates, "taken": self._taken}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        self._updates, self._taken = state["updates"], state["taken"]
