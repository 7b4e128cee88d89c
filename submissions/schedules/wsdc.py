"""WSDC: warmup, stable, decay, and a constant tail at the decayed rate.

Source: PLM: Efficient Peripheral Language Models Hardware-Co-Designed for Ubiquitous Computing, arXiv 2503.12167.
The paper names the four phases; their shapes here are those of `wsd`.
"""

from __future__ import annotations

from harness.api import Choice, Fixed, PartEntry, Progress, Source, Uniform
from submissions.schedules.common import WARMUP, after_warmup, horizon, updates
from submissions.schedules.shapes import REACHES_FINAL, SHAPES

ENTRY = PartEntry(
    kind="schedule",
    name="wsdc",
    load=f"{__name__}:wsdc",
    summary="constant at the peak, a short decay to `final`, and a last part constant there",
    space={
        "warmup": WARMUP,
        "decay": Uniform(0.1, 0.4, default=0.2, limits=(0.0, None)),
        "tail": Uniform(0.05, 0.3, default=0.1, limits=(0.0, None)),
        # At 0 nothing would be learnt in the tail.
        "final": Fixed(0.1, limits=(0.0, 1.0)),
        "shape": Choice(tuple(SHAPES)),
    },
    checks=("steps(warmup) + steps(decay) + steps(tail) <= horizon", REACHES_FINAL),
    needs=frozenset({"horizon"}),
    sources=(
        Source(
            title="PLM: Efficient Peripheral Language Models Hardware-Co-Designed for Ubiquitous Computing",
            arxiv="2503.12167",
            equation="the WSDC schedule, by name",
        ),
    ),
)


def wsdc(
    p: Progress,
    warmup: float = 0.0,
    decay: float = 0.2,
    tail: float = 0.1,
    final: float = 0.0,
    shape: str = "1-sqrt",
) -> float:
    """1 until T − C − D, the shape's decay until T − C, then `final`.

    >>> [wsdc(Progress(step=t, horizon=100), final=0.1, shape="linear") for t in (70, 80, 90, 100)]
    [1.0, 0.55, 0.1, 0.1]
    """
    rising, _ = after_warmup(p, warmup)
    if rising is not None:
        return rising
    end, length = horizon(p) - updates(tail, p), updates(decay, p)
    if p.step >= end:
        return final
    since = p.step - (end - length)
    return 1.0 if since <= 0 else SHAPES[shape](since / length, final)
