"""Cosine decay.

Source: SGDR: Stochastic Gradient Descent with Warm Restarts, arXiv 1608.03983, equation 5 (one cycle).
"""

from __future__ import annotations

import math

from harness.api import PartEntry, Progress, Source
from submissions.schedules.common import FINAL, WARMUP, decayed

ENTRY = PartEntry(
    kind="schedule",
    name="cosine",
    load=f"{__name__}:cosine",
    summary="half a cosine from the peak to `final`, after a linear warmup",
    space={"warmup": WARMUP, "final": FINAL},
    checks=("steps(warmup) <= horizon",),
    needs=frozenset({"horizon"}),
    sources=(
        Source(
            title="SGDR: Stochastic Gradient Descent with Warm Restarts", arxiv="1608.03983", equation="5, one cycle"
        ),
    ),
)


def cosine(p: Progress, warmup: float = 0.0, final: float = 0.0) -> float:
    """final + (1 − final)·½(1 + cos(π(t − W)/(T − W))).

    >>> round(cosine(Progress(step=250, horizon=1000)), 6)
    0.853553
    """
    rising, x = decayed(p, warmup)
    if rising is not None:
        return rising
    return final + (1 - final) * 0.5 * (1 + math.cos(math.pi * x))
