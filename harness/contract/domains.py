"""The domains of hyperparameters.

A domain contains a default, the values that a search may try, and the values that an override may have. An override is
a value that the user sets.
"""

from __future__ import annotations

import math
from typing import TypeAlias

import msgspec

Scalar: TypeAlias = bool | int | float | str
HParams: TypeAlias = dict[str, Scalar]


def _require_finite(*numbers: float | None) -> None:
    """Raise ValueError if a number is not finite. JSON, in which entries are sent, has only finite numbers."""
    for number in numbers:
        if isinstance(number, float) and not math.isfinite(number):
            raise ValueError(f"{number} is not a finite number; None stands for the default, or for no limit")


class LogUniform(msgspec.Struct, frozen=True, tag="log-uniform", forbid_unknown_fields=True):
    """A positive real number. Settings are drawn log-uniformly from [low, high].

    Args:
        low: lower end of the search range, > 0.
        high: upper end of the search range.
        default: value without tuning; None for the geometric mean of `low` and `high`.
        limits: inclusive lower and upper bounds on overrides. A bound that is None does not apply. If `limits` itself
            is None, an override may be any positive number.
    """

    low: float
    high: float
    default: float | None = None
    limits: tuple[float | None, float | None] | None = None

    def __post_init__(self) -> None:
        _require_finite(self.low, self.high, self.default, *(self.limits or ()))


class Uniform(msgspec.Struct, frozen=True, tag="uniform", forbid_unknown_fields=True):
    """A real number. Settings are drawn uniformly from [low, high].

    Args:
        low: lower end of the search range.
        high: upper end of the search range.
        default: value without tuning; None for the mean of `low` and `high`.
        limits: inclusive lower and upper bounds on overrides. A bound that is None does not apply. If `limits` itself
            is None, the bounds are `low` and `high`.
    """

    low: float
    high: float
    default: float | None = None
    limits: tuple[float | None, float | None] | None = None

    def __post_init__(self) -> None:
        _require_finite(self.low, self.high, self.default, *(self.limits or ()))


class Integer(msgspec.Struct, frozen=True, tag="integer", forbid_unknown_fields=True):
    """An integer. Settings are drawn uniformly from [low, high].

    Args:
        low: lower end of the search range.
        high: upper end of the search range.
        default: value without tuning; None for the mean of `low` and `high`, rounded down.
        limits: inclusive lower and upper bounds on overrides. A bound that is None does not apply. If `limits` itself
            is None, the bounds are `low` and `high`.
    """

    low: int
    high: int
    default: int | None = None
    limits: tuple[int | None, int | None] | None = None


class Choice(msgspec.Struct, frozen=True, tag="choice", forbid_unknown_fields=True):
    """One of a fixed list of values.

    Args:
        values: the values.
        default: value without tuning; None for the first value.
    """

    values: tuple[Scalar, ...]
    default: Scalar | None = None


class Fixed(msgspec.Struct, frozen=True, tag="fixed", forbid_unknown_fields=True):
    """A hyperparameter that is not tuned. A user can still override its default.

    Args:
        default: value without an override. The type of the default is the type of the hyperparameter.
        limits: inclusive lower and upper bounds on overrides of a number. A bound that is None does not apply. If
            `limits` itself is None, an override may be any finite number.
        values: values that an override may have; None for any value of the type of `default` within `limits`.
    """

    default: Scalar
    limits: tuple[float | None, float | None] | None = None
    values: tuple[Scalar, ...] | None = None


Domain: TypeAlias = LogUniform | Uniform | Integer | Choice | Fixed
Space: TypeAlias = dict[str, Domain]
