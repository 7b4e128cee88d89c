"""The argument and the result of a schedule, and the number of updates that it plans for."""

from __future__ import annotations

import msgspec


class Progress(msgspec.Struct, frozen=True, gc=False):
    """The progress of a run, as a schedule is called with it.

    Args:
        step: 0-based index of the update about to be made.
        horizon: T, the number of updates that the schedule plans for (`horizon_fraction` applied); None where unknown.
        examples: fresh examples drawn so far.
        tokens: tokens drawn so far.
        batch_size: examples per update.
        task_index: the current stage of a stream whose boundaries are visible; otherwise None.
        task_step: 0-based index of the update within that stage; otherwise None.
        task_horizon: updates planned for that stage (its cap, `horizon_fraction` applied); None where unknown.
    """

    step: int
    horizon: int | None
    examples: int = 0
    tokens: int = 0
    batch_size: int = 1
    task_index: int | None = None
    task_step: int | None = None
    task_horizon: int | None = None


class Factors(msgspec.Struct, frozen=True, gc=False):
    """What a schedule returns for one update.

    Args:
        lr: multiplier of the peak learning rate.
        momentum: the momentum (or beta1) itself; None where the schedule does not set it.
        weight_decay: multiplier of the weight decay; None where the schedule does not set it.
    """

    lr: float
    momentum: float | None = None
    weight_decay: float | None = None


def planned_updates(examples: int, horizon_fraction: float, batch_size: int) -> int:
    """T, the updates that a schedule plans for within a budget of so many examples; at least one.

    >>> planned_updates(32_000, 0.75, 32)
    750
    """
    return max(1, round(examples * horizon_fraction / batch_size))
