"""Computes the median and the range of curves over runs that end at different times.

The median at a number of examples is the median over all runs, ended ones included. The metric of an ended run is
unknown, but its place in the order is often known:

- A run that reached the target counts as better than every run that has not reached it.
- A run that broke counts as worse than every other run.

The median therefore never changes because the number of runs changes. Where the middle run has reached the target or
has broken, the median is unknown and its line ends. If the middle run reached the target, the line ends at the median
of the examples to the target, which is the median in the tables. If a run used its budget without reaching the target,
its place in the order is unknown, and the median and the range end there.
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

#: How a curve ends: at the target, because training failed, or without either.
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

    The median is explained in the module's docstring. The range is that of the last known metrics of the runs that have
    not broken. Between two numbers of examples, seconds and updates increase by the median increase of the runs that
    continue. This is how scored seconds are computed from the costs of intervals.

    Args:
        curves: one curve for each run. A run without an evaluation has an empty curve.
        goal: whether a small or a large metric is better.
        max_points: largest number of points.

    Returns:
        `examples`, `time` and `steps`; `mid`, the median, NaN where it is unknown; `low` and `high`, the range. Empty
        if there is no number of examples at which all curves are known.
    """
    import numpy as np

    known = [curve for curve in curves if len(curve.examples)]
    grid = _shared_examples(known, max_points)
    if not len(grid):
        return {}
    sign = 1.0 if goal == "min" else -1.0
    ordered = np.full((len(curves), len(grid)), math.inf)  # A curve without an evaluation is the worst.
    last = np.full((len(known), len(grid)), math.nan)
    for row, curve in enumerate(known):
        examples = np.asarray(curve.examples, dtype=float)
        values = _fill_forward(sign * np.asarray(curve.metric, dtype=float))
        last[row] = values[np.searchsorted(examples, grid, side="right") - 1]
        ended = -math.inf if curve.end == "reached" else math.inf
        ordered[row] = np.where(grid > examples[-1], ended, last[row])
        if curve.end == "broke":
            last[row, grid > examples[-1]] = math.nan
    if np.isnan(last).all(axis=0).any():
        return {}
    ends = sign * np.stack([np.nanmin(last, axis=0), np.nanmax(last, axis=0)])
    return {
        "examples": grid,
        "time": _median_progress(known, "time", grid),
        "steps": _median_progress(known, "steps", grid),
        "mid": sign * _middle(ordered),
        "low": ends.min(axis=0),
        "high": ends.max(axis=0),
    }


def _shared_examples(curves: Sequence[EndedCurve], max_points: int) -> Matrix:
    """Return the numbers of examples of all evaluations, from where every curve has begun to where one ends unknown."""
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
    """Return the values with each value that is not finite replaced by the last finite one; NaN if there is none."""
    import numpy as np

    last = np.maximum.accumulate(np.where(np.isfinite(values), np.arange(len(values)), -1))
    return np.where(last >= 0, values[last], math.nan)


def _middle(rows: Matrix) -> Matrix:
    """Return the median of each column; NaN if a middle value is not finite, or if a value is NaN."""
    import numpy as np

    ordered, count = np.sort(rows, axis=0), len(rows)
    lower, upper = ordered[(count - 1) // 2], ordered[count // 2]
    is_known = np.isfinite(lower) & np.isfinite(upper) & ~np.isnan(rows).any(axis=0)
    return np.where(is_known, np.where(is_known, lower, 0.0) / 2 + np.where(is_known, upper, 0.0) / 2, math.nan)


def _median_progress(curves: Sequence[EndedCurve], name: Literal["time", "steps"], grid: Matrix) -> Matrix:
    """Return the sums of the median increases of an amount between the numbers of examples."""
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
