"""The result of a run: time, examples or steps to its targets, or its metric at a budget."""

from __future__ import annotations

import math
import operator
from array import array
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from harness.contract.base import Data
from harness.contract.record import Record, is_broken, is_finished
from harness.contract.run import STANDARD_ERRORS, Point, RunSpec
from harness.contract.workload import Target
from harness.errors import UsageError
from harness.scoring.audit import audit_hit, unconfirmed_reason
from harness.scoring.point_columns import PointColumns

if TYPE_CHECKING:
    Floats: TypeAlias = array[float]
else:
    Floats: TypeAlias = array  # msgspec evaluates the types of stored fields, and `array[float]` needs Python 3.12.

#: Unit of a result. `time` is the scored time: on a CPU, a time that is computed from costs (see `interval_costs`), on
#: other devices the measured wall seconds. `measured-time` is the seconds of the scored clock as the run measured them.
#: `wall` and `process` are the seconds of the clock of this name, even if the other clock is scored.
Axis = Literal["time", "measured-time", "wall", "process", "examples", "steps"]
#: The axes of leaderboards and comparisons.
RANKED_AXES: Final[tuple[Literal["time", "measured-time", "examples", "steps"], ...]] = (
    "time",
    "measured-time",
    "examples",
    "steps",
)


class TargetResult(Data, frozen=True, kw_only=True):
    """The result of a run at its targets.

    Args:
        status: `hit`, `miss`, or `unknown` if the record does not determine the result.
        value: amount (of seconds, examples or steps) at the first evaluation that met all targets; inf unless `hit`.
        lower: amount at the previous evaluation. The metric crossed the target in the interval (lower, value].
        index: index of the evaluation that met all targets; None unless `hit`.
        reason: reason for a miss or an unknown result; empty for a hit.
    """

    status: Literal["hit", "miss", "unknown"]
    value: float = math.inf
    lower: float = 0.0
    index: int | None = None
    reason: str = ""


class IntervalSeconds(Data, frozen=True):
    """The scored seconds of a run, divided at its evaluations.

    Args:
        seconds: scored seconds of the construction (index 0), and of the interval that ends at each later point.
        sessions: for each session of the run in order, the index of its first interval and its id; empty if the record
            names no sessions.
    """

    seconds: Floats
    sessions: tuple[tuple[int, str], ...] = ()

    def session_names(self) -> list[str]:
        """Return for each interval the id of the session in which it was measured; empty if unknown."""
        count = len(self.seconds)
        names = [""] * count
        for first, session in self.sessions:
            start = min(max(first, 0), count)
            names[start:] = [session] * (count - start)
        return names


class ScoredRun(Data, frozen=True):
    """A run and its result, without the record's points, so that thousands of records need little memory.

    `intervals` are the run's scored seconds between evaluations; None if the points of the record cannot be used.
    `examples` is the scored number of examples at the hit; inf for a miss.
    """

    run_id: str
    started: str
    spec: RunSpec
    result: TargetResult
    intervals: IntervalSeconds | None = None
    examples: float = math.inf


class MetricAt(Data, frozen=True, kw_only=True):
    """The primary metric at a budget.

    Args:
        value: the metric. If the run broke down before the budget, the value is the worst one: inf if the metric is to
            be minimised, -inf if it is to be maximised.
        at: amount of the budget that was consumed at the evaluation, in the budget's unit.
        stopped_early: whether the run stopped at its hit before the budget.
    """

    value: float
    at: float
    stopped_early: bool


def amount(point: Point, spec: RunSpec, by: Axis) -> float:
    """Return the amount consumed at a point: seconds, examples (the larger of drawn and gradient-examples) or steps.

    For `time`, the measured seconds are returned. On a CPU, the module `scored_time` replaces them later.
    """
    if by == "examples":
        return float(point.cost)
    if by == "steps":
        return float(point.steps)
    if by in ("time", "measured-time"):
        return point.scored(spec.clock)
    return point.scored("wall" if by == "wall" else "process")


def interval_seconds(
    record: Record, *, is_usable: bool | None = None, columns: PointColumns | None = None
) -> IntervalSeconds | None:
    """Return the scored seconds of a record between its evaluations; None for a record without usable points.

    Args:
        record: record of the run.
        is_usable: whether `find_problem` found no problem; None to call it.
        columns: the columns of the record's points, if the caller has them.
    """
    columns = columns or PointColumns(record.points)
    if not record.points or not (find_problem(record, columns) is None if is_usable is None else is_usable):
        return None
    totals = columns.scored(record.spec.clock)
    seconds = array("d", [totals[0], *map(operator.sub, totals[1:], totals)])
    return IntervalSeconds(seconds, tuple((session.first_point, session.id) for session in record.sessions))


def find_worker_exits(record: Record) -> str | None:
    """Return why a run whose worker ended by itself is not ranked; None for any other run.

    Before the restart, a process that the worker left behind could have computed something without being timed.
    """
    restarts = [] if record.ledger is None else [r for r in record.ledger.restarts if r.by == "worker"]
    if not restarts:
        return None
    times = "once" if len(restarts) == 1 else f"{len(restarts)} times"
    reason = f" ({restarts[-1].reason})" if restarts[-1].reason else ""
    return (
        f"the worker ended {times} by itself and the run was resumed{reason}: not ranked without a rerun "
        "(repeat the command with --force)"
    )


