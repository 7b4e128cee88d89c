"""WSD-S: one run through several budgets, decayed before the end of each and back at the peak after it.

Source: Understanding Warmup-Stable-Decay Learning Rates: A River Valley Loss Landscape Perspective, arXiv 2410.05192.
"""

from __future__ import annotations

from harness.api import Fixed, PartEntry, Progress, Source, Uniform
from submissions.schedules.common import POSITIVE, WARMUP, after_warmup, horizon
from submissions.schedules.cycles import CYCLES, RATIO, cycle
from submissions.schedules.shapes import inverse

ENTRY = PartEntry(
    kind="schedule",
    name="wsd-s",
    load=f"{__name__}:wsd_s",
    summary="at the peak, with a short decay before the end of each budget and no warmup after it",
    space={
        "warmup": WARMUP,
        "decay": Uniform(0.05, 0.4, default=0.1, limits=(0.0, 1.0)),
        "final": Fixed(0.1, limits=POSITIVE),
        "cycles": CYCLES,
        "ratio": RATIO,
    },
    checks=("steps(warmup) <= horizon",),
    needs=frozenset({"horizon"}),
    sources=(
        Source(
            title="Understanding Warmup-Stable-Decay Learning Rates: A River Valley Loss Landscape Perspective",
            arxiv="2410.05192",
            equation="WSD-S, decay in inverse proportion",
        ),
    ),
)


def wsd_s(
    p: Progress, warmup: float = 0.0, decay: float = 0.1, final: float = 0.1, cycles: int = 3, ratio: float = 2.0
) -> float:
    """1, and in the last share `decay` of each cycle 1/(x/final + (1 − x)), x from 0 to 1.

    The cycles end at T/ratio^k: each continues from the decayed weights of the one before. The inverse of the rate
    grows linearly, so `final` cannot be 0.

    >>> [round(wsd_s(Progress(step=t, horizon=1000)), 4) for t in (224, 249, 250, 1000)]
    [1.0, 0.1037, 1.0, 0.1]
    """
    rising, _ = after_warmup(p, warmup)
    if rising is not None:
        return rising
    total = horizon(p)
    t = min(p.step, total)
    start, end = cycle(t, total, cycles, ratio)
    length = decay * (end - start)
    since = length if t == total else t - (end - length)
    return 1.0 if since <= 0 else inverse(since / length, final)
