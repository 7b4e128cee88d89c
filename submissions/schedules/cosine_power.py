"""Cosine power annealing: the cosine as an exponent; `p` bends it from the cosine (1) to exponential decay.

Source: sharpDARTS: Faster and More Accurate Differentiable Architecture Search, arXiv 1903.09900.
"""

from __future__ import annotations

import math

from harness.api import Fixed, LogUniform, PartEntry, Progress, Source
from submissions.schedules.common import WARMUP, decayed

ENTRY = PartEntry(
    kind="schedule",
    name="cosine-power",
    load=f"{__name__}:cosine_power",
    summary="`p` to the power of a cosine: a cosine at p = 1, the earlier decay the larger p; to `final`",
    space={
        "warmup": WARMUP,
        "final": Fixed(0.001, limits=(0.0, 1.0)),
        "p": LogUniform(1.0, 100.0, default=10.0, limits=(1.0, None)),
    },
    checks=("steps(warmup) <= horizon",),
    needs=frozenset({"horizon"}),
    sources=(
        Source(
            title="sharpDARTS: Faster and More Accurate Differentiable Architecture Search",
            arxiv="1903.09900",
            equation="cosine power annealing",
        ),
    ),
)


def cosine_power(progress: Progress, warmup: float = 0.0, final: float = 0.0, p: float = 10.0) -> float:
    """final + (1 − final)·(p^(c + 1) − p)/(p² − p) with c = ½(1 + cos πx), x = (t − W)/(T − W).

    >>> round(cosine_power(Progress(step=500, horizon=1000)), 6)
    0.240253
    """
    rising, x = decayed(progress, warmup)
    if rising is not None:
        return rising
    c = 0.5 * (1 + math.cos(math.pi * x))
    # (p^c − 1)/(p − 1), without the loss of digits near p = 1.
    log = math.log(p)
    return final + (1 - final) * (c if log == 0 else math.expm1(c * log) / math.expm1(log))
