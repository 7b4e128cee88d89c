"""What several schedules share: durations, the linear warmup, the share of the decay, the task of a stream."""

from __future__ import annotations

from harness.api import Domain, Fixed, Progress, Uniform

#: Warmup as a part's space declares it: a share of the horizon below 1, a number of updates from 1 on.
WARMUP: Domain = Uniform(0.0, 0.2, default=0.05, limits=(0.0, None))
#: The factor at the end of a decay.
FINAL: Domain = Fixed(0.0, limits=(0.0, 1.0))
#: The same where a decay in proportions cannot reach zero.
POSITIVE = (1e-6, 1.0)


def updates(duration: float, p: Progress) -> float:
    """A duration in updates.

    >>> updates(0.1, Progress(step=0, horizon=500))
    50.0
    """
    if duration >= 1 or duration == 0:
        return duration
    return duration * horizon(p)


def horizon(p: Progress) -> int:
    """T; a schedule that asks for it has declared the need `horizon`."""
    assert p.horizon is not None, "this schedule needs the horizon"
    return p.horizon


def after_warmup(p: Progress, warmup: float) -> tuple[float | None, float]:
    """(the factor t/W while it is warming up, otherwise None; W in updates).

    >>> after_warmup(Progress(step=5, horizon=100), 0.1)
    (0.5, 10.0)
    """
    length = updates(warmup, p)
    return (p.step / length if p.step < length else None), length


def decayed(p: Progress, warmup: float) -> tuple[float | None, float]:
    """(the factor while it is warming up, otherwise None; the share of the decay that is over, 1 from t = T on).

    >>> decayed(Progress(step=55, horizon=100), 0.1)
    (None, 0.5)
    """
    rising, start = after_warmup(p, warmup)
    if rising is not None:
        return rising, 0.0  # a warmup of T updates leaves none to decay over
    total = horizon(p)
    return None, 1.0 if p.step >= total else (p.step - start) / (total - start)


def since_decay(p: Progress, length: float) -> float:
    """Updates since a decay of `length` began that ends at T; not above `length`, negative before it.

    >>> [since_decay(Progress(step=t, horizon=100), 20.0) for t in (70, 90, 200)]
    [-10.0, 10.0, 20.0]
    """
    total = horizon(p)
    return length if p.step >= total else p.step - (total - length)


def own_task(p: Progress) -> Progress:
    """The progress within the current task of a stream, as if it were a run; where no tasks are visible, the run's.

    >>> own_task(Progress(step=120, horizon=200, task_index=1, task_step=20, task_horizon=100)).step
    20
    """
    return p if p.task_step is None else Progress(step=p.task_step, horizon=p.task_horizon)
