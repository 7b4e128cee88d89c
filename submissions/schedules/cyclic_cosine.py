"""Cyclic cosine: half a cosine to the end of each of several budgets, warm restarts between them.

Source: SGDR: Stochastic Gradient Descent with Warm Restarts, arXiv 1608.03983, equation 5; as the baseline of
Understanding Warmup-Stable-Decay Learning Rates: A River Valley Loss Landscape Perspective, arXiv 2410.05192.
"""

from __future__ import annotations

import math

from harness.api import Fixed, PartEntry, Progress, Source
from submissions.schedules.common import WARMUP, after_warmup, horizon
from submissions.schedules.cycles import CYCLES, RATIO, cycle

ENTRY = PartEntry(
    kind="schedule",
    name="cyclic-cosine",
    load=f"{__name__}:cyclic_cosine",
    summary="half a cosine to `final` before the end of each budget, then back at the peak",
    space={"warmup": WARMUP, "final": Fixed(0.1, limits=(0.0, 1.0)), "cycles": CYCLES, "ratio": RATIO},
    checks=("steps(warmup) <= horizon",),
    needs=frozenset({"horizon"}),
    sources=(
        Source(title="SGDR: Stochastic Gradient Descent with Warm Restarts", arxiv="1608.03983", equation="5"),
        Source(
            title="Understanding Warmup-Stable-Decay Learning Rates: A River Valley Loss Landscape Perspective",
            arxiv="2410.05192",
            equation="the baseline Cyclic-Cosine",
        ),
    ),
)


def cyclic_cosine(p: Progress, warmup: float = 0.0, final: float = 0.0, cycles: int = 3, ratio: float = 2.0) -> float:
    """final + (1 − final)·½(1 + cos πx), x from 0 to 1 in each cycle; the cycles end at T/ratio^k.

    >>> [round(cyclic_cosine(Progress(step=t, horizon=1000), final=0.1), 6) for t in (100, 250, 750, 1000)]
    [0.689058, 1.0, 0.55, 0.1]
    """
    rising, length = after_warmup(p, warmup)
    if rising is not None:
        return rising
    total = horizon(p)
    t = min(p.step, total)
    start, end = cycle(t, total, cycles, ratio)
    start = min(max(start, length), end)
    x = (t - start) / (end - start) if end > start else 1.0
    return final + (1 - final) * 0.5 * (1 + math.cos(math.pi * x))
