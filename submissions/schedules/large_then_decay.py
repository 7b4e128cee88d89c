"""Large steps, then small ones: the peak for most of the run and a drop towards its end.

Source: SGD with Large Step Sizes Learns Sparse Features, arXiv 2210.05337.
"""

from __future__ import annotations

from harness.api import LogUniform, PartEntry, Progress, Source, Uniform
from submissions.schedules.common import WARMUP, after_warmup, horizon, updates

ENTRY = PartEntry(
    kind="schedule",
    name="large-then-decay",
    load=f"{__name__}:large_then_decay",
    summary="constant at the peak, then constant at `final` for the last `decay`",
    space={
        "warmup": WARMUP,
        "decay": Uniform(0.1, 0.7, default=0.3, limits=(0.0, None)),
        "final": LogUniform(0.01, 0.2, default=0.05, limits=(0.0, 1.0)),
    },
    checks=("steps(warmup) + steps(decay) <= horizon",),
    needs=frozenset({"horizon"}),
    sources=(
        Source(
            title="SGD with Large Step Sizes Learns Sparse Features",
            arxiv="2210.05337",
            equation="large constant step size, then decayed",
        ),
    ),
)


def large_then_decay(p: Progress, warmup: float = 0.0, decay: float = 0.3, final: float = 0.0) -> float:
    """1 until T − D, then `final`.

    >>> [large_then_decay(Progress(step=t, horizon=100), decay=30, final=0.1) for t in (69, 70, 100)]
    [1.0, 0.1, 0.1]
    """
    rising, _ = after_warmup(p, warmup)
    if rising is not None:
        return rising
    return 1.0 if p.step < horizon(p) - updates(decay, p) else final
