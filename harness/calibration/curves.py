"""Computes best values, the examples and seconds up to a value, and the resolution from the curves of runs."""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Sequence

import msgspec

from harness.contract.record import Record
from harness.contract.workload import Target


def value_reached(
    records: Sequence[Record], target: Target, seed_fraction: float, examples: float, stage: int | None = None
) -> float | None:
    """Return the best value that a given fraction of the runs reach within a number of examples.

    Args:
        records: runs of one setting on several seeds.
        target: target that gives the metric and its direction.
        seed_fraction: fraction of the runs that must reach the value.
        examples: largest number of examples drawn.
        stage: index of the stage whose evaluations count; None for all evaluations.

    Returns:
        The value; None if too few runs have an evaluation.
    """
    best_values = [best_value(record, target, examples, stage) for record in records]
    return value_at_fraction([value for value in best_values if value is not None], target, seed_fraction, len(records))


def value_at_fraction(values: Sequence[float], target: Target, fraction: float, n: int) -> float | None:
    """Return the best value that a given fraction of `n` runs reach; None if there are too few values.

    Args:
        values: best values of the runs. Runs without a best value are absent, so there are at most `n` values.
        target: target that gives the direction of the metric.
        fraction: fraction of the runs that must reach the value.
        n: number of runs.
    """
    required = math.ceil(fraction * n - 1e-9)
    ordered = sorted(values, reverse=target.goal == "max")
    return ordered[required - 1] if len(ordered) >= required else None


def best_value(record: Record, target: Target, examples: float, stage: int | None = None) -> float | None:
    """Return the best value of a run, or of a stage, within a number of examples; None if there is no evaluation."""
    points = running_best(record, target, examples, stage)
    return points[-1][1] if points else None


def round_to_easier_side(value: float, target: Target, digits: int = 3) -> float:
    """Round a value to a number of significant digits, in the direction of the easier target.

    >>> round_to_easier_side(1.1063, Target(metric="loss", goal="min", value=2.0))
    1.11
    """
    if value == 0:
        return 0.0
    unit = 10.0 ** (math.floor(math.log10(abs(value))) + 1 - digits)
    scaled = value / unit
    rounded = math.ceil(scaled - 1e-9) if target.goal == "min" else math.floor(scaled + 1e-9)
    return float(f"{rounded * unit:.{digits}g}")


def loosen_value(value: float, target: Target, factor: float) -> float:
    """Return a value whose error is multiplied by a factor, rounded in the direction of the easier target.

    The error of a metric to be minimised is the metric itself. The error of a metric to be maximised, which must be a
    fraction, is 1 minus the metric.

    >>> loosen_value(0.9, Target(metric="accuracy", goal="max", value=0.5), 2.0)
    0.8
    """
    return round_to_easier_side(1 - factor * (1 - value) if target.goal == "max" else factor * value, target)


def when_reached(record: Record, target: Target, value: float, limit: float) -> tuple[int, float] | None:
    """Return examples and scored seconds at the first evaluation that reaches a value; None if no evaluation does.

    Args:
        record: record of the run.
        target: target that gives the metric and its direction.
        value: the value to reach.
        limit: largest number of examples drawn.
    """
    for point in record.points[1:]:
        if point.examples > limit:
            return None
        measured = None if point.screened else point.metrics.get(target.metric)
        if measured is not None and not target.better(value, measured):
            return point.examples, point.scored(record.spec.clock)
    return None


def running_best(record: Record, target: Target, limit: float, stage: int | None = None) -> list[tuple[int, float]]:
    """Return (examples, best value so far) at every evaluation within a limit of examples.

    The evaluation of the untrained model and screened evaluations are left out. If a stage is given, only evaluations
    of this stage are used.
    """
    curve: list[tuple[int, float]] = []
    for point in record.points[1:]:
        value = None if point.screened else point.metrics.get(target.metric)
        if point.examples > limit or value is None or stage not in (None, point.stage):
            continue
        best = value if not curve or target.better(value, curve[-1][1]) else curve[-1][1]
        curve.append((point.examples, best))
    return curve


def resolution(records: Sequence[Record], target: Target, value: float) -> float | None:
    """Return the resolution at a value: the effect of one standard error of the metric on the examples needed.

    A run first reaches an easier value, which differs from the given value by one standard error. Its resolution is
    (examples from the easier value to the given value) / (examples from the start to the given value). The result is
    the median over runs.

    Args:
        records: runs of one setting on several seeds.
        target: target that gives the metric and its direction.
        value: the value to reach.

    Returns:
        The resolution; None if the workload does not report its standard error (`se`) or no run reaches the value.
    """
    fractions = []
    for record in records:
        span = span_of_error(record, msgspec.structs.replace(target, value=value))
        if span is not None and span[1] > 0 and metric_errors(record, target):
            fractions.append((span[1] - span[0]) / span[1])
    return float(f"{statistics.median(fractions):.2g}") if fractions else None


def span_of_error(record: Record, target: Target, stage: int | None = None) -> tuple[float, float] | None:
    """Return the examples at which a run reaches an easier value, and those at which it reaches its target.

    The easier value differs from the target by one standard error: the median of the last five errors that the run
    reports, or 0 if it reports none. The result is None if the run does not reach the target.
    """
    errors = metric_errors(record, target, stage)
    error = statistics.median(errors[-5:]) if errors else 0.0
    curve = running_best(record, target, math.inf, stage)
    hit = crossing_examples(curve, target, target.value)
    earlier = crossing_examples(curve, target, target.value + error if target.goal == "min" else target.value - error)
    return None if earlier is None or hit is None else (earlier, hit)


def metric_errors(record: Record, target: Target, stage: int | None = None) -> list[float]:
    """Return the standard errors of a metric at the evaluations.

    A workload reports them as the metric `se`, or as `se/<k>` if the name of the metric is `<name>/<k>`.
    """
    _, slash, task = target.metric.partition("/")
    name = f"se{slash}{task}"
    return [p.metrics[name] for p in record.points[1:] if name in p.metrics and stage in (None, p.stage)]


def crossing_examples(curve: Sequence[tuple[int, float]], target: Target, value: float) -> float | None:
    """Return the examples at which a monotone curve reaches a value; None if the curve does not reach the value.

    The curve is interpolated linearly between evaluations.
    """
    if curve and not target.better(value, curve[0][1]):
        return float(curve[0][0])
    for (n_0, v_0), (n_1, v_1) in itertools.pairwise(curve):
        if not target.better(value, v_1):
            return n_0 + (n_1 - n_0) * (v_0 - value) / (v_0 - v_1) if v_0 != v_1 else float(n_1)
    return None