def find_problem(record: Record, columns: PointColumns | None = None) -> str | None:
    """Return the reason why a record cannot be used; None for a usable record.

    Args:
        record: record of the run.
        columns: the columns of the record's points, if the caller has them.
    """
    if reason := find_worker_exits(record):
        return reason
    facts = record.spec.workload.facts
    # The last metric of a diverged run may be absent, because JSON has no NaN. Such a run is a miss.
    needs_all_metrics = not facts.stages and record.status != "diverged"
    names = [target.metric for target in facts.targets] if needs_all_metrics else []
    if not _is_consistent(columns or PointColumns(record.points), names):
        # The slower search for the first problem gives the message.
        problem = _find_problem_of_points(record.points, names)
        if problem is not None:
            return problem
    if record.hit is not None and not 0 <= record.hit < len(record.points):
        return f"hit is {record.hit}, but there are {len(record.points)} points"
    return None


def _is_consistent(columns: PointColumns, names: Sequence[str]) -> bool:
    """Return whether `_find_problem_of_points` would surely find no problem. This check is faster."""
    seconds, process = columns.seconds, columns.process_seconds
    # A sum is finite only if all of its terms are finite. A missing metric is NaN in the columns.
    if not math.isfinite(sum(seconds) + sum(process) + sum([sum(columns.values(name)) for name in names])):
        return False
    return not seconds or (seconds[0] >= 0 and seconds == sorted(seconds) and min(process) >= 0)


def _find_problem_of_points(points: Sequence[Point], names: Sequence[str]) -> str | None:
    """Return the first reason why points cannot be used; None for usable points.

    Args:
        points: the points of a run.
        names: names of the metrics that every evaluation of the whole split must have.
    """
    previous_seconds = 0.0
    for i, point in enumerate(points):
        seconds, process = point.seconds, point.process_seconds
        if not 0 <= seconds < math.inf:
            return f"point {i} has seconds {seconds!r}"
        if not 0 <= process < math.inf:
            return f"point {i} has process_seconds {process!r}"
        if seconds < previous_seconds:
            return f"point {i} is earlier than the previous point ({seconds!r} after {previous_seconds!r} seconds)"
        previous_seconds = seconds
        for name in () if point.screened else names:
            if name not in point.metrics:
                return f"point {i} has no metric {name!r}"
    return None


def hit_index(
    record: Record, targets: Sequence[Target] | None = None, columns: PointColumns | None = None
) -> int | None:
    """Recompute the index of the first point within the budget that meets all targets; None for a miss.

    On a stream, the recorded index is returned, because the targets already ended the stages during the run.

    Args:
        record: record of the run.
        targets: targets to use instead of the workload's own; None to use the workload's own.
        columns: the columns of the record's points, if the caller has them.

    Raises:
        UsageError: targets were given for a stream.
    """
    facts = record.spec.workload.facts
    if facts.stages:
        if targets is not None:
            raise UsageError(
                f"{facts.id} is a stream: its targets ended the stages during the run, so they cannot be replaced",
                fix="select workloads without stages, for example with --workload",
            )
        return record.hit
    targets = facts.targets if targets is None else targets
    for i in _indices_that_meet(columns or PointColumns(record.points), targets):
        point = record.points[i]
        if not point.screened and record.spec.allows(point):
            return i
    return None


def _indices_that_meet(columns: PointColumns, targets: Sequence[Target]) -> Sequence[int]:
    """Return the indices of the points whose metrics meet all targets, within or beyond the budget."""
    indices: Sequence[int] = range(len(columns.points))
    for target in targets:
        # A missing metric counts as NaN, and a comparison with NaN is false.
        values, bound = columns.values(target.metric), target.value
        if target.goal == "min":
            indices = [i for i in indices if values[i] <= bound]
        else:
            indices = [i for i in indices if values[i] >= bound]
    return indices


def find_undecided(record: Record, targets: Sequence[Target], end: int | None) -> int | None:
    """Return the index of the first screened point that may meet the targets on the whole split.

    The evaluation of a screened point used only a part of the split. The result is None if every screened point is a
    miss, which is decided as follows:

    - For the workload's own targets of any level, a screened point is always a miss. A run screens an evaluation only
      if a target of every level is clearly missed.
    - For other targets, a screened point is a miss if its primary metric is worse than the target by more than
      `STANDARD_ERRORS` standard errors.

    Args:
        record: record of a run on a pool.
        targets: the targets.
        end: index of the first evaluation on the whole split that meets the targets; None if there is no such
            evaluation.
    """
    facts = record.spec.workload.facts
    if tuple(targets) in (facts.targets, *facts.levels.values()):
        return None
    for i, point in enumerate(record.points[:end]):
        if point.screened and record.spec.allows(point) and not _is_missed(point, targets, facts.targets[0].metric):
            return i
    return None


