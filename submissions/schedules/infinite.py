"""The infinite schedule: warmup, cooldown to a constant rate that needs no end, and an anneal when one is wanted.

Source: Beyond Cosine Decay: On the effectiveness of Infinite Learning Rate Schedule for Continual Pre-training,
arXiv 2503.02844, equation 1; with the anneal's length as the denominator of its exponent.
"""

from __future__ import annotations

import math

from harness.api import Choice, Fixed, PartEntry, Progress, Source, Uniform
from submissions.schedules.common import POSITIVE, WARMUP, own_task, since_decay, updates

ENTRY = PartEntry(
    kind="schedule",
    name="infinite",
    load=f"{__name__}:infinite",
    summary="warmup, cooldown to `constant`, constant, anneal to `final`; later tasks begin at `constant`",
    space={
        "warmup": WARMUP,
        "cooldown": Fixed(0.1, limits=(0.0, None)),
        "constant": Uniform(0.1, 0.5, default=0.2, limits=POSITIVE),
        "decay": Uniform(0.1, 0.4, default=0.2, limits=(0.0, None)),
        "final": Fixed(0.01, limits=POSITIVE),
        "shape": Choice(("cosine", "linear", "inverse-sqrt")),
    },
    checks=("steps(warmup) + steps(cooldown) + steps(decay) <= horizon", "final <= constant"),
    needs=frozenset({"horizon"}),
    sources=(
        Source(
            title="Beyond Cosine Decay: On the effectiveness of Infinite Learning Rate Schedule for "
            "Continual Pre-training",
            arxiv="2503.02844",
            equation="1",
        ),
    ),
)
#: How strongly the inverse-square-root cooldown is bent.
_BEND = 10.0


def infinite(
    p: Progress,
    warmup: float = 0.0,
    cooldown: float = 0.1,
    constant: float = 0.2,
    decay: float = 0.2,
    final: float = 0.01,
    shape: str = "cosine",
) -> float:
    """t/W; from 1 to `constant` in `cooldown` updates; `constant`; constant·(final/constant)^x in the last `decay`.

    Where tasks are visible, each has its own updates, and all but the first begin at `constant`: there is no
    re-warming to forget by.

    >>> at = lambda t: infinite(Progress(step=t, horizon=1000), warmup=50, cooldown=200, constant=0.5, decay=100)
    >>> [round(at(t), 6) for t in (25, 100, 250, 950, 1000)]
    [0.5, 0.926777, 0.5, 0.070711, 0.01]
    """
    own = own_task(p)
    t, length = own.step, updates(decay, own)
    since = since_decay(own, length)
    if since > 0:
        return constant * math.pow(final / constant, since / length)
    if p.task_index:
        return constant
    rise = updates(warmup, own)
    if t < rise:
        return t / rise
    fall = updates(cooldown, own)
    if t >= rise + fall:
        return constant
    return 1 + (constant - 1) * _fallen((t - rise) / fall, shape)


def _fallen(x: float, shape: str) -> float:
    """The share of the cooldown's way that is behind it at x."""
    if shape == "linear":
        return x
    if shape == "cosine":
        return 0.5 * (1 - math.cos(math.pi * x))
    return (1 / math.sqrt(1 + _BEND * x) - 1) / (1 / math.sqrt(1 + _BEND) - 1)
