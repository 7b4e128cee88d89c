"""Multiplicative cycles: each is longer than the last by a factor, and ends in a point of the trade-off curve.

Source: Fast Benchmarking of Accuracy vs. Training Time with Cyclic Learning Rates, arXiv 2206.00832; the cycle's
shape is that of SGDR: Stochastic Gradient Descent with Warm Restarts, arXiv 1608.03983, equation 5.
"""

from __future__ import annotations

import math

from harness.api import Fixed, PartEntry, Progress, Source
from submissions.schedules.common import FINAL, WARMUP, after_warmup, horizon, updates
from submissions.schedules.shapes import SHAPES

ENTRY = PartEntry(
    kind="schedule",
    name="multiplicative-cyclic",
    load=f"{__name__}:multiplicative_cyclic",
    summary="cycles of `period`, times `growth` each, that decay to `final` and restart at the peak",
    space={
        "warmup": WARMUP,
        # Four cycles of growth 2 make the horizon: 1 + 2 + 4 + 8 = 15.
        "period": Fixed(1 / 15, limits=(1e-6, None)),
        "growth": Fixed(2.0, limits=(1.0, None)),
        "final": FINAL,
        "shape": Fixed("cosine", values=("cosine", "linear")),
    },
    checks=("steps(warmup) <= horizon", "steps(period) <= horizon"),
    needs=frozenset({"horizon"}),
    sources=(
        Source(title="Fast Benchmarking of Accuracy vs. Training Time with Cyclic Learning Rates", arxiv="2206.00832"),
        Source(title="SGDR: Stochastic Gradient Descent with Warm Restarts", arxiv="1608.03983", equation="5"),
    ),
)
#: A cycle's end lies at a whole update although the division leaves a rest of rounding.
_ROUNDING = 1e-9


def multiplicative_cyclic(
    p: Progress,
    warmup: float = 0.0,
    period: float = 1 / 15,
    growth: float = 2.0,
    final: float = 0.0,
    shape: str = "cosine",
) -> float:
    """From 1 to `final` in cycles of P, P·g, P·g² … updates; a last one that T cuts off stays where it is.

    The cycle that a warmup takes the beginning of decays from 1 in what is left of it, so that cycles end where they
    would without.

    >>> at = lambda t: multiplicative_cyclic(Progress(step=t, horizon=1500), period=100)
    >>> [round(at(t), 6) for t in (50, 100, 300, 700, 1100, 1500)]
    [0.5, 1.0, 1.0, 1.0, 0.5, 0.0]
    """
    rising, warm = after_warmup(p, warmup)
    if rising is not None:
        return rising
    total, first = horizon(p), updates(period, p)
    t = min(p.step, total)
    cycles = t / first
    number = cycles if growth == 1 else math.log1p(cycles * (growth - 1)) / math.log(growth)
    # The end of the run is the end of a cycle, not the beginning of one.
    k = math.floor(number + _ROUNDING) if t < total else math.ceil(number - _ROUNDING) - 1
    begin = k if growth == 1 else (growth**k - 1) / (growth - 1)
    end = begin + growth**k
    begin = min(max(begin, warm / first), end)
    x = (cycles - begin) / (end - begin) if end > begin else 1.0
    return SHAPES[shape](min(max(x, 0.0), 1.0), final)
