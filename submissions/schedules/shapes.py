"""Shapes of a decay: from 1 at x = 0 to `final` at x = 1.

Source: Scaling Laws and Compute-Optimal Training Beyond Fixed Training Durations, arXiv 2405.18392 (`1-sqrt`,
`linear`, `cosine`, `square`, `exp`); Understanding Warmup-Stable-Decay Learning Rates: A River Valley Loss Landscape
Perspective, arXiv 2410.05192 (`inv`).
"""

from __future__ import annotations

import math
from collections.abc import Callable


def inverse(x: float, final: float) -> float:
    """1/(x/final + (1 − x)): the rate's inverse grows linearly.

    >>> round(inverse(0.5, 0.1), 6)
    0.181818
    """
    return 1 / (x / final + 1 - x)


SHAPES: dict[str, Callable[[float, float], float]] = {
    "1-sqrt": lambda x, final: final + (1 - final) * (1 - math.sqrt(x)),
    "linear": lambda x, final: final + (1 - final) * (1 - x),
    "cosine": lambda x, final: final + (1 - final) * 0.5 * (1 + math.cos(math.pi * x)),
    "square": lambda x, final: final + (1 - final) * (1 - x * x),
    "exp": lambda x, final: math.pow(final, x),
    "inv": inverse,
}

#: A check of every schedule that has these shapes: two of them fall in proportion, and so never to zero.
REACHES_FINAL = "(shape != 'exp' and shape != 'inv') or final > 0"
