"""Schedules against numbers from outside: published values and other libraries, as multipliers of the peak."""

from __future__ import annotations

import itertools
import math
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Literal

import pytest
import torch

from harness.api import Factors, Progress
from submissions.schedules.clr import clr
from submissions.schedules.cosine import cosine
from submissions.schedules.cosine_power import cosine_power
from submissions.schedules.cyclic_cosine import cyclic_cosine
from submissions.schedules.infinite import infinite
from submissions.schedules.inverse_sqrt import inverse_sqrt
from submissions.schedules.large_then_decay import large_then_decay
from submissions.schedules.linear import linear
from submissions.schedules.multiplicative_cyclic import multiplicative_cyclic
from submissions.schedules.one_cycle import one_cycle
from submissions.schedules.power import power
from submissions.schedules.reuse_dont_retrain import reuse_dont_retrain
from submissions.schedules.rewarm import rewarm
from submissions.schedules.rex import rex
from submissions.schedules.slow_start_fast_decay import slow_start_fast_decay
from submissions.schedules.step import step
from submissions.schedules.uba import uba
from submissions.schedules.wsd import wsd
from submissions.schedules.wsd_s import wsd_s
from submissions.schedules.wsdc import wsdc

Schedule = Callable[[Progress], float]

#: Each row: the schedule at T = 1000 and its values at these updates.
STEPS = (0, 50, 100, 250, 500, 750, 900, 950, 999, 1000)
_WSD = partial(wsd, warmup=100, decay=200)
_INFINITE = partial(infinite, warmup=50, cooldown=200, constant=0.5, decay=100, final=0.01)
_CLR = partial(clr, base=0.001, step_size=250)
ROWS: dict[str, tuple[Schedule, Sequence[float]]] = {
    "cosine to 0": (
        cosine,
        (1, 0.993844, 0.975528, 0.853553, 0.5, 0.146447, 0.0244717, 0.00615583, 2.4674e-06, 0),
    ),
    "cosine to 0.1": (
        partial(cosine, final=0.1),
        (1, 0.99446, 0.977975, 0.868198, 0.55, 0.231802, 0.122025, 0.10554, 0.100002, 0.1),
    ),
    "cosine to 0.1, W=100": (
        partial(cosine, warmup=100, final=0.1),
        (0, 0.5, 1, 0.939711, 0.628142, 0.260746, 0.127138, 0.106837, 0.100003, 0.1),
    ),
    "linear to 0, W=100": (
        partial(linear, warmup=100),
        (0, 0.5, 1, 0.833333, 0.555556, 0.277778, 0.111111, 0.0555556, 0.00111111, 0),
    ),
    "linear to 0.1, W=100": (
        partial(linear, warmup=100, final=0.1),
        (0, 0.5, 1, 0.85, 0.6, 0.35, 0.2, 0.15, 0.101, 0.1),
    ),
    "wsd linear": (partial(_WSD, shape="linear"), (0, 0.5, 1, 1, 1, 1, 0.5, 0.25, 0.005, 0)),
    "wsd cosine": (partial(_WSD, shape="cosine"), (0, 0.5, 1, 1, 1, 1, 0.5, 0.146447, 6.16838e-05, 0)),
    "wsd 1-sqrt": (partial(_WSD, shape="1-sqrt"), (0, 0.5, 1, 1, 1, 1, 0.292893, 0.133975, 0.00250313, 0)),
    "wsd exp": (
        partial(_WSD, shape="exp", final=0.1),
        (0, 0.5, 1, 1, 1, 1, 0.316228, 0.177828, 0.101158, 0.1),
    ),
    "wsd inv": (
        partial(_WSD, shape="inv", final=0.1),
        (0, 0.5, 1, 1, 1, 1, 0.181818, 0.129032, 0.100452, 0.1),
    ),
    "wsd half-life": (
        partial(_WSD, shape="half-life", half_life=50),
        (0, 0.5, 1, 1, 1, 1, 0.25, 0.125, 0.0633725, 0.0625),
    ),
    "wsd-s": (partial(wsd_s, warmup=50, decay=0.1, final=0.1), (0, 1, 1, 1, 1, 1, 1, 1, 0.101833, 0.1)),
    "cyclic cosine": (
        partial(cyclic_cosine, final=0.1),
        (1, 0.914058, 0.689058, 1, 1, 0.55, 0.185942, 0.122025, 0.100009, 0.1),
    ),
    "infinite": (_INFINITE, (0, 1, 0.926777, 0.5, 0.5, 0.5, 0.5, 0.0707107, 0.010399, 0.01)),
    "rex": (rex, (1, 0.974359, 0.947368, 0.857143, 0.666667, 0.4, 0.181818, 0.0952381, 0.001998, 0)),
    "uba 0.25": (
        partial(uba, phi=0.25),
        (1, 0.999226, 0.996874, 0.979004, 0.888889, 0.578518, 0.167142, 0.0472122, 1.97389e-05, 0),
    ),
    "uba 0.5": (
        partial(uba, phi=0.5),
        (1, 0.998454, 0.993768, 0.958871, 0.8, 0.406983, 0.0911921, 0.0241768, 9.86952e-06, 0),
    ),
    "uba 1": (
        partial(uba, phi=1.0),
        (1, 0.996913, 0.987613, 0.920991, 0.666667, 0.255479, 0.0477744, 0.0122363, 4.93479e-06, 0),
    ),
    "uba 2": (
        partial(uba, phi=2.0),
        (1, 0.993844, 0.975528, 0.853553, 0.5, 0.146447, 0.0244717, 0.00615583, 2.4674e-06, 0),
    ),
    "triangular": (_CLR, (0.001, 0.2008, 0.4006, 1, 0.001, 1, 0.4006, 0.2008, 0.004996, 0.001)),
    "triangular2": (
        partial(_CLR, shape="triangular2"),
        (0.001, 0.2008, 0.4006, 1, 0.001, 0.5005, 0.2008, 0.1009, 0.002998, 0.001),
    ),
    "step 30-60-90": (step, (1, 1, 1, 1, 0.1, 0.01, 0.001, 0.001, 0.001, 0.001)),
}


