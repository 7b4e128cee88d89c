"""One cycle: the learning rate rises and is annealed far below its start, momentum the other way round.

Source: A disciplined approach to neural network hyper-parameters: Part 1 -- learning rate, batch size, momentum, and
weight decay, arXiv 1803.09820; Super-Convergence: Very Fast Training of Neural Networks Using Large Learning Rates,
arXiv 1708.07120. Smith's own cycle is `three_phase` and `linear`.
"""

from __future__ import annotations

import math

from harness.api import Choice, Factors, Fixed, PartEntry, Progress, Source, Uniform
from submissions.schedules.common import horizon

ENTRY = PartEntry(
    kind="schedule",
    name="one-cycle",
    load=f"{__name__}:one_cycle",
    summary="one rise to the peak and an anneal to almost nothing, momentum cycled inversely",
    space={
        "pct_start": Uniform(0.1, 0.45, default=0.3, limits=(0.0, 1.0)),
        "div_factor": Fixed(25.0, limits=(1.0, None)),
        "final_div_factor": Fixed(1e4, limits=(1.0, None)),
        "base_momentum": Fixed(0.85, limits=(0.0, 0.999999)),
        "max_momentum": Fixed(0.95, limits=(0.0, 0.999999)),
        "shape": Choice(("cosine", "linear")),
        "three_phase": Fixed(False),
    },
    checks=("three_phase == 0 or 2 * pct_start <= 1", "base_momentum <= max_momentum"),
    needs=frozenset({"horizon"}),
    sources=(
        Source(
            title="A disciplined approach to neural network hyper-parameters: Part 1 -- learning rate, batch size, "
            "momentum, and weight decay",
            arxiv="1803.09820",
            equation="the 1cycle policy",
        ),
        Source(
            title="Super-Convergence: Very Fast Training of Neural Networks Using Large Learning Rates",
            arxiv="1708.07120",
        ),
    ),
)


def one_cycle(
    p: Progress,
    pct_start: float = 0.3,
    div_factor: float = 25.0,
    final_div_factor: float = 1e4,
    base_momentum: float = 0.85,
    max_momentum: float = 0.95,
    shape: str = "cosine",
    three_phase: bool = False,
) -> Factors:
    """1/div_factor → 1 → 1/(div_factor·final_div_factor), with `three_phase` by way of 1/div_factor again.

    The phases end at pct_start·T − 1, (2·pct_start·T − 2,) T − 1, as they do in torch's `OneCycleLR`, with whose
    published values these agree; the end value is held at T. Momentum goes max → base → max.

    >>> one_cycle(Progress(step=299, horizon=1000))
    Factors(lr=1.0, momentum=0.85, weight_decay=None)
    """
    total, low = horizon(p), 1 / div_factor
    t, last, peak = min(p.step, total - 1), total - 1, pct_start * total - 1
    if t <= peak:
        x = _eased(t / peak, shape) if peak > 0 else 1.0
        lr_from, lr_to, momentum_from, momentum_to = low, 1.0, max_momentum, base_momentum
    elif three_phase and t <= 2 * peak:
        x = _eased((t - peak) / peak, shape) if peak > 0 else 1.0
        lr_from, lr_to, momentum_from, momentum_to = 1.0, low, base_momentum, max_momentum
    else:
        begin = 2 * peak if three_phase else peak
        x = _eased((t - begin) / (last - begin), shape) if last > begin else 1.0
        lr_from, lr_to = low if three_phase else 1.0, low / final_div_factor
        momentum_from, momentum_to = max_momentum if three_phase else base_momentum, max_momentum
    return Factors(lr_from + (lr_to - lr_from) * x, momentum_from + (momentum_to - momentum_from) * x)


def _eased(x: float, shape: str) -> float:
    return x if shape == "linear" else 0.5 * (1 - math.cos(math.pi * x))
