"""Slow start, fast decay: a long rise, then a quick fall.

Source: A Simple Fine-tuning Is All You Need: Towards Robust Deep Learning Via Adversarial Fine-tuning,
arXiv 2012.13628. The paper names the strategy; the curves of rise and fall are this project's reading.
"""

from __future__ import annotations

import math

from harness.api import Fixed, PartEntry, Progress, Source, Uniform
from submissions.schedules.common import FINAL, decayed

ENTRY = PartEntry(
    kind="schedule",
    name="slow-start-fast-decay",
    load=f"{__name__}:slow_start_fast_decay",
    summary="a linear rise over much of the horizon, then exponential decay to `final`",
    space={
        "warmup": Uniform(0.2, 0.7, default=0.4, limits=(0.0, None)),
        "final": FINAL,
        "rate": Fixed(5.0, limits=(1e-3, 700.0)),
    },
    checks=("steps(warmup) <= horizon",),
    needs=frozenset({"horizon"}),
    sources=(
        Source(
            title="A Simple Fine-tuning Is All You Need: Towards Robust Deep Learning Via Adversarial Fine-tuning",
            arxiv="2012.13628",
            equation="slow start, fast decay, by name",
        ),
    ),
)


def slow_start_fast_decay(p: Progress, warmup: float = 0.0, final: float = 0.0, rate: float = 5.0) -> float:
    """t/W, then final + (1 − final)·(e^(−rx) − e^(−r))/(1 − e^(−r)), x = (t − W)/(T − W).

    >>> [round(slow_start_fast_decay(Progress(step=t, horizon=100), warmup=50), 6) for t in (25, 50, 75, 100)]
    [0.5, 1.0, 0.075858, 0.0]
    """
    rising, x = decayed(p, warmup)
    if rising is not None:
        return rising
    return final + (1 - final) * math.expm1(rate * (1 - x)) / math.expm1(rate)
