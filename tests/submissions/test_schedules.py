"""Schedules against numbers computed from their formulas: multipliers of the peak at T = 1000."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest

from harness.api import Progress
from submissions.schedules.cosine import cosine
from submissions.schedules.linear import linear
from submissions.schedules.rewarm import rewarm
from submissions.schedules.wsd import wsd

STEPS = (0, 50, 100, 250, 500, 750, 900, 950, 999, 1000)
ROWS: list[tuple[str, Callable[[Progress], float], tuple[float, ...]]] = [
    (
        "cosine to 0",
        cosine,
        (1, 0.993844, 0.975528, 0.853553, 0.5, 0.146447, 0.0244717, 0.00615583, 2.4674e-06, 0),
    ),
    (
        "cosine to 0.1",
        partial(cosine, final=0.1),
        (1, 0.99446, 0.977975, 0.868198, 0.55, 0.231802, 0.122025, 0.10554, 0.100002, 0.1),
    ),
    (
        "cosine to 0.1, W=100",
        partial(cosine, warmup=100, final=0.1),
        (0, 0.5, 1, 0.939711, 0.628142, 0.260746, 0.127138, 0.106837, 0.100003, 0.1),
    ),
    (
        "linear to 0, W=100",
        partial(linear, warmup=100),
        (0, 0.5, 1, 0.833333, 0.555556, 0.277778, 0.111111, 0.0555556, 0.00111111, 0),
    ),
    (
        "linear to 0.1, W=100",
        partial(linear, warmup=100, final=0.1),
        (0, 0.5, 1, 0.85, 0.6, 0.35, 0.2, 0.15, 0.101, 0.1),
    ),
    (
        "wsd linear, D=200, W=100",
        partial(wsd, warmup=100, decay=200, shape="linear"),
        (0, 0.5, 1, 1, 1, 1, 0.5, 0.25, 0.005, 0),
    ),
    (
        "wsd cosine, D=200, W=100",
        partial(wsd, warmup=100, decay=200, shape="cosine"),
        (0, 0.5, 1, 1, 1, 1, 0.5, 0.146447, 6.16838e-05, 0),
    ),
    (
        "wsd 1-sqrt, D=200, W=100",
        partial(wsd, warmup=100, decay=200, shape="1-sqrt"),
        (0, 0.5, 1, 1, 1, 1, 0.292893, 0.133975, 0.00250313, 0),
    ),
]


@pytest.mark.parametrize(("schedule", "row"), [row[1:] for row in ROWS], ids=[row[0] for row in ROWS])
def test_schedule_has_the_values_of_its_formula(schedule: Callable[[Progress], float], row: tuple[float, ...]) -> None:
    found = [schedule(Progress(step=t, horizon=1000)) for t in STEPS]
    assert found == pytest.approx(row, abs=1e-6)


def test_a_share_is_as_good_as_a_number_of_updates() -> None:
    for t in STEPS:
        p = Progress(step=t, horizon=1000)
        assert linear(p, warmup=0.1) == linear(p, warmup=100)


def test_rewarming_begins_anew_with_every_task() -> None:
    def at(task: int, step: int) -> float:
        p = Progress(step=1000 * task + step, horizon=5000, task_index=task, task_step=step, task_horizon=1000)
        return rewarm(p, warmup=100, final=0.1)

    wanted = ROWS[2][2]
    for task in range(3):
        assert [at(task, t) for t in STEPS] == pytest.approx(wanted, abs=1e-6)


def test_rewarming_without_tasks_is_a_cosine() -> None:
    p = Progress(step=250, horizon=1000)
    assert rewarm(p, warmup=100) == cosine(p, warmup=100, final=0.1)
