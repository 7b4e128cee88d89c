"""What `bench show schedule:NAME --json` says against the papers' formulas, written out here apart from the code.

Every formula is a function of t, T and the hyperparameters by the names that a user sets; none is shared with
`submissions/schedules`, so that a slip in either shows.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

import pytest

from harness import cli

AT = (0, 1, 50, 99, 100, 101, 137, 250, 333, 500, 501, 650, 720, 749, 750, 800, 850, 899, 900, 950, 999, 1000)
Formula = Callable[..., float]


def shown(capsys: pytest.CaptureFixture[str], name: str, horizon: int, **hparams: Any) -> dict[int, dict[str, float]]:
    """Update -> the row that `bench show` prints for it."""
    given = [f for key, value in hparams.items() for f in ("--set", f"{key}={value}")]
    steps = ",".join(str(t) for t in AT)
    code = cli.invoke(["show", name, "--json", "--horizon", str(horizon), "--at", steps, *given])
    out, err = capsys.readouterr()
    assert code == 0, err
    return {row["step"]: row for row in json.loads(out)["schedule"]}


def decaying(f: Formula) -> Formula:
    """t/W, then `f` of the share of the decay that is over, from 1 to `final`; held from T on."""

    def factor(t: int, T: int, warmup: float = 0, final: float = 0.0, **rest: Any) -> float:
        if t < warmup:
            return t / warmup
        x = min(1.0, (t - warmup) / (T - warmup))
        return f(x, final, **rest)

    return factor


def cosine(x: float, final: float) -> float:
    return final + 0.5 * (1 - final) * (1 + math.cos(math.pi * x))


def linear(x: float, final: float) -> float:
    return 1 - (1 - final) * x


def rex(x: float, final: float) -> float:
    z = 1 - x
    return final + (1 - final) * z / (0.5 + 0.5 * z)


def uba(x: float, final: float, phi: float = 1.0) -> float:
    """(η_max − η_min)·2(1 + cos πx)/(2φ + (2 − φ)(1 + cos πx)) + η_min."""
    if x == 1:
        return final
    c = 1 + math.cos(math.pi * x)
    return (1 - final) * 2 * c / (2 * phi + (2 - phi) * c) + final


def cosine_power(x: float, final: float, p: float = 10.0) -> float:
    c = (1 + math.cos(math.pi * x)) / 2
    if p == 1:
        return final + (1 - final) * c
    return final + (1 - final) * (math.pow(p, c + 1) - p) / (p * p - p)


def slow_fast(x: float, final: float, rate: float = 5.0) -> float:
    low = math.exp(-rate)
    return final + (1 - final) * (math.exp(-rate * x) - low) / (1 - low)


COOLDOWNS: dict[str, Callable[[float, float], float]] = {
    "1-sqrt": lambda x, f: f + (1 - f) * (1 - x**0.5),
    "linear": lambda x, f: f + (1 - f) * (1 - x),
    "cosine": cosine,
    "square": lambda x, f: f + (1 - f) * (1 - x**2),
    "exp": lambda x, f: f**x,
    "inv": lambda x, f: 1 / (x / f + (1 - x)),
}


def wsd(
    t: int, T: int, warmup: float = 0, decay: float = 0.2, final: float = 0.0, shape: str = "1-sqrt", **r: Any
) -> float:
    D = decay * T if decay < 1 else decay
    if t < warmup:
        return t / warmup
    if t <= T - D:
        return 1.0
    since = min(t, T) - (T - D)
    if shape == "half-life":
        half: float = r["half_life"]
        return max(final, math.pow(0.5, since / half))
    return COOLDOWNS[shape](since / D, final)


def wsdc(t: int, T: int, tail: float = 0.1, **rest: Any) -> float:
    end = T - (tail * T if tail < 1 else tail)
    decay = rest.pop("decay", 0.2)
    return wsd(min(t, round(end)), round(end), decay=decay * T if decay < 1 else decay, **rest)


def ends_of(T: int, cycles: int, ratio: float) -> list[float]:
    if ratio == 1:
        return [T * (k + 1) / cycles for k in range(cycles)]
    return [T / ratio**k for k in range(cycles - 1, -1, -1)]


def cycle_of(t: int, T: int, cycles: int, ratio: float) -> tuple[float, float]:
    begin = 0.0
    for end in ends_of(T, cycles, ratio):
        if t < end or end == T:
            return begin, end
        begin = end
    raise AssertionError


def wsd_s(
    t: int, T: int, warmup: float = 0, decay: float = 0.1, final: float = 0.1, cycles: int = 3, ratio: float = 2.0
) -> float:
    if t < warmup:
        return t / warmup
    begin, end = cycle_of(min(t, T), T, cycles, ratio)
    D = decay * (end - begin) if decay < 1 else min(decay, end - begin)
    x = (min(t, T) - (end - D)) / D
    return 1.0 if x <= 0 else 1 / (x / final + 1 - x)


def cyclic_cosine(t: int, T: int, warmup: float = 0, final: float = 0.0, cycles: int = 3, ratio: float = 2.0) -> float:
    if t < warmup:
        return t / warmup
    begin, end = cycle_of(min(t, T), T, cycles, ratio)
    begin = max(begin, warmup)
    return cosine((min(t, T) - begin) / (end - begin), final)


def multiplicative(
    t: int,
    T: int,
    warmup: float = 0,
    period: float = 1 / 15,
    growth: float = 2.0,
    final: float = 0.0,
    shape: str = "cosine",
) -> float:
    if t < warmup:
        return t / warmup
    begin, length = 0.0, period * T if period < 1 else period
    t = min(t, T)
    while t >= begin + length - 1e-9 and not (t == T and abs(begin + length - T) < 1e-6):
        begin, length = begin + length, length * growth
    x = (t - begin) / length
    return cosine(x, final) if shape == "cosine" else linear(x, final)


def infinite(
    t: int,
    T: int,
    warmup: float = 0,
    cooldown: float = 0.1,
    constant: float = 0.5,
    decay: float = 0.2,
    final: float = 0.01,
    shape: str = "cosine",
) -> float:
    C, D = (v * T if v < 1 else v for v in (cooldown, decay))
    if t > T - D:
        return float(constant * (final / constant) ** ((min(t, T) - (T - D)) / D))
    if t < warmup:
        return t / warmup
    if t >= warmup + C:
        return constant
    x = (t - warmup) / C
    if shape == "cosine":
        return constant + 0.5 * (1 - constant) * (1 + math.cos(math.pi * x))
    if shape == "linear":
        return 1 + (constant - 1) * x
    h = [1 / math.sqrt(1 + 10 * y) - 1 for y in (x, 1.0)]
    return 1 + (constant - 1) / h[1] * h[0]


def clr(
    t: int,
    T: int,
    base: float = 0.1667,
    step_size: float = 0.125,
    shape: str = "triangular",
    gamma: float = 0.99994,
) -> float:
    s, t = step_size * T if step_size < 1 else step_size, min(t, T)
    number = math.floor(1 + t / (2 * s))
    x = abs(t / s - 2 * number + 1)
    k = {"triangular": 1.0, "triangular2": math.pow(2, 1 - number), "exp_range": math.pow(gamma, t)}[shape]
    return base + (1 - base) * max(0.0, 1 - x) * k


def step(t: int, T: int, warmup: float = 0, gamma: float = 0.1) -> float:
    if t < warmup:
        return t / warmup
    return float(gamma ** sum(t >= share * T / 100 for share in (30, 60, 90)))


def inverse_sqrt(t: int, T: int, warmup: int = 0) -> float:
    W = max(1, warmup)
    return (t + 1) / W if t + 1 <= W else math.sqrt(W / (t + 1))


def constant(t: int, T: int, warmup: int = 0) -> float:
    return t / warmup if t < warmup else 1.0


def large_then_decay(t: int, T: int, warmup: float = 0, decay: float = 0.3, final: float = 0.0) -> float:
    if t < warmup:
        return t / warmup
    return 1.0 if t < T - (decay * T if decay < 1 else decay) else final


def power(t: int, T: int, warmup: float = 0, decay: float = 0.0, final: float = 0.0, **r: Any) -> float:
    """min(η_max, β·a·n^b)/η_max with 256 examples of 4,096 tokens; the decay is A·e^(−x) + B, from 1 to `final`."""
    a, b, cap = r.get("a", 4.6), r.get("b", -0.51), r.get("cap", 0.02)
    D, t = decay * T if decay < 1 else decay, min(t, T)

    def rate(u: float) -> float:
        return 1.0 if u == 0 else min(cap, 256 * a * (u * 256 * 4096) ** b) / cap

    if t < warmup:
        return t / warmup * rate(warmup)
    if t <= T - D:
        return rate(t)
    A, B = (1 - final) * math.e / (math.e - 1), (final * math.e - 1) / (math.e - 1)
    return rate(T - D) * (A * math.exp(-(t - (T - D)) / D) + B)


def swa(t: int, T: int, warmup: float = 0, swa_start: float = 0.75, swa_final: float = 0.5) -> float:
    if t < warmup:
        return t / warmup
    x = t / (swa_start * T if swa_start < 1 else swa_start)
    return 1.0 if x <= 0.5 else swa_final if x >= 0.9 else 1 - (1 - swa_final) * (x - 0.5) / 0.4


CASES: dict[str, tuple[Formula, list[dict[str, Any]]]] = {
    "constant": (constant, [{}, {"warmup": 100}]),
    "inverse-sqrt": (inverse_sqrt, [{}, {"warmup": 1}, {"warmup": 100}, {"warmup": 333}]),
    "cosine": (decaying(cosine), [{}, {"warmup": 100}, {"warmup": 37, "final": 0.25}, {"final": 1}]),
    "linear": (decaying(linear), [{}, {"warmup": 100}, {"warmup": 100, "final": 0.1}, {"warmup": 999}]),
    "rex": (decaying(rex), [{}, {"warmup": 100}, {"warmup": 250, "final": 0.05}]),
    "uba": (
        decaying(uba),
        [{"phi": phi, **more} for phi in (0, 0.1, 0.7, 1, 2, 5, 20) for more in ({}, {"warmup": 100, "final": 0.1})],
    ),
    "cosine-power": (
        decaying(cosine_power),
        [{}, {"p": 1}, {"p": 2, "warmup": 100}, {"p": 10, "final": 0.001}, {"p": 1000, "warmup": 50, "final": 0.1}],
    ),
    "slow-start-fast-decay": (decaying(slow_fast), [{}, {"warmup": 400}, {"warmup": 100, "final": 0.1, "rate": 2}]),
    "wsd": (
        wsd,
        [
            *({"warmup": 100, "decay": 200, "final": f, "shape": s} for s in COOLDOWNS for f in (0.1, 0.03)),
            *({"warmup": 100, "decay": 500, "shape": s} for s in ("1-sqrt", "linear", "cosine", "square")),
            {},
            {"warmup": 0, "decay": 1000},
            {"warmup": 100, "decay": 900, "shape": "linear"},
            {"warmup": 100, "decay": 350, "shape": "half-life", "half_life": 70},
            {"decay": 500, "shape": "half-life", "half_life": 50, "final": 0.1},
        ],
    ),
    "wsdc": (
        wsdc,
        [
            {},
            {"warmup": 100, "final": 0.1},
            {"warmup": 100, "decay": 300, "tail": 150, "final": 0.1, "shape": "linear"},
            {"warmup": 100, "decay": 250, "tail": 250, "final": 0.2, "shape": "exp"},
        ],
    ),
    "wsd-s": (
        wsd_s,
        [
            {},
            {"warmup": 100},
            {"warmup": 100, "decay": 0.25, "final": 0.01},
            {"warmup": 100, "decay": 50},
            {"decay": 0.2, "cycles": 4, "ratio": 1},
            {"decay": 0.2, "cycles": 2, "ratio": 3},
        ],
    ),
    "cyclic-cosine": (
        cyclic_cosine,
        [{}, {"warmup": 100, "final": 0.1}, {"cycles": 4, "ratio": 1}, {"cycles": 2, "ratio": 4, "warmup": 300}],
    ),
    "multiplicative-cyclic": (
        multiplicative,
        [
            {},
            {"period": 100},
            {"period": 100, "shape": "linear"},
            {"period": 100, "growth": 1, "final": 0.1},
            {"period": 40, "growth": 3, "warmup": 20},
        ],
    ),
    "infinite": (
        infinite,
        [
            {},
            {"warmup": 100},
            *(
                {"warmup": 100, "cooldown": 300, "constant": 0.4, "decay": 250, "final": 0.02, "shape": shape}
                for shape in ("cosine", "linear", "inverse-sqrt")
            ),
        ],
    ),
    "clr": (
        clr,
        [
            *({"base": 0.001, "step_size": 250, "shape": s} for s in ("triangular", "triangular2", "exp_range")),
            {"shape": "exp_range", "gamma": 0.999, "step_size": 73},
            {},
        ],
    ),
    "step": (step, [{}, {"warmup": 100}, {"gamma": 0.5, "warmup": 350}]),
    "large-then-decay": (large_then_decay, [{}, {"warmup": 100, "decay": 150, "final": 0.05}]),
    "power": (power, [{}, {"warmup": 100}, {"cap": 1, "decay": 200}, {"a": 1.5, "warmup": 50, "final": 0.1}]),
    "swa-lr": (swa, [{}, {"warmup": 100, "swa_start": 600, "swa_final": 0.2}]),
}


@pytest.mark.parametrize(
    ("name", "hparams"),
    [(name, hparams) for name, (_, several) in CASES.items() for hparams in several],
    ids=lambda value: value if isinstance(value, str) else ",".join(f"{k}={v}" for k, v in value.items()) or "bare",
)
@pytest.mark.parametrize("horizon", [1000, 750])
def test_a_bare_schedule_is_its_formula(
    capsys: pytest.CaptureFixture[str], name: str, hparams: dict[str, Any], horizon: int
) -> None:
    if horizon < sum(v for k, v in hparams.items() if k in ("warmup", "decay", "cooldown", "tail") and v >= 1):
        pytest.skip("too long for this horizon")
    formula = CASES[name][0]
    found = shown(capsys, f"schedule:{name}", horizon, **hparams)
    wanted = {t: formula(t, horizon, **hparams) for t in AT}
    assert {t: row["factor"] for t, row in found.items()} == pytest.approx(wanted, abs=1e-9)
