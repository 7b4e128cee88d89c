"""The power scheduler: a power law of the tokens seen, whatever the horizon and the batch size.

Source: Power Scheduler: A Batch Size and Token Number Agnostic Learning Rate Scheduler, arXiv 2408.13359.
"""

from __future__ import annotations

import math

from harness.api import Fixed, LogUniform, PartEntry, Progress, Source, Uniform
from submissions.schedules.common import FINAL, WARMUP, horizon, since_decay, updates

ENTRY = PartEntry(
    kind="schedule",
    name="power",
    load=f"{__name__}:power",
    summary="batch size × a power of the tokens seen, capped at the peak; at the end an exponential decay",
    space={
        "warmup": WARMUP,
        "decay": Uniform(0.05, 0.3, default=0.1, limits=(0.0, None)),
        "final": FINAL,
        "a": LogUniform(0.5, 50.0, default=4.6),
        "b": Fixed(-0.51, limits=(None, 0.0)),
        "cap": Fixed(0.02, limits=(1e-12, None)),
    },
    checks=("steps(warmup) + steps(decay) <= horizon",),
    needs=frozenset({"horizon", "tokens"}),
    sources=(
        Source(
            title="Power Scheduler: A Batch Size and Token Number Agnostic Learning Rate Scheduler",
            arxiv="2408.13359",
            equation="η = min(η_max, β·a·n^b)",
        ),
    ),
)


def power(
    p: Progress,
    warmup: float = 0.0,
    decay: float = 0.0,
    final: float = 0.0,
    a: float = 4.6,
    b: float = -0.51,
    cap: float = 0.02,
) -> float:
    """min(1, β·a·n^b/cap), n the tokens seen and β the batch size in examples; exponential in the last `decay`.

    `cap` is the paper's η_max: its constants hold with μP and a learning rate of `cap`. The warmup rises to the value
    at its end; the decay falls from the value at its beginning v to v·final, as A·e^(−x) + B.

    >>> at = lambda t: Progress(step=t, horizon=9999, examples=256 * t, tokens=2**20 * t, batch_size=256)
    >>> [round(0.02 * power(at(t)), 9) for t in (1000, 5000)]
    [0.02, 0.013002209]
    """
    t = min(p.step, horizon(p))
    # Tokens at an update follow from the step: those drawn go on to grow after T.
    tokens = p.batch_size * (p.tokens / p.examples if p.examples else 1.0)
    rise, length = updates(warmup, p), updates(decay, p)
    since = since_decay(p, length)
    if t < rise:
        return t / rise * _law(rise * tokens, p.batch_size * a / cap, b)
    if since <= 0:
        return _law(t * tokens, p.batch_size * a / cap, b)
    falling = (1 - final) * (math.exp(1 - since / length) - 1) / (math.e - 1) + final
    return _law((t - since) * tokens, p.batch_size * a / cap, b) * falling


def _law(n: float, scale: float, b: float) -> float:
    return min(1.0, scale * math.pow(n, b)) if n >= 1 else 1.0
