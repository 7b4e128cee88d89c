"""The evaluations of a run as columns. The times and each metric are read from the points only once."""

from __future__ import annotations

import math
from collections.abc import Sequence
from operator import itemgetter

from harness.contract.run import Clock, Point


class PointColumns:
    """The columns of the points of a run.

    Args:
        points: the points of the run.
    """

    __slots__ = ("_metrics", "_values", "points", "process_seconds", "seconds")

    def __init__(self, points: Sequence[Point]) -> None:
        self.points = points
        self.seconds = [point.seconds for point in points]
        self.process_seconds = [point.process_seconds for point in points]
        self._metrics = [point.metrics for point in points]
        self._values: dict[str, list[float]] = {}

    def scored(self, clock: Clock) -> list[float]:
        """Return the scored seconds of the points (see `Point.scored`)."""
        return self.process_seconds if clock == "process" else self.seconds

    def values(self, metric: str) -> list[float]:
        """Return the values of a metric; NaN for a point without the metric."""
        values = self._values.get(metric)
        if values is None:
            try:
                values = list(map(itemgetter(metric), self._metrics))
            except KeyError:
                values = [metrics.get(metric, math.nan) for metrics in self._metrics]
            self._values[metric] = values
        return values

    def values_of_stage(self, metric: str, stage: int) -> list[float]:
        """Return the values of a metric at the points of a stage; NaN for a point without the metric."""
        values, stages = self.values(metric), [point.stage for point in self.points]
        if stages.count(stage) == len(stages):
            return values
        return [value for value, at in zip(values, stages, strict=True) if at == stage]


def finite_values(values: Sequence[float]) -> Sequence[float]:
    """Return the finite values. A sequence of finite values is not copied."""
    # A sum is finite only if all of its terms are finite.
    return values if math.isfinite(sum(values)) else [value for value in values if math.isfinite(value)]
