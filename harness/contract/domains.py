"""Hyperparameters and the domains they are drawn from."""

from __future__ import annotations

from typing import TypeAlias

import msgspec

Scalar: TypeAlias = bool | int | float | str
HParams: TypeAlias = dict[str, Scalar]


class LogUniform(msgspec.Struct, frozen=True, tag="log-uniform", forbid_unknown_fields=True):
    """A positive real, searched log-uniformly in [low, high]; any value > 0 is valid by hand.

    Args:
        low: lower end of the search range, > 0.
        high: upper end of the search range.
        default: value used when nothing is tuned; the geometric middle when None.
        limits: hard bounds (inclusive, None for no bound) on values set by hand; any positive number when None.
    """

    low: float
    high: float
    default: float | None = None
    limits: tuple[float | None, float | None] | None = None


class Uniform(msgspec.Struct, frozen=True, tag="uniform", forbid_unknown_fields=True):
    """A real, searched uniformly in [low, high]; `limits` are the hard bounds, [low, high] itself when None."""

    low: float
    high: float
    default: float | None = None
    limits: tuple[float | None, float | None] | None = None


class Integer(msgspec.Struct, frozen=True, tag="integer", forbid_unknown_fields=True):
    """A whole number, searched uniformly in [low, high]; `limits` are the hard bounds, [low, high] itself when None."""

    low: int
    high: int
    default: int | None = None
    limits: tuple[int | None, int | None] | None = None


class Choice(msgspec.Struct, frozen=True, tag="choice", forbid_unknown_fields=True):
    """One of a fixed list of values; the first is the default unless named."""

    values: tuple[Scalar, ...]
    default: Scalar | None = None


class Fixed(msgspec.Struct, frozen=True, tag="fixed", forbid_unknown_fields=True):
    """A hyperparameter that is not tuned: its default, and the hard bounds for setting it by hand.

    A number without `limits` may take any value; a string or a boolean takes values of its own type, or only those
    of `values` where they are listed.
    """

    default: Scalar
    limits: tuple[float | None, float | None] | None = None
    values: tuple[Scalar, ...] | None = None


Domain: TypeAlias = LogUniform | Uniform | Integer | Choice | Fixed
Space: TypeAlias = dict[str, Domain]