def values(schedule: Schedule, steps: Sequence[int], horizon: int | None = 1000) -> list[float]:
    return [schedule(Progress(step=t, horizon=horizon)) for t in steps]


@pytest.mark.parametrize(("schedule", "row"), ROWS.values(), ids=ROWS)
def test_schedule_has_the_values_of_its_formula(schedule: Schedule, row: Sequence[float]) -> None:
    assert values(schedule, STEPS) == pytest.approx(row, abs=1e-6)


def test_a_share_is_as_good_as_a_number_of_updates() -> None:
    assert values(partial(linear, warmup=0.1), STEPS) == values(partial(linear, warmup=100), STEPS)
    shares = partial(wsdc, warmup=0.1, decay=0.2, tail=0.3)
    assert values(shares, STEPS) == values(partial(wsdc, warmup=100, decay=200, tail=300), STEPS)


@pytest.mark.parametrize(
    ("schedule", "mean"),
    [
        (cosine, 0.5),
        (linear, 0.5),
        (rex, 0.6142),
        (partial(uba, phi=0.25), 0.7393),
        (partial(uba, phi=0.5), 0.6672),
        (partial(uba, phi=1.0), 0.5863),
        (partial(uba, phi=2.0), 0.5),
        (partial(uba, phi=5.0), 0.3879),
    ],
)
def test_the_mean_rate_is_the_published_one(schedule: Schedule, mean: float) -> None:
    # As published, to the digits given there.
    assert sum(values(schedule, range(1000))) / 1000 == pytest.approx(mean, abs=6e-4 if mean == 0.5 else 5e-5)


# --- other people's code --------------------------------------------------------------------------


