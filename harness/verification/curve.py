"""Check the points of a record by themselves: their order, their counters, their metrics and their evaluations."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import pairwise

from harness.contract.record import Record
from harness.contract.run import WHOLE_PURPOSES, Point, RunSpec

#: Metrics with these names are fractions. A name may be followed by `/` and a task.
_FRACTIONS = frozenset({"accuracy", "error_rate"})
#: Metrics with these names are never negative.
_NONNEGATIVE = frozenset({"cross_entropy", "perplexity", "se"})
#: The metric of a target is never negative either if the target's unit begins with one of these words.
_NONNEGATIVE_UNITS = ("nats", "bits")
#: Smallest number of seconds of a step. The fastest steps in published records take 700 times as long.
_MIN_STEP_S = 1e-6


def list_curve_problems(record: Record) -> list[str]:
    """Return a one-line message for each contradiction between the points, totals and specification of a record."""
    points = record.points
    if not points:
        must_have_points = record.status in ("reached", "exhausted", "pruned")
        return [f"a run that is {record.status} has no points"] if must_have_points else []
    problems = [*_first_point_problems(points[0]), *_counter_problems(record)]
    for index, (previous, point) in enumerate(pairwise(points), start=1):
        problems += (f"point {index}: {problem}" for problem in _interval_problems(record.spec, previous, point))
    for index, point in enumerate(points):
        problems += (f"point {index}: {problem}" for problem in _point_problems(record.spec, point))
    problems += [*_missing_metrics(record), *_screening_problems(record)]
    return problems


def _first_point_problems(point: Point) -> Iterator[str]:
    if point.examples or point.steps:
        yield f"the first point is not the untrained model: it is after {point.examples} examples, {point.steps} steps"


def _counter_problems(record: Record) -> Iterator[str]:
    totals, last = record.counters, record.points[-1]
    if not totals.steps and not totals.examples:
        return
    for name in ("examples", "gradient_examples", "steps", "seconds", "process_seconds"):
        total, value = getattr(totals, name), getattr(last, name)
        if total < value - 1e-6:
            yield f"the total of {name} is {total:g}, but the last point is at {value:g}"
    if record.status in ("reached", "exhausted", "pruned"):
        if (totals.examples, totals.steps) != (last.examples, last.steps):
            yield f"the totals are {totals.examples} examples, {totals.steps} steps; the last point differs"
        if totals.forward_examples < totals.gradient_examples:
            backward, forward = totals.gradient_examples, totals.forward_examples
            yield f"backward passes over {backward:,} examples, but forward passes over only {forward:,}"
        if record.spec.clock == "process" and last.process_seconds < last.steps * _MIN_STEP_S:
            yield f"{last.steps:,} steps took only {last.process_seconds:g} processor seconds"
        if totals.steps and not totals.forward_examples:
            yield f"{totals.steps:,} steps without a forward pass"


def _interval_problems(spec: RunSpec, previous: Point, point: Point) -> Iterator[str]:
    """Yield the contradictions between a point and the point before it."""
    for name in ("examples", "gradient_examples", "steps", "seconds", "process_seconds", "stage"):
        if getattr(point, name) < getattr(previous, name):
            yield f"{name} falls from {getattr(previous, name):g} to {getattr(point, name):g}"
    facts = spec.workload.facts
    steps, drawn = point.steps - previous.steps, point.examples - previous.examples
    gradient_examples = point.gradient_examples - previous.gradient_examples
    if not steps and (drawn or gradient_examples):
        yield f"{drawn} examples and {gradient_examples} gradient-examples without a step"
    # A submission may also draw examples in `eval_weights`, at most as many as in one step.
    if drawn > (steps + 1) * facts.eval_every:
        yield f"{drawn} examples in {steps} steps, but a step draws at most {facts.eval_every}"
    over_budget = point.gradient_examples >= facts.budget.gradient_examples
    if point.examples // facts.eval_every == previous.examples // facts.eval_every and not over_budget:
        yield f"an evaluation at {point.examples} examples, but evaluations are {facts.eval_every} examples apart"
    if drawn >= 3 * facts.eval_every:
        yield f"no evaluation between {previous.examples} and {point.examples} examples"
    if point.stage > previous.stage + 1 or (point.stage and point.stage >= len(facts.stages)):
        yield f"stage {point.stage} follows stage {previous.stage} of {len(facts.stages)} stages"
    if steps and point.seconds <= previous.seconds:
        yield f"{steps} steps took no time"
    elif point.seconds - previous.seconds < steps * _MIN_STEP_S:
        yield f"{steps} steps took only {point.seconds - previous.seconds:g} seconds"


def _point_problems(spec: RunSpec, point: Point) -> Iterator[str]:
    """Yield the problems of a point by itself."""
    numbers = (point.seconds, point.process_seconds, *point.metrics.values())
    if not all(math.isfinite(value) for value in numbers):
        yield "a value is not finite"
    if min(point.examples, point.gradient_examples, point.steps, point.seconds, point.process_seconds) < 0:
        yield "a counter is negative"
    targets = {target.metric: target for target in spec.workload.facts.targets}
    for name, value in point.metrics.items():
        base, target = name.partition("/")[0], targets.get(name)
        is_nonnegative = base in _NONNEGATIVE or (target is not None and target.unit.startswith(_NONNEGATIVE_UNITS))
        if is_fraction(spec, point, name) and not 0 <= value <= 1:
            yield f"{name} is {value:g}, which is not a fraction"
        elif is_nonnegative and value < 0:
            yield f"{name} is {value:g}, but cannot be negative"
    if point.se is not None and point.se < 0:
        yield f"its standard error is {point.se:g}, but cannot be negative"
    if point.evaluated_examples is not None and point.evaluated_examples < 2:
        yield f"it is screened with {point.evaluated_examples} examples, but a standard error needs two"
    if point.se is not None and not point.screened:
        yield "it has a standard error, but is not screened"
    if point.screened and (not spec.screening or spec.purpose in WHOLE_PURPOSES):
        yield "it is screened, but all evaluations of this run must use the whole split"


def _missing_metrics(record: Record) -> Iterator[str]:
    """Yield a message for each point without the metric of a target. A run that diverges may lack metrics."""
    if record.status not in ("reached", "exhausted", "pruned", "timeout"):
        return
    facts = record.spec.workload.facts
    targets = [stage.targets for stage in facts.stages] or [facts.targets]
    required = [{target.metric for target in stage} for stage in targets]
    for index, point in enumerate(record.points):
        if not required[point.stage] <= point.metrics.keys():
            missing = sorted(required[point.stage] - point.metrics.keys())
            yield f"point {index}: the metric {missing[0]} of a target is missing"


def is_fraction(spec: RunSpec, point: Point, name: str) -> bool:
    """Return whether a metric of a point is in [0, 1], because it is an accuracy, an error rate, or a mean of these."""
    if name.partition("/")[0] in _FRACTIONS:
        return True
    # If accuracies are measured, a target without a unit that is to be maximised is the mean of these accuracies.
    has_accuracy = any(metric.partition("/")[0] == "accuracy" for metric in point.metrics)
    target = next((target for target in spec.workload.facts.targets if target.metric == name), None)
    return has_accuracy and target is not None and target.goal == "max" and not target.unit


def _screening_problems(record: Record) -> Iterator[str]:
    """Yield a message for each screened point at which the evaluation must use the whole split.

    A screened evaluation uses only a random part of the split `score`.
    """
    spec, points = record.spec, record.points
    places = dict.fromkeys(_stage_starts(points), "the first evaluation of a stage")
    places |= {index: "a scored stop" for index, point in enumerate(points) if point.examples in spec.scored_stops}
    places |= dict.fromkeys(record.stage_hits, "the end of a stage")
    if record.status in ("reached", "exhausted"):
        places[len(points) - 1] = "the end of the run"
    places[0] = "the untrained model"
    if record.hit is not None:
        places[record.hit] = "the hit"
    for index, place in sorted(places.items()):
        if index < len(points) and points[index].screened:
            yield f"point {index} is screened, but it is {place}"


def _stage_starts(points: tuple[Point, ...]) -> Iterator[int]:
    return (index for index in range(1, len(points)) if points[index].stage != points[index - 1].stage)
