"""Linear decay, by default straight to zero.

Source: Straight to Zero: Why Linearly Decaying the Learning Rate to Zero Works Best for LLMs, arXiv 2502.15938;
the schedule with the best guarantee for the last iterate: When, Why and How Much? Adaptive Learning Rate Scheduling
by Refinement, arXiv 2310.07831.
"""

from __future__ import annotations

from harness.api import PartEntry, Progress, Source
from submissions.schedules.common import FINAL, WARMUP, decayed

ENTRY = PartEntry(
    kind="schedule",
    name="linear",
    load=f"{__name__}:linear",
    summary="a straight line from the peak to `final`, after a linear warmup",
    space={"warmup": WARMUP, "final": FINAL},
    checks=("steps(warmup) <= horizon",),
    needs=frozenset({"horizon"}),
    sources=(
        Source(
            title="Straight to Zero: Why Linearly Decaying the Learning Rate to Zero Works Best for LLMs",
            arxiv="2502.15938",
            equation="decay to zero after a warmup",
        ),
        Source(
            title="When, Why and How Much? Adaptive Learning Rate Scheduling by Refinement",
            arxiv="2310.07831",
            equation="the linear decay schedule",
        ),
    ),
)


def linear(p: Progress, warmup: float = 0.0, final: float = 0.0) -> float:
    """final + (1 − final)·(1 − (t − W)/(T − W)).

    >>> linear(Progress(step=750, horizon=1000))
    0.25
    """
    rising, x = decayed(p, warmup)
    if rising is not None:
        return rising
    return final + (1 - final) * (1 - x)
