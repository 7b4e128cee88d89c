"""Latest-weight averaging: the plain mean of the last few checkpoints.

Source: Stop Wasting My Time! Saving Days of ImageNet and BERT Training with Latest Weight Averaging, arXiv 2209.14981;
spacing and count as in AlgoPerf's submission of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from harness.api import Fixed, Integer, PartEntry, Source, Uniform
from submissions.averaging.common import Checkpoints, updates

if TYPE_CHECKING:
    from torch import nn

ENTRY = PartEntry(
    kind="averaging",
    name="lawa",
    load=f"{__name__}:Lawa",
    summary="evaluates the mean of the last few checkpoints, taken at even spaces",
    space={
        "lawa_count": Integer(2, 20, default=10, limits=(1, None)),
        "lawa_every": Uniform(0.002, 0.02, default=0.005, limits=(1e-6, None)),
        "lawa_start": Fixed(0.02, limits=(0.0, None)),
    },
    needs=frozenset({"horizon"}),
    sources=(
        Source(
            title="Stop Wasting My Time! Saving Days of ImageNet and BERT Training with Latest Weight Averaging",
            arxiv="2209.14981",
        ),
        Source(title="Benchmarking Neural Network Training Algorithms", arxiv="2306.07179"),
    ),
)


class Lawa(Checkpoints):
    """Implements `harness.api.Averager`.

    Args:
        model: whose trained parameters are averaged.
        lawa_count: checkpoints in the mean, at most.
        lawa_every, lawa_start: durations; shares of the horizon below 1.
        horizon: planned updates.
    """

    def __init__(
        self, model: nn.Module, lawa_count: int, lawa_every: float, lawa_start: float = 0.0, horizon: int | None = None
    ) -> None:
        start = 0 if lawa_start == 0 else updates(lawa_start, horizon)
        super().__init__(model, lawa_count, updates(lawa_every, horizon), start)

    def weights(self, n: int) -> Sequence[float]:
        """1/n each."""
        return [1 / n] * n
