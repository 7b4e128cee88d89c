"""Cyclical learning rates: up and down between two values, in three forms.

Source: Cyclical Learning Rates for Training Neural Networks, arXiv 1506.01186, section 3.
"""

from __future__ import annotations

from harness.api import Choice, Fixed, PartEntry, Progress, Source, Uniform
from submissions.schedules.common import updates

ENTRY = PartEntry(
    kind="schedule",
    name="clr",
    load=f"{__name__}:clr",
    summary="triangles between `base` and the peak; `triangular2` halves them, `exp_range` shrinks them by `gamma`",
    space={
        "base": Uniform(0.01, 0.5, default=0.1667, limits=(0.0, 1.0)),
        "step_size": Fixed(0.125, limits=(1e-6, None)),
        "shape": Choice(("triangular", "triangular2", "exp_range")),
        "gamma": Fixed(0.99994, limits=(0.0, 1.0)),
    },
    checks=("steps(step_size) <= horizon",),
    needs=frozenset({"horizon"}),
    sources=(
        Source(title="Cyclical Learning Rates for Training Neural Networks", arxiv="1506.01186", equation="section 3"),
    ),
)


def clr(
    p: Progress, base: float = 0.1667, step_size: float = 0.125, shape: str = "triangular", gamma: float = 0.99994
) -> float:
    """base + (1 − base)·max(0, 1 − x)·k, x = |t/s − 2c + 1| in cycle c = ⌊1 + t/2s⌋, s = `step_size` updates.

    k is 1 (`triangular`), 2^(1−c) (`triangular2`) or γ^t (`exp_range`).

    >>> [round(clr(Progress(step=t, horizon=1000), base=0.2, step_size=250), 6) for t in (0, 250, 400, 500)]
    [0.2, 1.0, 0.52, 0.2]
    """
    t = p.step if p.horizon is None else min(p.step, p.horizon)
    halves = t / updates(step_size, p)
    number = int(1 + halves / 2)
    x = abs(halves - 2 * number + 1)
    scale = 1.0 if shape == "triangular" else 2.0 ** (1 - number) if shape == "triangular2" else gamma**t
    return base + (1 - base) * max(0.0, 1 - x) * scale
