"""A run's result at its targets: the time, examples or steps to them, or the metric at a budget."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

from harness.contract.record import Record, is_broken, is_finished
from harness.contract.run import Point, RunSpec
from harness.contract.workload import Target
from harness.errors import UsageError

#: `time` is the scored time: processor seconds on a CPU, wall seconds elsewhere.
Axis = Literal["time", "wall", "process", "examples", "steps"]
#: The axes of leaderboards and comparisons; `wall` and `process` name one clock whatever is scored.
RANKED_AXES: Final[tuple[Literal["time", "examples", "steps"], ...]] = ("time", "examples", "steps")


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetResult:
    """Where a run met its targets.

    Args:
        status: `hit`, `miss`, or `unknown` where the record does not say.
        value: amount consumed at the first evaluation that met all targets; inf unless `hit`.
        lower: amount at the evaluation before; the crossing lies in (lower, value].
        index: of the evaluation that hit; None unless `hit`.
        reason: why it is a miss or unknown.
    """

    status: Literal["hit", "miss", "unknown"]
    value: float = math.inf
    lower: float = 0.0
    index: int | None = None
    reason: str = ""


class ScoredRun(NamedTuple):
    """A record's result without its points, so that thousands of records need little memory."""

    run_id: str
    started: str
    spec: RunSpec
    result: TargetResult


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricAt:
    """The primary metric at a budget.

    Args:
        value: the metric; inf or -inf, whichever is worse, of a run that broke down before the budget.
        at: where it was measured, in the budget's unit.
        stopped_early: the run stopped at its hit before the budget.
    """

    value: float
    at: float
    stopped_early: bool


def amount(point: Point, spec: RunSpec, by: Axis) -> float:
    """The amount consumed at a point: seconds, examples (the larger of drawn and gradient-examples) or steps."""
    if by == "examples":
        return float(point.cost)
    if by == "steps":
        return float(point.steps)
    if by == "time":
        return point.scored(spec.clock)
    return point.scored(by)


def find_problem(record: Record) -> str | None:
    """What makes a record unusable, in words; None for a usable record."""
    before = 0.0
    facts = record.spec.workload.facts
    # A diverged run ends at a NaN metric, which JSON cannot hold: it is absent there, and the run is a miss.
    complete = not facts.stages and record.status != "diverged"
    names = [target.metric for target in facts.targets] if complete else []
    for i, point in enumerate(record.points):
        seconds, process = point.seconds, point.process_seconds
        if not 0 <= seconds < math.inf:
            return f"point {i} has seconds {seconds!r}"
        if not 0 <= process < math.inf:
            return f"point {i} has process_seconds {process!r}"
        if seconds < before:
            return f"point {i} is earlier than the one before it ({seconds!r} after {before!r} seconds)"
        before = seconds
        for name in names:
            if name not in point.metrics:
                return f"point {i} has no metric {name!r}"
    if record.hit is not None and not 0 <= record.hit < len(record.points):
        return f"hit is {record.hit}, but there are {len(record.points)} points"
    return None


def hit_index(record: Record, targets: Sequence[Target] | None = None) -> int | None:
    """Index of the first point within the budget that meets all targets, recomputed; None for a miss.

    On a stream the targets decided when each stage ended, so the recorded hit is returned.

    Args:
        record: the run.
        targets: other targets than the workload's own.

    Raises:
        UsageError: other targets for a stream.
    """
    facts = record.spec.workload.facts
    if facts.stages:
        if targets is not None:
            raise UsageError(
                f"{facts.id} is a stream: its targets decided when each stage ended, so no others can be applied",
                fix="recompute only workloads without stages",
            )
        return record.hit
    targets = facts.targets if targets is None else targets
    for i, point in enumerate(record.points):
        if record.spec.allows(point) and all(target.met(point.metrics) for target in targets):
            return i
    return None


def target_result(record: Record, by: Axis = "time", targets: Sequence[Target] | None = None) -> TargetResult:
    """Where a run met the targets, or why it did not.

    Crash and divergence are misses. A run that stopped at its own target does not say when it would have met a harder
    one, and an interrupted run says nothing: both are `unknown`, never misses.

    Raises:
        UsageError: other targets for a stream.
    """
    problem = find_problem(record)
    if problem:
        return TargetResult(status="unknown", reason=problem)
    index = hit_index(record, targets)
    if targets is None and index != record.hit and record.status != "rejected":
        return TargetResult(status="unknown", reason=f"the record says hit {record.hit}, its points say {index}")
    if record.status == "rejected":
        return TargetResult(status="miss", reason=f"rejected: {record.reason}".rstrip(": "))
    if index is not None:
        value = amount(record.points[index], record.spec, by)
        if not value > 0:
            return TargetResult(status="unknown", reason=f"the hit at point {index} is at {value!r} {by}")
        lower = amount(record.points[index - 1], record.spec, by) if index else 0.0
        return TargetResult(status="hit", value=value, lower=lower, index=index)
    if not is_finished(record.status):
        return TargetResult(status="unknown", reason="interrupted: not finished")
    if record.status == "reached":
        return TargetResult(status="unknown", reason="stopped at its own target before it met this one")
    return TargetResult(status="miss", reason=f"{record.status}: {record.reason}".rstrip(": "))


def metric_at(record: Record, budget: float, by: Axis = "time") -> MetricAt | None:
    """The primary metric at the last evaluation within a budget; None where there is no such evaluation.

    Args:
        record: the run.
        budget: seconds, examples or steps, as `by` says.
        by: what the budget counts.
    """
    targets = record.spec.workload.facts.targets
    if find_problem(record) or record.status == "rejected" or not targets:
        return None
    within = [p for p in record.points if amount(p, record.spec, by) <= budget]
    at = amount(within[-1], record.spec, by) if within else 0.0
    value = within[-1].metrics.get(targets[0].metric) if within else None
    ended = len(within) == len(record.points)
    if ended and is_broken(record.status) and (value is None or at < budget):
        # Its last metric before it broke down could rank above that of a run which went on.
        return MetricAt(value=math.inf if targets[0].goal == "min" else -math.inf, at=at, stopped_early=False)
    stopped = record.status == "reached" and ended and at < budget
    return None if value is None or math.isnan(value) else MetricAt(value=value, at=at, stopped_early=stopped)


def score_run(record: Record, by: Axis = "time", targets: Mapping[str, Sequence[Target]] | None = None) -> ScoredRun:
    """A record's result in place of its points.

    Args:
        record: the run.
        by: what to count.
        targets: workload name -> other targets than its own.

    Raises:
        UsageError: other targets for a stream.
    """
    chosen = targets.get(record.spec.workload.facts.name) if targets else None
    return ScoredRun(record.run_id, record.started, record.spec, target_result(record, by, chosen))
