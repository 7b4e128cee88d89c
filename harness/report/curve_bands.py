"""Computes the median and the range of a metric over runs, at each number of examples.

Runs end at different numbers of examples. For example, a run that ended after 8,000 examples has no metric at 10,000
examples. Whether the median at 10,000 examples exists depends on the end of this run:

- The run reached the target. In the median, it counts as better than every run that has not reached the target.
- The run broke. In the median, it counts as worse than every other run.
- The run used its budget without reaching the target. Its place among the runs is unknown, so the median and the range
  end at 8,000 examples.

At each number of examples, the same number of runs counts, so the median does not jump when a run ends. The line of the
median ends where the middle run has reached the target or has broken. If it reached the target, the line ends at the
median of the examples to the target, which is also in the tables.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

from harness.contract.record import Status, is_broken
from harness.contract.workload import Goal
from harness.scoring.time_to_target import Floats

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Matrix: TypeAlias = NDArray[np.float64]

#: How a curve ends. `reached`: at the target. `broke`: training failed, or the run was rejected. `ended`: otherwise.
CurveEnd: TypeAlias = Literal["reached", "broke", "ended"]


@dataclass(frozen=True, slots=True, kw_only=True)
class EndedCurve:
    """The curve of a run, or of one stage of a run.

    Args:
        examples: number of examples at each evaluation, not descending.
        time: scored seconds at each evaluation.
        steps: number of updates at each evaluation.
        metric: metric at each evaluation; NaN where unknown.
        end: how the curve ends.
    """

    examples: Floats | Sequence[float]
    time: Floats | Sequence[float]
    steps: Floats | Sequence[float]
    metric: Floats | Sequence[float]
    end: CurveEnd


def end_of(status: Status) -> CurveEnd:
    """Return how the curve of a run with this final status ends."""
    if status == "reached":
        return "reached"
    return "broke" if is_broken(status) or status == "rejected" else "ended"


def curve_band(curves: Sequence[EndedCurve], goal: Goal, max_points: int) -> dict[str, Matrix]:
    """Return the median and the range of the metric over runs, by number of examples.

    The module's docstring explains the median. At each number of examples, the range extends over the last known
    metrics of the runs that have not broken before. Seconds and updates are sums. From each number of examples to the
    next, they increase by the median increase of the runs that continue. Tables compute scored seconds in the same way.

    Args:
        curves: one curve for each run. A run without an evaluation has an empty curve.
        goal: whether a small or a large metric is better.
        max_points: largest number of points.

    Returns:
        `examples`, `time` and `steps`; `mid`, the median, NaN where it is unknown; `low` and `high`, the range. Empty
        if there is no number of examples from which all curves are known, or one at which no metric is known.
    """
    import numpy as np

    known = [curve for curve in curves if len(curve.examples)]
    grid = _shared_examples(known, max_points)
    if not len(grid):
        return {}
    sign = 1.0 if goal == "min" else -1.0
    order_keys = np.full((len(curves), len(grid)), math.inf)  # A curve without an evaluation is the worst.
    last_metrics = np.full((len(known), len(grid)), math.nan)
    for row, curve in enumerate(known):
        examples = np.asarray(curve.examples, dtype=float)
        values = _fill_forward(sign * np.asarray(curve.metric, dtype=float))
        last_metrics[row] = values[np.searchsorted(examples, grid, side="right") - 1]
        key_after_end = -math.inf if curve.end == "reached" else math.inf
        order_keys[row] = np.where(grid > examples[-1], key_after_end, last_metrics[row])
        if curve.end == "broke":
            last_metrics[row, grid > examples[-1]] = math.nan
    if np.isnan(last_metrics).all(axis=0).any():
        return {}
    ends = sign * np.stack([np.nanmin(last_metrics, axis=0), np.nanmax(last_metrics, axis=0)])
    return {
        "examples": grid,
        "time": _median_progress(known, "time", grid),
        "steps": _median_progress(known, "steps", grid),
        "mid": sign * _middle(order_keys),
        "low": ends.min(axis=0),
        "high": ends.max(axis=0),
    }


def _shared_examples(curves: Sequence[EndedCurve], max_points: int) -> Matrix:
    """Return the numbers of examples at which the median may be known, at most `max_points`.

    They are the numbers of examples of all evaluations, from the latest beginning of a curve to the earliest end of a
    curve with the end `ended`.
    """
    import numpy as np

    if not curves:
        return np.empty(0)
    start = max(curve.examples[0] for curve in curves)
    stop = min((curve.examples[-1] for curve in curves if curve.end == "ended"), default=math.inf)
    grid = np.unique(np.concatenate([np.asarray(curve.examples, dtype=float) for curve in curves]))
    grid = grid[(grid >= start) & (grid <= stop)]
    if len(grid) > max_points:
        grid = grid[np.linspace(0, len(grid) - 1, max_points).round().astype(int)]
    return grid


def _fill_forward(values: Matrix) -> Matrix:
    """Replace each value that is not finite by the last finite value before it; NaN if there is none."""
    import numpy as np

    last = np.maximum.accumulate(np.where(np.isfinite(values), np.arange(len(values)), -1))
    return np.where(last >= 0, values[last], math.nan)


def _middle(rows: Matrix) -> Matrix:
    """Return the median of each column; NaN if the median is not finite, or if any value is NaN."""
    import numpy as np

    ordered, count = np.sort(rows, axis=0), len(rows)
    lower, upper = ordered[(count - 1) // 2], ordered[count // 2]
    is_known = np.isfinite(lower) & np.isfinite(upper) & ~np.isnan(rows).any(axis=0)
    return np.where(is_known, np.where(is_known, lower, 0.0) / 2 + np.where(is_known, upper, 0.0) / 2, math.nan)


def _median_progress(curves: Sequence[EndedCurve], name: Literal["time", "steps"], grid: Matrix) -> Matrix:
    """Return the seconds (`time`) or updates (`steps`) at each number of examples, as sums of median increases."""
    import numpy as np

    amounts = np.full((len(curves), len(grid)), math.nan)
    for row, curve in enumerate(curves):
        examples = np.asarray(curve.examples, dtype=float)
        values = np.interp(grid, examples, np.asarray(getattr(curve, name), dtype=float))
        amounts[row] = np.where(grid <= examples[-1], values, math.nan)
    increases = np.concatenate([amounts[:, :1], np.diff(amounts, axis=1)], axis=1)
    return np.cumsum(column_medians(increases))


def column_medians(rows: Matrix) -> Matrix:
    """Return the median of each column, ignoring NaNs. This is much faster than `numpy.nanmedian`.

    Each column must have a number that is not NaN.
    """
    import numpy as np

    ordered = np.sort(rows, axis=0)  # NaNs come last.
    counts = np.count_nonzero(~np.isnan(rows), axis=0)
    columns = np.arange(rows.shape[1])
    medians: Matrix = (ordered[(counts - 1) // 2, columns] + ordered[counts // 2, columns]) / 2
    return medians