def torch_values(make: Callable[[torch.optim.Optimizer], Any], count: int, lr: float = 1.0) -> list[dict[str, float]]:
    """Learning rate and momentum that `count` updates see."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=lr, momentum=0.9)
    scheduler, seen = make(optimizer), []
    with warnings.catch_warnings():
        # Stepping a scheduler without stepping its optimizer is what is meant here.
        warnings.simplefilter("ignore", UserWarning)
        for update in range(count):
            group = optimizer.param_groups[0]
            seen.append({"lr": group["lr"], "momentum": group["momentum"]})
            if update < count - 1:
                scheduler.step()
    return seen


def test_one_cycle_is_torch_s() -> None:
    variants: list[dict[str, Any]] = [
        {},
        {"pct_start": 0.2, "three_phase": True},
        {"anneal_strategy": "linear", "div_factor": 10},
    ]
    for options in variants:
        theirs = torch_values(
            lambda o: torch.optim.lr_scheduler.OneCycleLR(o, 1.0, total_steps=200, **options),  # noqa: B023
            200,
        )
        named = {"shape" if k == "anneal_strategy" else k: v for k, v in options.items()}
        ours = [one_cycle(Progress(step=t, horizon=200), **named) for t in range(200)]
        assert [f.lr for f in ours] == pytest.approx([v["lr"] for v in theirs], abs=1e-9)
        assert [f.momentum for f in ours] == pytest.approx([v["momentum"] for v in theirs], abs=1e-9)


def test_one_cycle_has_the_published_values() -> None:
    published = {
        0: (0.04, 0.95),
        50: (0.10472872, 0.943257),
        100: (0.28145736, 0.924848),
        150: (0.52252167, 0.899737),
        299: (1, 0.85),
        300: (0.99999496, 0.850001),
        500: (0.8099881, 0.869001),
        750: (0.28104143, 0.921896),
        900: (0.04855028, 0.945145),
        999: (4e-6, 0.95),
        1000: (4e-6, 0.95),
    }
    for t, (lr, momentum) in published.items():
        found = one_cycle(Progress(step=t, horizon=1000))
        assert (found.lr, found.momentum) == pytest.approx((lr, momentum), abs=1e-6), t
    phases = {0: 0.04, 150: 0.52160535, 299: 1, 300: 0.9967893, 598: 0.04, 800: 0.01985239, 999: 4e-6}
    for t, lr in phases.items():
        found = one_cycle(Progress(step=t, horizon=1000), shape="linear", three_phase=True)
        assert found.lr == pytest.approx(lr, abs=1e-6), t


@pytest.mark.parametrize("shape", ["triangular", "triangular2", "exp_range"])
def test_triangles_are_torch_s(shape: Literal["triangular", "triangular2", "exp_range"]) -> None:
    theirs = torch_values(
        lambda o: torch.optim.lr_scheduler.CyclicLR(
            o,
            base_lr=0.1,
            max_lr=1.0,
            step_size_up=30,
            mode=shape,
            gamma=0.99,
            cycle_momentum=False,
        ),
        200,
    )
    ours = values(partial(clr, base=0.1, step_size=30, shape=shape, gamma=0.99), range(200), horizon=200)
    assert ours == pytest.approx([v["lr"] for v in theirs], abs=1e-9)


def test_the_cosine_is_torch_s_and_does_not_rise_after_its_end() -> None:
    theirs = torch_values(lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, T_max=100, eta_min=0.1), 101)
    ours = partial(cosine, final=0.1)
    assert values(ours, range(101), 100) == pytest.approx([v["lr"] for v in theirs], abs=1e-9)
    assert values(ours, [100, 150, 200], 100) == pytest.approx([0.1] * 3)


def test_steps_are_torch_s() -> None:
    theirs = torch_values(lambda o: torch.optim.lr_scheduler.MultiStepLR(o, [30, 60, 90], gamma=0.2), 100)
    assert values(partial(step, gamma=0.2), range(100), 100) == pytest.approx([v["lr"] for v in theirs], abs=1e-12)


def test_warmup_and_cosine_are_algoperf_s() -> None:
    published = (
        *(0, 0.2, 0.4, 0.6, 0.8, 1, 0.9891, 0.9568, 0.9045, 0.8346),
        *(0.75, 0.6545, 0.5523, 0.4477, 0.3455, 0.25, 0.1654, 0.0955, 0.0432, 0.0109, 0),
    )
    assert values(partial(cosine, warmup=5), range(21), 20) == pytest.approx(published, abs=5e-5)


def test_wsd_is_that_of_a_library_until_its_end() -> None:
    # pytorch_optimizer's schedule with warmup 2, stable 4, decay 4; it then jumps to its smallest rate.
    published = (0, 0.5, 1, 1, 1, 1, 1, 0.5, 0.2929, 0.134)
    assert values(partial(wsd, warmup=2, decay=4), range(10), 10) == pytest.approx(published, abs=5e-5)


def test_rex_is_not_its_namesakes() -> None:
    """A library begins it with a rate of 0 and is one update late; another curve of that name is hotter."""
    library = pytest.importorskip("pytorch_optimizer.lr_scheduler.rex")
    theirs = torch_values(lambda o: library.REXScheduler(o, total_steps=10, max_lr=1.0), 11)
    late = [v["lr"] for v in theirs]
    assert late[:3] == pytest.approx([0, 0.9474, 0.8889], abs=5e-5)
    ours = values(rex, range(11), 10)
    assert ours[0] == 1.0
    assert ours[1:] == pytest.approx(late[1:])
    hotter = [z / (0.1 + 0.9 * z) for z in (0.75, 0.5, 0.25)]
    assert all(a < b - 0.1 for a, b in zip(values(rex, (250, 500, 750)), hotter, strict=True))


def test_minicpms_other_decay_is_linear_to_a_tenth() -> None:
    schedule = partial(wsd, decay=200, final=0.1, shape="linear")
    wanted = [0.1 + max(0.9 * (1000 - t) / 200, 0) for t in range(800, 1001, 10)]
    assert values(schedule, range(800, 1001, 10)) == pytest.approx(wanted)


def test_power_has_the_published_rates() -> None:
    def rate(t: int, cap: float) -> float:
        tokens = t * 256 * 4096
        p = Progress(step=t, horizon=200_000, examples=t * 256, tokens=tokens, batch_size=256)
        return cap * power(p, cap=cap)

    for t in (0, 1, 100, 1000, 2000):
        assert rate(t, 0.02) == 0.02
    published = {5000: 0.013002209, 10_000: 0.0091304428, 100_000: 0.0028215766}
    assert {t: rate(t, 0.02) for t in published} == pytest.approx(published, rel=1e-7)
    uncapped = {1000: 0.029545534, 2000: 0.020747537}
    assert {t: rate(t, 1.0) for t in uncapped} == pytest.approx(uncapped, rel=1e-7)


# --- what follows from the definition -------------------------------------------------------------


def test_uba_is_a_cosine_at_2_and_constant_at_0() -> None:
    steps = range(0, 1001, 7)
    assert values(partial(uba, phi=2.0, warmup=50), steps) == pytest.approx(values(partial(cosine, warmup=50), steps))
    assert values(partial(uba, phi=0.0), range(1000)) == [1.0] * 1000
    for t in (100, 500, 900):
        found = [uba(Progress(step=t, horizon=1000), phi=phi) for phi in (0.1, 0.5, 1.0, 2.0, 5.0)]
        assert found == sorted(found, reverse=True), "a larger phi decays earlier"


def test_cosine_power_is_its_formula_and_a_cosine_at_1() -> None:
    def formula(t: int, p: float) -> float:
        c = 0.5 * (1 + math.cos(math.pi * t / 1000))
        return 1e-3 + (1 - 1e-3) * (math.pow(p, c + 1) - p) / (p * p - p)

    for p in (2.0, 10.0, 100.0):
        found = values(partial(cosine_power, final=1e-3, p=p), STEPS)
        assert found == pytest.approx([formula(t, p) for t in STEPS], abs=1e-12)
    assert values(partial(cosine_power, p=1.0), STEPS) == pytest.approx(values(cosine, STEPS))
    # Continuous there: the plain formula would lose every digit.
    assert values(partial(cosine_power, p=1 + 1e-12), STEPS) == pytest.approx(values(cosine, STEPS), abs=1e-9)


def test_inverse_sqrt_is_that_of_the_transformer() -> None:
    def noam(t: int, warmup: int) -> float:
        return min(math.pow(t + 1, -0.5), (t + 1) * math.pow(warmup, -1.5)) / math.pow(warmup, -0.5)

    for warmup in (1, 100, 400):
        found = values(partial(inverse_sqrt, warmup=warmup), range(1000), horizon=None)
        assert found == pytest.approx([noam(t, warmup) for t in range(1000)])
    assert values(inverse_sqrt, (0, 3), horizon=None) == [1.0, 0.5]


def test_multiplicative_cycles_end_where_they_should() -> None:
    schedule = partial(multiplicative_cyclic, period=100, final=0.1)
    steps = range(1501)
    found = values(schedule, steps, horizon=1500)
    restarts = [b for a, b in itertools.pairwise(steps) if found[b] > found[a]]
    assert restarts == [100, 300, 700]
    assert [found[t] for t in restarts] == [1.0] * 3
    assert found[1500] == 0.1
    assert found[500] == pytest.approx(0.55), "half of the third cycle"
    assert values(multiplicative_cyclic, steps, 1500) == pytest.approx(
        values(partial(schedule, final=0.0), steps, 1500)
    )
    # Cut off in a cycle, it stays there.
    assert values(schedule, (1000, 1001), horizon=1000) == pytest.approx([found[1000]] * 2)


def test_wsd_s_jumps_back_to_the_peak() -> None:
    schedule = partial(wsd_s, warmup=50, decay=0.1, final=0.1)
    assert values(schedule, (224, 225, 249, 250, 450, 499, 500)) == pytest.approx(
        (1, 1, 1 / (0.96 * 10 + 0.04), 1, 1, 1 / (0.96 * 10 + 0.04), 1)
    )


def test_equal_cycles_are_warm_restarts() -> None:
    theirs = torch_values(lambda o: torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(o, T_0=50), 200)
    found = values(partial(cyclic_cosine, cycles=4, ratio=1.0), range(200), 200)
    assert found == pytest.approx([v["lr"] for v in theirs], abs=1e-9)


def test_wsdc_is_wsd_with_a_tail() -> None:
    for shape in ("linear", "1-sqrt", "square"):
        early = values(partial(wsdc, warmup=100, decay=200, tail=200, final=0.1, shape=shape), range(801), 1000)
        assert early == values(partial(wsd, warmup=100, decay=200, final=0.1, shape=shape), range(801), 800)
    assert values(partial(wsdc, decay=200, tail=200, final=0.1), (800, 900, 1000)) == [0.1] * 3


def test_the_infinite_cooldowns_begin_and_end_alike() -> None:
    for shape in ("cosine", "linear", "inverse-sqrt"):
        schedule = partial(_INFINITE, shape=shape)
        assert values(schedule, (50, 250)) == pytest.approx([1, 0.5])
    bent = 1 + (0.5 - 1) / (11**-0.5 - 1) * (6**-0.5 - 1)
    assert values(partial(_INFINITE, shape="inverse-sqrt"), (150,)) == pytest.approx([bent])


def test_large_steps_and_slow_starts() -> None:
    assert values(partial(large_then_decay, decay=300, final=0.1), (0, 699, 700, 1000)) == [1, 1, 0.1, 0.1]
    slow = values(partial(slow_start_fast_decay, warmup=600, final=0.1), range(1001))
    assert max(range(1001), key=slow.__getitem__) == 600
    assert (slow[300], slow[600], slow[1000]) == pytest.approx((0.5, 1, 0.1))
    assert slow[800] < 0.2, "it falls faster than it rose"


# --- streams --------------------------------------------------------------------------------------


def in_task(schedule: Schedule, task: int, t: int) -> float:
    return schedule(
        Progress(step=1000 * task + t, horizon=5000, task_index=task, task_step=t, task_horizon=1000),
    )


def test_rewarming_begins_anew_with_every_task() -> None:
    schedule, wanted = partial(rewarm, warmup=100, final=0.1), ROWS["cosine to 0.1, W=100"][1]
    for task in range(3):
        assert [in_task(schedule, task, t) for t in STEPS] == pytest.approx(wanted, abs=1e-6)


def test_the_infinite_schedule_does_not_rewarm() -> None:
    assert [in_task(_INFINITE, 0, t) for t in STEPS] == pytest.approx(ROWS["infinite"][1], abs=1e-6)
    wanted = (0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.0707107, 0.010399, 0.01)
    for task in (1, 2):
        assert [in_task(_INFINITE, task, t) for t in STEPS] == pytest.approx(wanted, abs=1e-6)


def test_a_reused_model_goes_on_where_the_first_task_ended() -> None:
    schedule = partial(reuse_dont_retrain, warmup=100, final=0.1, floor=0.05)
    assert [in_task(schedule, 0, t) for t in STEPS] == pytest.approx(ROWS["cosine to 0.1, W=100"][1], abs=1e-6)
    later = [in_task(schedule, 1, t) for t in (0, 500, 1000)]
    assert later == pytest.approx([0.1, 0.1 * 0.525, 0.005])


@pytest.mark.parametrize("schedule", [rewarm, reuse_dont_retrain])
def test_without_tasks_the_run_is_one(schedule: Callable[..., float]) -> None:
    found = values(partial(schedule, warmup=100, final=0.1), STEPS)
    assert found == values(partial(cosine, warmup=100, final=0.1), STEPS)


def test_one_cycle_says_momentum_and_no_weight_decay() -> None:
    found = one_cycle(Progress(step=0, horizon=10))
    assert isinstance(found, Factors)
    assert found.momentum == 0.95
    assert found.weight_decay is None
