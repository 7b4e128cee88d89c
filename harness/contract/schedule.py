"""The argument and the return value of a schedule, and the number of updates for which a schedule is planned."""

from __future__ import annotations

import msgspec


class Progress(msgspec.Struct, frozen=True, gc=False):
    """The progress of a run, which is the argument of a schedule.

    Args:
        step: index of the next update, from 0.
        horizon: T, the number of updates for which the schedule is planned: the budget in examples times
            `horizon_fraction`, divided by `batch_size`. None if the ruleset hides the horizon.
        examples: number of examples drawn so far.
        tokens: number of tokens drawn so far.
        batch_size: number of examples per update.
        task_index: on a stream with visible boundaries, index of the current stage, from 0; otherwise None.
        task_step: index of the next update within the current stage, from 0; None if `task_index` is None.
        task_horizon: number of updates planned for the current stage: its maximum number of examples times
            `horizon_fraction`, divided by `batch_size`. None if `task_index` is None or the ruleset hides the horizon.
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
    """The return value of a schedule for one update.

    Args:
        lr: factor by which the peak learning rate is multiplied.
        momentum: new value (not a factor) of the momentum or beta1; None to leave it unchanged.
        weight_decay: factor by which the weight decay is multiplied; None to leave the weight decay unchanged.
    """

    lr: float
    momentum: float | None = None
    weight_decay: float | None = None


def planned_updates(examples: int, horizon_fraction: float, batch_size: int) -> int:
    """Return T, the number of updates for which a schedule is planned. It is at least 1.

    Args:
        examples: budget in examples.
        horizon_fraction: fraction of the budget for which the schedule is planned.
        batch_size: number of examples per update.

    >>> planned_updates(32_000, 0.75, 32)
    750
    """
    return max(1, round(examples * horizon_fraction / batch_size))
