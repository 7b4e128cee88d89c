"""Computes a robust scale of the differences before each pair. The scale determines the bet on the pair.

The scale does not depend on the centre, because it is computed from distances between differences.

Source: Robust Measures of Association and Dispersion, Shamos 1976 (median of the absolute pairwise differences)
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float64]

#: Median of |x − y| for two independent standard normal variables: √2 · Φ⁻¹(3/4), where Φ is the normal distribution
#: function. Divided by this number, the median distance estimates the standard deviation of normal values.
NORMAL_MEDIAN_DISTANCE = 0.9538725524
#: Smallest number of finite differences for a scale.
MIN_FINITE = 2


def shamos_scale(values: ArrayLike) -> Floats:
    """Return the median of |x_i − x_j| over the pairs i < j of finite values, divided by `NORMAL_MEDIAN_DISTANCE`.

    For normal values, the result estimates the standard deviation. Infinite values are ignored. The estimate remains
    bounded if fewer than 29 % of the finite values are outliers.

    Args:
        values: array of shape (..., n).

    Returns:
        Array of shape (...); NaN if fewer than two values are finite.

    >>> print(f"{shamos_scale([0.0, 1.0, 3.0, float('inf')]):.4f}")
    2.0967
    """
    return _median_distance(_distances(values)) / NORMAL_MEDIAN_DISTANCE


def past_scales(differences: ArrayLike) -> Floats:
    """Return for each pair the scale of all pairs before it: element i is `shamos_scale` of the first i differences.

    The test in `evidence` is valid only if the scale for a pair is known before the pair is run, and is equal for every
    centre.

    Args:
        differences: array of shape (..., n).

    Returns:
        Array of shape (..., n); NaN if fewer than two previous differences are finite.

    >>> past_scales([0.0, 1.0, 3.0]).round(4).tolist()
    [nan, nan, 1.0484]
    """
    import numpy as np

    x = np.asarray(differences, dtype=float)
    distances = _distances(x)
    scales = np.full(x.shape, math.nan)
    for i in range(MIN_FINITE, x.shape[-1]):
        # The distances between the first i values are at the beginning of the array.
        scales[..., i] = _median_distance(distances[..., : i * (i - 1) // 2]) / NORMAL_MEDIAN_DISTANCE
    return scales


def _distances(values: ArrayLike) -> Floats:
    """Return |x_i − x_j| in the order (1, 0), (2, 0), (2, 1), (3, 0), …; NaN if x_i or x_j is infinite.

    The shape of the result is (..., n(n − 1)/2).
    """
    import numpy as np

    x = np.asarray(values, dtype=float)
    finite = np.where(np.isfinite(x), x, math.nan)
    i, j = np.tril_indices(x.shape[-1], -1)
    return np.asarray(np.abs(finite[..., i] - finite[..., j]))


def _median_distance(distances: Floats) -> Floats:
    """Return the median of the distances over the last axis, ignoring NaN."""
    import numpy as np

    missing = np.isnan(distances)
    if distances.shape[-1] and not missing.any():
        return np.asarray(np.median(distances, axis=-1))
    # NaN is sorted last, so the first `counts` elements of each row are the values that are not NaN.
    ordered = np.concatenate([np.sort(distances, axis=-1), np.full((*distances.shape[:-1], 1), math.nan)], axis=-1)
    counts = (~missing).sum(axis=-1)[..., None]
    middle = [np.take_along_axis(ordered, np.maximum(k, 0), axis=-1)[..., 0] for k in ((counts - 1) // 2, counts // 2)]
    return np.asarray(middle[0] + middle[1]) / 2
