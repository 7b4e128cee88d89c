"""REX: the reflected exponential, sampled at every update.

Source: REX: Revisiting Budgeted Training with an Improved Schedule, arXiv 2107.04197.
"""

from __future__ import annotations

from harness.api import PartEntry, Progress, Source
from submissions.schedules.common import FINAL, WARMUP, decayed

ENTRY = PartEntry(
    kind="schedule",
    name="rex",
    load=f"{__name__}:rex",
    summary="between linear and constant: slow decay first, fast at the end, to `final`",
    space={"warmup": WARMUP, "final": FINAL},
    checks=("steps(warmup) <= horizon",),
    needs=frozenset({"horizon"}),
    sources=(
        Source(
            title="REX: Revisiting Budgeted Training with an Improved Schedule",
            arxiv="2107.04197",
            equation="p(x) = (1 − x)/(1/2 + (1 − x)/2)",
        ),
    ),
)


def rex(p: Progress, warmup: float = 0.0, final: float = 0.0) -> float:
    """final + (1 − final)·(1 − x)/(½ + ½(1 − x)), x = (t − W)/(T − W).

    >>> round(rex(Progress(step=500, horizon=1000)), 6)
    0.666667
    """
    rising, x = decayed(p, warmup)
    if rising is not None:
        return rising
    return final + (1 - final) * (1 - x) / (1 - 0.5 * x)
