"""The learning rate of stochastic weight averaging: high, a ramp down, and constant while weights are averaged.

Source: Averaging Weights Leads to Wider Optima and Better Generalization, arXiv 1803.05407, section 3, as in
the authors' code.
"""

from __future__ import annotations

from harness.api import PartEntry, Progress, Uniform
from submissions.averaging.swa import SOURCE, START
from submissions.schedules.common import WARMUP, after_warmup, updates

ENTRY = PartEntry(
    kind="schedule",
    name="swa-lr",
    load=f"{__name__}:swa",
    summary="at the peak until half of `swa_start`, linearly to `swa_final` at nine tenths of it, then constant",
    space={
        "warmup": WARMUP,
        "swa_start": START,
        "swa_final": Uniform(0.05, 0.5, default=0.2, limits=(0.0, 1.0)),
    },
    checks=("steps(swa_start) <= horizon",),
    needs=frozenset({"horizon"}),
    sources=(SOURCE,),
)


def swa(p: Progress, warmup: float = 0.0, swa_start: float = 0.75, swa_final: float = 0.5) -> float:
    """1 for x ≤ ½, linear to `swa_final` at x = 0.9, then constant, with x = t/S and S the start of the averaging.

    >>> [swa(Progress(step=t, horizon=200), swa_start=100, swa_final=0.5) for t in (0, 50, 70, 90, 200)]
    [1.0, 1.0, 0.75, 0.5, 0.5]
    """
    rising, _ = after_warmup(p, warmup)
    if rising is not None:
        return rising
    x = p.step / max(updates(swa_start, p), 1e-12)
    if x <= 0.5:
        return 1.0
    return swa_final if x >= 0.9 else 1 - (1 - swa_final) * (x - 0.5) / 0.4