def _is_missed(point: Point, targets: Sequence[Target], primary: str) -> bool:
    """Return whether a screened point misses a target on the primary metric by more than `STANDARD_ERRORS` errors."""
    for target in targets:
        value = point.metrics.get(target.metric, math.nan)
        if target.metric == primary and point.se is not None:
            margin = value - target.value if target.goal == "min" else target.value - value
            if margin > STANDARD_ERRORS * point.se:
                return True
    return False


def target_result(
    record: Record,
    by: Axis = "time",
    targets: Sequence[Target] | None = None,
    columns: PointColumns | None = None,
) -> TargetResult:
    """Return the result of a run at its targets.

    A crashed or diverged run is a miss. A hit whose weights miss the target on the split `audit` is a miss, too (see
    `audit`); the weights that meet given targets were not measured on this split. The result is `unknown` for an
    interrupted run, and for a run that stopped at its own target before it met a harder given target.

    Args:
        record: record of the run.
        by: the unit of the result.
        targets: targets to use instead of the workload's own; None to use the workload's own.
        columns: the columns of the record's points, if the caller has them.

    Raises:
        UsageError: targets were given for a stream.
    """
    columns = columns or PointColumns(record.points)
    problem = find_problem(record, columns)
    if problem:
        return TargetResult(status="unknown", reason=problem)
    index = hit_index(record, targets, columns)
    if targets is None and index != record.hit and record.status != "rejected":
        reason = f"the recorded hit is {record.hit}, but the first point that meets the targets is {index}"
        return TargetResult(status="unknown", reason=reason)
    if targets is not None and (undecided := find_undecided(record, targets, index)) is not None:
        reason = f"whether point {undecided} meets the target is not known, since its evaluation is screened"
        return TargetResult(status="unknown", reason=reason)
    if record.status == "rejected":
        return TargetResult(status="miss", reason=f"rejected: {record.reason}".rstrip(": "))
    audit = audit_hit(record) if targets is None else None
    if index is not None and audit is not None and not audit.is_confirmed:
        return TargetResult(status="miss", reason=unconfirmed_reason(audit))
    if index is not None:
        value = amount(record.points[index], record.spec, by)
        if not value > 0:
            return TargetResult(status="unknown", reason=f"the hit at point {index} is at {value!r} {by}")
        lower = amount(record.points[index - 1], record.spec, by) if index else 0.0
        return TargetResult(status="hit", value=value, lower=lower, index=index)
    if not is_finished(record.status):
        return TargetResult(status="unknown", reason="interrupted: not finished")
    if record.status == "reached":
        return TargetResult(status="unknown", reason="the run stopped at its own target before it met this target")
    return TargetResult(status="miss", reason=f"{record.status}: {record.reason}".rstrip(": "))


def metric_at(record: Record, budget: float, by: Axis = "time") -> MetricAt | None:
    """Return the primary metric at the last evaluation within a budget.

    If the run broke down before the budget, the worst value is returned (see `MetricAt`). Otherwise, the result is None
    if there is no such evaluation. It is also None if this evaluation is screened, that is, used only a part of the
    split. No earlier evaluation is used instead, because it may lie far before the budget. For a rejected or unusable
    record, the result is None.

    Args:
        record: record of the run.
        budget: budget in the unit `by`.
        by: the unit of the budget.
    """
    targets = record.spec.workload.facts.targets
    if find_problem(record) or record.status == "rejected" or not targets:
        return None
    within = [p for p in record.points if amount(p, record.spec, by) <= budget]
    at = amount(within[-1], record.spec, by) if within else 0.0
    value = within[-1].metrics.get(targets[0].metric) if within else None
    ended_within = len(within) == len(record.points)
    if ended_within and is_broken(record.status) and (value is None or at < budget):
        # The last metric before the breakdown could be better than the metric of a run that continued.
        return MetricAt(value=math.inf if targets[0].goal == "min" else -math.inf, at=at, stopped_early=False)
    if within and within[-1].screened:
        return None
    stopped_early = record.status == "reached" and ended_within and at < budget
    return None if value is None or math.isnan(value) else MetricAt(value=value, at=at, stopped_early=stopped_early)


def score_run(record: Record, by: Axis = "time", targets: Mapping[str, Sequence[Target]] | None = None) -> ScoredRun:
    """Compute the result of a record, and drop its points.

    Args:
        record: record of the run.
        by: the unit of the result.
        targets: workload name -> targets to use instead of the workload's own.

    Raises:
        UsageError: targets were given for a stream.
    """
    given_targets = targets.get(record.spec.workload.facts.name) if targets else None
    columns = PointColumns(record.points)
    result = target_result(record, by, given_targets, columns)
    examples = math.inf if result.index is None else float(record.points[result.index].cost)
    # The points of a record with an unknown result may be usable, so `interval_seconds` must check them (None).
    intervals = interval_seconds(record, is_usable=result.status != "unknown" or None, columns=columns)
    return ScoredRun(record.run_id, record.started, record.spec, result, intervals, examples)
