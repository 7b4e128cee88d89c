"""UBA: the unified budget-aware schedule, one phase; `phi` bends it from constant over cosine to an early decay.

Source: Stepsize anything: A unified learning rate schedule for budgeted-iteration training, arXiv 2505.24452.
"""

from __future__ import annotations

import math

from harness.api import LogUniform, PartEntry, Progress, Source
from submissions.schedules.common import FINAL, WARMUP, decayed

ENTRY = PartEntry(
    kind="schedule",
    name="uba",
    load=f"{__name__}:uba",
    summary="a family from constant (`phi` 0) over cosine (2) to early decay, by one number; to `final`",
    space={"warmup": WARMUP, "final": FINAL, "phi": LogUniform(0.25, 5.0, default=1.0, limits=(0.0, None))},
    checks=("steps(warmup) <= horizon",),
    needs=frozenset({"horizon"}),
    sources=(
        Source(
            title="Stepsize anything: A unified learning rate schedule for budgeted-iteration training",
            arxiv="2505.24452",
            equation="the closed form, one phase",
        ),
    ),
)


def uba(p: Progress, warmup: float = 0.0, final: float = 0.0, phi: float = 1.0) -> float:
    """final + (1 − final)·2c/(2φ + (2 − φ)c) with c = 1 + cos πx, x = (t − W)/(T − W).

    φ = 2 is the cosine; φ = 0 is constant until T.

    >>> round(uba(Progress(step=500, horizon=1000), phi=1.0), 6)
    0.666667
    """
    rising, x = decayed(p, warmup)
    if rising is not None:
        return rising
    if x >= 1:
        return final
    c = 1 + math.cos(math.pi * x)
    return final + (1 - final) * 2 * c / (2 * phi + (2 - phi) * c)
