"""Hyperparameters and the domains they are drawn from."""

from __future__ import annotations

from typing import TypeAlias

import msgspec

Scalar: TypeAlias = bool | int | float | str
HParams: TypeAlias = dict[str, Scalar]


class LogUniform(msgspec.Struct, frozen=True, tag="log-uniform", forbid_unknown_fields=True):
    """A positive real, searched log-uniformly in [low, high]; an override may be any value > 0.

    Args:
        low: lower end of the search range, > 0.
        high: upper end of the search range.
        default: the value where nothing is tuned; the geometric mean of low and high when None.
        limits: bounds on overrides (inclusive, None for no bound); any positive number is allowed when None.
    """

    low: float
    high: float
    default: float | None = None
    limits: tuple[float | None, float | None] | None = None


class Uniform(msgspec.Struct, frozen=True, tag="uniform", forbid_unknown_fields=True):
    """A real, searched uniformly in [low, high]; `limits` are the bounds on overrides, [low, high] when None."""

    low: float
    high: float
    default: float | None = None
    limits: tuple[float | None, float | None] | None = None


class Integer(msgspec.Struct, frozen=True, tag="integer", forbid_unknown_fields=True):
    """An integer, searched uniformly in [low, high]; `limits` are the bounds on overrides, [low, high] when None."""

    low: int
    high: int
    default: int | None = None
    limits: tuple[int | None, int | None] | None = None


class Choice(msgspec.Struct, frozen=True, tag="choice", forbid_unknown_fields=True):
    """One of a fixed list of values; the first is the default where `default` is None."""

    values: tuple[Scalar, ...]
    default: Scalar | None = None


class Fixed(msgspec.Struct, frozen=True, tag="fixed", forbid_unknown_fields=True):
    """A hyperparameter that is not tuned: its default, and the bounds on overrides.

    Without `limits` a number may be overridden by any finite number. A string or a boolean may be overridden by a value
    of its type, or only by one of `values` where these are listed.
    """

    default: Scalar
    limits: tuple[float | None, float | None] | None = None
    values: tuple[Scalar, ...] | None = None


Domain: TypeAlias = LogUniform | Uniform | Integer | Choice | Fixed
Space: TypeAlias = dict[str, Domain]
