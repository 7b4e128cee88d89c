"""A constant learning rate after a warmup."""

from __future__ import annotations

from harness.api import Fixed, PartEntry, Progress
from submissions.schedules.common import after_warmup

ENTRY = PartEntry(
    kind="schedule",
    name="constant",
    load=f"{__name__}:constant",
    summary="constant after a linear warmup",
    # In updates, unlike elsewhere: a share would need the horizon, which this schedule must not know.
    space={"warmup": Fixed(0, limits=(0, None))},
)


def constant(p: Progress, warmup: int = 0) -> float:
    """1 after the warmup.

    >>> constant(Progress(step=50, horizon=None), warmup=100)
    0.5
    """
    rising, _ = after_warmup(p, warmup)
    return 1.0 if rising is None else rising
