"""Step decay at 30 %, 60 % and 90 % of the horizon.

Source: REX: Revisiting Budgeted Training with an Improved Schedule, arXiv 2107.04197 (the baseline 30-60-90).
"""

from __future__ import annotations

from harness.api import LogUniform, PartEntry, Progress, Source
from submissions.schedules.common import WARMUP, after_warmup, horizon

ENTRY = PartEntry(
    kind="schedule",
    name="step",
    load=f"{__name__}:step",
    summary="times `gamma` at 30 %, 60 % and 90 % of the horizon",
    space={"warmup": WARMUP, "gamma": LogUniform(0.05, 0.5, default=0.1, limits=(0.0, 1.0))},
    checks=("steps(warmup) <= horizon",),
    needs=frozenset({"horizon"}),
    sources=(
        Source(
            title="REX: Revisiting Budgeted Training with an Improved Schedule",
            arxiv="2107.04197",
            equation="the baseline 30-60-90",
        ),
    ),
)


def step(p: Progress, warmup: float = 0.0, gamma: float = 0.1) -> float:
    """γ^k, k the number of 0.3·T, 0.6·T and 0.9·T that are not after t.

    >>> [round(step(Progress(step=t, horizon=10)), 6) for t in (2, 3, 6, 9, 10)]
    [1.0, 0.1, 0.01, 0.001, 0.001]
    """
    rising, _ = after_warmup(p, warmup)
    if rising is not None:
        return rising
    # In whole numbers: 0.6·5 is no integer in floating point.
    t, total = 10 * p.step, horizon(p)
    return float(gamma ** ((t >= 3 * total) + (t >= 6 * total) + (t >= 9 * total)))
