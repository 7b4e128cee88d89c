"""Expand a grid: hyperparameters with several values each, to one setting per combination of values."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import TypeAlias

from harness.contract.domains import Scalar
from harness.errors import UsageError

#: A value that a user sets, or the values of a grid.
Override: TypeAlias = Scalar | Sequence[Scalar]


def expand_grid(overrides: Mapping[str, Override]) -> list[dict[str, Scalar]]:
    """Return every combination of the values; the last hyperparameter varies fastest.

    Args:
        overrides: by name of the hyperparameter one value, or a sequence of values. Text is one value.

    Raises:
        UsageError: a hyperparameter has no value, or one value twice.

    >>> expand_grid({"lr": [0.001, 0.003], "beta2": 0.95})
    [{'lr': 0.001, 'beta2': 0.95}, {'lr': 0.003, 'beta2': 0.95}]
    """
    lists = {
        name: (values,) if isinstance(values, str | bool | int | float) else tuple(values)
        for name, values in overrides.items()
    }
    for name, values in lists.items():
        if not values:
            raise UsageError(f"{name} has an empty list of values", fix=f"give at least one value, or leave out {name}")
        for earlier, later in itertools.combinations(values, 2):
            if _comparable(earlier) == _comparable(later):
                both = f"{earlier} and {later}"
                raise UsageError(
                    f"the grid {name}={','.join(map(str, values))}: {both} are equal", fix="keep one of them"
                )
    return [dict(zip(lists, point, strict=True)) for point in itertools.product(*lists.values())]


def name_point(point: Mapping[str, Scalar]) -> str:
    """Return a point of a grid in words.

    >>> name_point({"lr": 0.001, "shape": "linear"})
    'lr=0.001 shape=linear'
    """
    return " ".join(f"{name}={value}" for name, value in point.items())


def _comparable(value: Scalar) -> float | str | bool:
    """Return a number for a number and its text, so that `1e-3` equals `0.001`; other values themselves."""
    if isinstance(value, bool):
        return str(value).lower()
    try:
        return float(value)
    except ValueError:
        return str(value).lower()
