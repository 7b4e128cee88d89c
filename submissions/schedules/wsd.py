"""Warmup, stable, decay.

Source: MiniCPM: Unveiling the Potential of Small Language Models with Scalable Training Strategies,
arXiv 2404.06395; the decay shapes as compared in Scaling Laws and Compute-Optimal Training Beyond Fixed
Training Durations, arXiv 2405.18392.
"""

from __future__ import annotations

import math

from harness.api import Choice, Fixed, PartEntry, Progress, Source, Uniform
from submissions.schedules.common import FINAL, WARMUP, after_warmup, since_decay, updates
from submissions.schedules.shapes import REACHES_FINAL, SHAPES

ENTRY = PartEntry(
    kind="schedule",
    name="wsd",
    load=f"{__name__}:wsd",
    summary="constant at the peak, then a short decay to `final` in the last part of the horizon",
    space={
        "warmup": WARMUP,
        "decay": Uniform(0.1, 0.5, default=0.2, limits=(0.0, None)),
        "final": FINAL,
        "shape": Choice((*SHAPES, "half-life")),
        "half_life": Fixed(0.05, limits=(1e-6, None)),
    },
    checks=("steps(warmup) + steps(decay) <= horizon", REACHES_FINAL),
    needs=frozenset({"horizon"}),
    sources=(
        Source(
            title="MiniCPM: Unveiling the Potential of Small Language Models with Scalable Training Strategies",
            arxiv="2404.06395",
            equation="section 4",
        ),
        Source(title="Scaling Laws and Compute-Optimal Training Beyond Fixed Training Durations", arxiv="2405.18392"),
        Source(
            title="OctoThinker: Mid-training Incentivizes Reinforcement Learning Scaling",
            arxiv="2506.20512",
            equation="stable, then decay",
        ),
    ),
)


def wsd(
    p: Progress,
    warmup: float = 0.0,
    decay: float = 0.2,
    final: float = 0.0,
    shape: str = "1-sqrt",
    half_life: float = 0.05,
) -> float:
    """1 until T − D, then f(x) with x = (t − (T − D))/D, in one of `SHAPES`.

    `half-life` is MiniCPM's own decay, 0.5^((t − (T − D))/half_life): it ends wherever D takes it, but not below
    `final`.

    >>> round(wsd(Progress(step=900, horizon=1000), decay=200), 6)
    0.292893
    >>> wsd(Progress(step=900, horizon=1000), decay=200, shape="half-life", half_life=50)
    0.25
    """
    rising, _ = after_warmup(p, warmup)
    if rising is not None:
        return rising
    length = updates(decay, p)
    since = since_decay(p, length)
    if since <= 0:
        return 1.0
    if shape == "half-life":
        return max(final, math.pow(0.5, since / updates(half_life, p)))
    return SHAPES[shape](since / length, final)
