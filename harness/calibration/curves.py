"""Best values, crossings and resolution on the curve of one run."""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Sequence

import msgspec

from harness.contract.record import Record
from harness.contract.workload import Target


def value_reached(
    fresh: Sequence[Record], target: Target, seeds_share: float, examples: float, stage: int | None = None
) -> float | None:
    """The best value that at least this share of the runs reach within so many examples; None if too few ran."""
    best = [best_value(record, target, examples, stage) for record in fresh]
    return value_at_fraction([value for value in best if value is not None], target, seeds_share, len(fresh))


def value_at_fraction(values: Sequence[float], target: Target, share: float, n: int) -> float | None:
    """The best value that at least this share of `n` runs are as good as; None if fewer ran."""
    needed = math.ceil(share * n - 1e-9)
    ordered = sorted(values, reverse=target.goal == "max")
    return ordered[needed - 1] if len(ordered) >= needed else None


def best_value(record: Record, target: Target, examples: float, stage: int | None = None) -> float | None:
    """The best value of a run within so many examples (of a stage); None without an evaluation."""
    points = running_best(record, target, examples, stage)
    return points[-1][1] if points else None


def round_to_easier_side(value: float, target: Target, digits: int = 3) -> float:
    """A value rounded to so many significant digits, never to the harder side.

    >>> easier(1.1063, Target(metric="loss", goal="min", value=2.0))
    1.11
    """
    if value == 0:
        return 0.0
    unit = 10.0 ** (math.floor(math.log10(abs(value))) + 1 - digits)
    scaled = value / unit
    rounded = math.ceil(scaled - 1e-9) if target.goal == "min" else math.floor(scaled + 1e-9)
    return float(f"{rounded * unit:.{digits}g}")


def cost_to_value(record: Record, target: Target, value: float, limit: float) -> tuple[int, float] | None:
    """Examples and scored seconds at the first evaluation within a limit that is as good as a value."""
    for point in record.points[1:]:
        if point.examples > limit:
            return None
        measured = point.metrics.get(target.metric)
        if measured is not None and not target.better(value, measured):
            return point.examples, point.scored(record.spec.clock)
    return None


def running_best(record: Record, target: Target, limit: float, stage: int | None = None) -> list[tuple[int, float]]:
    """(examples, best value so far) at every evaluation of a stage within a limit, the untrained model left out."""
    curve: list[tuple[int, float]] = []
    for point in record.points[1:]:
        value = point.metrics.get(target.metric)
        if point.examples > limit or value is None or stage not in (None, point.stage):
            continue
        best = value if not curve or target.better(value, curve[-1][1]) else curve[-1][1]
        curve.append((point.examples, best))
    return curve


def resolution(fresh: Sequence[Record], target: Target, value: float) -> float | None:
    """One standard error of the score metric, as a share of the examples to the target; the median over runs.

    The error is turned into examples by each run's own curve: those between the value and the value one standard
    error easier. Needs the workload to report `se` beside the metric.

    Args:
        fresh: the runs.
        target: the metric and its direction.
        value: that is to be met.
    """
    shares = []
    for record in fresh:
        met = span_of_error(record, msgspec.structs.replace(target, value=value))
        if met is not None and met[1] > 0 and metric_errors(record, target):
            shares.append((met[1] - met[0]) / met[1])
    return float(f"{statistics.median(shares):.2g}") if shares else None


def span_of_error(record: Record, target: Target, stage: int | None = None) -> tuple[float, float] | None:
    """Examples at which a run meets a value one standard error easier (exact where none is known), and the value."""
    errors = metric_errors(record, target, stage)
    error = statistics.median(errors[-5:]) if errors else 0.0
    curve = running_best(record, target, math.inf, stage)
    hit = crossing_examples(curve, target, target.value)
    earlier = crossing_examples(curve, target, target.value + error if target.goal == "min" else target.value - error)
    return None if earlier is None or hit is None else (earlier, hit)


def metric_errors(record: Record, target: Target, stage: int | None = None) -> list[float]:
    """The standard errors of a metric at the evaluations: `se`, or `se/<k>` of a metric `<name>/<k>`."""
    _, slash, task = target.metric.partition("/")
    name = f"se{slash}{task}"
    return [p.metrics[name] for p in record.points[1:] if name in p.metrics and stage in (None, p.stage)]


def crossing_examples(curve: Sequence[tuple[int, float]], target: Target, value: float) -> float | None:
    """Examples at which a monotone curve meets a value, linear between evaluations."""
    if curve and not target.better(value, curve[0][1]):
        return float(curve[0][0])
    for (n_0, v_0), (n_1, v_1) in itertools.pairwise(curve):
        if not target.better(value, v_1):
            return n_0 + (n_1 - n_0) * (v_0 - value) / (v_0 - v_1) if v_0 != v_1 else float(n_1)
    return None
