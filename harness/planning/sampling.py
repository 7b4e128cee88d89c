"""Draw hyperparameter settings. Each search space has its own fixed quasi-random sequence of points.

Source: Halton, On the efficiency of certain quasi-random sequences of points, Numerische Mathematik 2 (1960);
scrambled as in Owen, A randomized Halton algorithm in R, arXiv 1706.02808 (scipy's implementation).
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from harness.contract.domains import Choice, Domain, Fixed, HParams, Integer, LogUniform, Scalar, Space

#: Seed of the scrambling. It never changes, so all users get the same points.
SEED = 2024
#: Ratio of consecutive learning rates under `tuning: rates`.
RATE_FACTOR = 3.0
#: Number of points that are drawn at once. The sequence of points does not depend on this number.
_CHUNK = 64


def draw_points(space: Space) -> Iterator[HParams]:
    """Yield an endless sequence of points of a search space. Points do not contain fixed hyperparameters.

    >>> from harness.contract.domains import Choice, Fixed, LogUniform
    >>> points = draw_points({"lr": LogUniform(1e-4, 1e-2), "shape": Choice(("linear", "cosine")), "eps": Fixed(1e-8)})
    >>> sorted(next(points))
    ['lr', 'shape']
    """
    searched = {name: domain for name, domain in sorted(space.items()) if not isinstance(domain, Fixed)}
    if not searched:
        while True:
            yield {}
    # Importing scipy takes half a second, and `bench list` and `bench --help` import this module.
    from scipy.stats import qmc

    sequence = qmc.Halton(len(searched), scramble=True, rng=SEED)
    while True:
        for row in sequence.random(_CHUNK):
            yield {name: value_at(domain, float(u)) for (name, domain), u in zip(searched.items(), row, strict=True)}


def value_at(domain: Domain, u: float) -> Scalar:
    """Return the value of a domain at the quantile `u` in [0, 1). Real values are rounded to six significant digits.

    For real values, `u` may also be 1.

    >>> value_at(LogUniform(1e-4, 1e-2), 0.5), value_at(Integer(1, 4), 0.99), value_at(Choice(("a", "b")), 0.5)
    (0.001, 4, 'b')
    """
    match domain:
        case Choice():
            return domain.values[int(u * len(domain.values))]
        case Fixed():
            return domain.default
        case Integer():
            return domain.low + int(u * (domain.high - domain.low + 1))
        case LogUniform():
            return round_to_six_digits(domain.low * math.exp(u * math.log(domain.high / domain.low)))
        case _:
            return round_to_six_digits(domain.low + u * (domain.high - domain.low))


def quantile_of(domain: Domain, value: Scalar) -> float:
    """Return the quantile of a value in a domain. For real values, this is the inverse of `value_at`.

    The quantile of a number below the range is less than 0, and that of a number above the range is more than 1. In a
    choice, the first value has the quantile 0, and the last value has the quantile 1.

    >>> quantile_of(LogUniform(1e-4, 1e-2), 0.001), quantile_of(Choice(("a", "b")), "b")
    (0.5, 1.0)
    """
    if isinstance(domain, Choice):
        return domain.values.index(value) / max(1, len(domain.values) - 1) if value in domain.values else 0.0
    if isinstance(domain, Fixed) or domain.low == domain.high:
        return 0.0
    if isinstance(domain, LogUniform):
        return round(math.log(max(float(value), 1e-300) / domain.low) / math.log(domain.high / domain.low), 12)
    return (float(value) - domain.low) / (domain.high - domain.low)


def learning_rates(default: float, n: int) -> tuple[float, ...]:
    """Return `n` learning rates with the default in the middle. Each is `RATE_FACTOR` times the previous rate.

    >>> learning_rates(0.3, 3)
    (0.1, 0.3, 0.9)
    """
    return tuple(round_to_six_digits(default * RATE_FACTOR ** (i - (n - 1) / 2)) for i in range(n))


def round_to_six_digits(value: float) -> float:
    """Return a number rounded to six significant digits."""
    return float(f"{value:.6g}")
