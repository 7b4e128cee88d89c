"""Expand a grid, which has several values of some hyperparameters, to one setting for each combination of values."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import TypeAlias

from harness.contract.domains import Scalar
from harness.contract.limits import check_number_of_trials
from harness.errors import UsageError

#: One value of a hyperparameter, or several values for a grid.
Override: TypeAlias = Scalar | Sequence[Scalar]


def expand_grid(overrides: Mapping[str, Override]) -> list[dict[str, Scalar]]:
    """Return every combination of the values. The last hyperparameter varies fastest.

    Args:
        overrides: one value or a sequence of values, by name of the hyperparameter. A string is one value.

    Raises:
        UsageError: there are too many combinations, or a hyperparameter has no value or two equal values.

    >>> expand_grid({"lr": [0.001, 0.003], "beta2": 0.95})
    [{'lr': 0.001, 'beta2': 0.95}, {'lr': 0.003, 'beta2': 0.95}]
    """
    values_by_name = {
        name: (values,) if isinstance(values, str | bool | int | float) else tuple(values)
        for name, values in overrides.items()
    }
    check_number_of_trials(math.prod(map(len, values_by_name.values())))
    for name, values in values_by_name.items():
        if not values:
            raise UsageError(f"{name} has an empty list of values", fix=f"give at least one value, or leave out {name}")
        for first, second in itertools.combinations(values, 2):
            if _normalize(first) == _normalize(second):
                equal = f"{first} and {second}"
                raise UsageError(
                    f"the grid {name}={','.join(map(str, values))}: {equal} are equal",
                    fix="keep only one of these values",
                )
    return [dict(zip(values_by_name, point, strict=True)) for point in itertools.product(*values_by_name.values())]


def name_point(point: Mapping[str, Scalar]) -> str:
    """Return the values of one point of a grid as text.

    >>> name_point({"lr": 0.001, "shape": "linear"})
    'lr=0.001 shape=linear'
    """
    return " ".join(f"{name}={value}" for name, value in point.items())


def _normalize(value: Scalar) -> float | str | bool:
    """Return a comparable form of a value. For example, the text `1e-3` and the number 0.001 have the same form."""
    if isinstance(value, bool):
        return str(value).lower()
    try:
        return float(value)
    except ValueError:
        return str(value).lower()
