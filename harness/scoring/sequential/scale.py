"""Spread of the pairs before each pair: a robust scale for the next bet that does not depend on the centre.

Source: Robust Measures of Association and Dispersion, Shamos 1976 (median of the absolute pairwise differences)
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float64]

#: Median of |x − y| for two standard normal numbers, √2 · Φ⁻¹(3/4): the spread of normal numbers is their deviation.
NORMAL_MEDIAN_DISTANCE = 0.9538725524
#: Differences under which the spread is unknown.
MIN_FINITE = 2


def shamos_scale(values: ArrayLike) -> Floats:
    """Median of |x_i − x_j| over the pairs i < j of finite values, as a standard deviation of normal numbers.

    Infinite values are left out. Among the finite ones, up to 29 % may be wild before the spread is.

    Args:
        values: (..., n)

    Returns:
        (...): NaN under two finite values.

    >>> print(f"{shamos_scale([0.0, 1.0, 3.0, float('inf')]):.4f}")
    2.0967
    """
    return _median_distance(_distances(values)) / NORMAL_MEDIAN_DISTANCE


def past_scales(differences: ArrayLike) -> Floats:
    """The spread of all pairs before each pair: entry i is `shamos_scale` of the first i differences.

    It is known before pair i is run, and it is the same for every centre: `evidence` rests on both.

    Args:
        differences: (..., n)

    Returns:
        (..., n): NaN where fewer than two finite differences went before.

    >>> past_scales([0.0, 1.0, 3.0]).round(4).tolist()
    [nan, nan, 1.0484]
    """
    import numpy as np

    x = np.asarray(differences, dtype=float)
    distances = _distances(x)
    scales = np.full(x.shape, math.nan)
    for i in range(MIN_FINITE, x.shape[-1]):
        # The distances among the first i values come first.
        scales[..., i] = _median_distance(distances[..., : i * (i - 1) // 2]) / NORMAL_MEDIAN_DISTANCE
    return scales


def _distances(values: ArrayLike) -> Floats:
    """|x_i − x_j| in the order (1, 0), (2, 0), (2, 1), (3, 0), …: (..., n(n − 1)/2); NaN where either is infinite."""
    import numpy as np

    x = np.asarray(values, dtype=float)
    finite = np.where(np.isfinite(x), x, math.nan)
    i, j = np.tril_indices(x.shape[-1], -1)
    return np.asarray(np.abs(finite[..., i] - finite[..., j]))


def _median_distance(distances: Floats) -> Floats:
    """The median of those that are not NaN: (..., m) -> (...)."""
    import numpy as np

    missing = np.isnan(distances)
    if distances.shape[-1] and not missing.any():
        return np.asarray(np.median(distances, axis=-1))
    # NaN sorts behind everything; the median is taken over what is before it.
    ordered = np.concatenate([np.sort(distances, axis=-1), np.full((*distances.shape[:-1], 1), math.nan)], axis=-1)
    known = (~missing).sum(axis=-1)[..., None]
    ends = [np.take_along_axis(ordered, np.maximum(k, 0), axis=-1)[..., 0] for k in ((known - 1) // 2, known // 2)]
    return np.asarray(ends[0] + ends[1]) / 2
