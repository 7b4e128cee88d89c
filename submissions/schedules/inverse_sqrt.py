"""Inverse square root of the number of updates, after a warmup.

Source: Attention Is All You Need, arXiv 1706.03762, equation 3 (as a factor of its peak).
"""

from __future__ import annotations

import math

from harness.api import Integer, PartEntry, Progress, Source

ENTRY = PartEntry(
    kind="schedule",
    name="inverse-sqrt",
    load=f"{__name__}:inverse_sqrt",
    summary="the inverse square root of the updates made, after a linear warmup; no horizon",
    # In updates, as for `constant`: a share would need the horizon.
    space={"warmup": Integer(20, 400, default=100, limits=(0, None))},
    sources=(Source(title="Attention Is All You Need", arxiv="1706.03762", equation="3"),),
)


def inverse_sqrt(p: Progress, warmup: int = 0) -> float:
    """min((t + 1)/W, √(W/(t + 1))), W at least 1.

    The one schedule whose warmup is not t/W: its two branches are to meet.

    >>> inverse_sqrt(Progress(step=399, horizon=None), warmup=100)
    0.5
    """
    length, made = max(warmup, 1), p.step + 1
    return made / length if made <= length else math.sqrt(length / made)
