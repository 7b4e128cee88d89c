"""Warmup, stable, decay.

Source: MiniCPM: Unveiling the Potential of Small Language Models with Scalable Training Strategies,
arXiv 2404.06395; the decay shapes as compared in Scaling Laws and Compute-Optimal Training Beyond Fixed
Training Durations, arXiv 2405.18392.
"""

from __future__ import annotations

import math

from harness.api import Choice, PartEntry, Progress, Source, Uniform
from submissions.schedules.common import FINAL, WARMUP, after_warmup, horizon, updates

SHAPES = {
    "1-sqrt": lambda x, final: final + (1 - final) * (1 - math.sqrt(x)),
    "linear": lambda x, final: final + (1 - final) * (1 - x),
    "cosine": lambda x, final: final + (1 - final) * 0.5 * (1 + math.cos(math.pi * x)),
    "square": lambda x, final: final + (1 - final) * (1 - x * x),
}

ENTRY = PartEntry(
    kind="schedule",
    name="wsd",
    load=f"{__name__}:wsd",
    summary="constant at the peak, then a short decay to `final` in the last part of the horizon",
    space={
        "warmup": WARMUP,
        "decay": Uniform(0.1, 0.5, default=0.2, limits=(0.0, None)),
        "final": FINAL,
        "shape": Choice(tuple(SHAPES)),
    },
    checks=("steps(warmup) + steps(decay) <= horizon",),
    needs=frozenset({"horizon"}),
    sources=(
        Source(
            title="MiniCPM: Unveiling the Potential of Small Language Models with Scalable Training Strategies",
            arxiv="2404.06395",
            equation="section 4",
        ),
        Source(title="Scaling Laws and Compute-Optimal Training Beyond Fixed Training Durations", arxiv="2405.18392"),
    ),
)


def wsd(p: Progress, warmup: float = 0.0, decay: float = 0.2, final: float = 0.0, shape: str = "1-sqrt") -> float:
    """1 until T − D, then f(x) with x = (t − (T − D))/D, in one of `SHAPES`.

    >>> round(wsd(Progress(step=900, horizon=1000), decay=200), 6)
    0.292893
    """
    rising, _ = after_warmup(p, warmup)
    if rising is not None:
        return rising
    length = updates(decay, p)
    x = (p.step - (horizon(p) - length)) / max(length, 1e-12)
    return 1.0 if x <= 0 else SHAPES[shape](min(x, 1.0), final)
