"""What a leaderboard is asked for, and what its tables keep of each record for it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from harness.contract.record import Record, Status
from harness.contract.run import Point, RunSpec
from harness.contract.workload import Target, WorkloadFacts
from harness.errors import UsageError
from harness.scoring.throttling import slowdown
from harness.scoring.time_to_target import Axis, MetricAt, ScoredRun, TargetResult, metric_at, target_result

Level = Literal["easy", "main", "hard"]
Unit = Literal["time", "examples", "steps", "share"]


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricBudget:
    """A budget at which metrics are compared: an amount of seconds, examples or steps, or a `share` of the horizon."""

    amount: float
    unit: Unit

    def of(self, facts: WorkloadFacts) -> tuple[float, Axis]:
        """The amount on one workload, and what it counts."""
        if self.unit == "share":
            return self.amount * facts.budget.horizon, "examples"
        return self.amount, self.unit

    def __str__(self) -> str:
        if self.unit == "share":
            return f"{self.amount:.0%} of the budget"
        return f"{self.amount:g} {'seconds' if self.unit == 'time' else self.unit}"


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaderboardQuery:
    """What a leaderboard is asked for.

    Args:
        by: what is counted on the way to the target.
        metric: where given, metrics at this budget instead of times to target.
        level: which of a workload's targets.
        workloads: names; empty for all.
        tier: only workloads of this tier.
        references: names of submissions that may anchor the scores; the first one a table holds does.
    """

    by: Axis = "time"
    metric: MetricBudget | None = None
    level: Level = "main"
    workloads: frozenset[str] = frozenset()
    tier: str | None = None
    references: tuple[str, ...] = ()

    def wants(self, facts: WorkloadFacts) -> bool:
        """Whether this workload was asked for."""
        return (not self.workloads or facts.name in self.workloads) and self.tier in (None, facts.tier)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSummary:
    """What tables keep of a record: without its points, so that thousands of records need little memory.

    Args:
        result: where it met the targets asked for.
        hit: the point where it did; None for a miss.
        metric: the metric at the budget asked for.
        memory: peak memory in bytes; 0 where unknown.
        slowdown: what slowed its GPUs down, in words.
    """

    run_id: str
    started: str
    spec: RunSpec
    status: Status
    reason: str
    result: TargetResult
    hit: Point | None
    metric: MetricAt | None
    memory: int
    slowdown: str = ""

    @property
    def run(self) -> ScoredRun:
        """The same as scoring takes it."""
        return ScoredRun(self.run_id, self.started, self.spec, self.result)


def parse_metric_budget(text: str) -> MetricBudget:
    """What stands behind `metric@`: `budget`, `50%`, `10s`, `5000examples`, `200steps`.

    Raises:
        UsageError: anything else.

    >>> parse_metric_budget("50%"), str(parse_metric_budget("10s"))
    (MetricBudget(amount=0.5, unit='share'), '10 seconds')
    """
    if text == "budget":
        return MetricBudget(amount=1.0, unit="share")
    units: dict[str, Unit] = {"%": "share", "s": "time", "examples": "examples", "steps": "steps"}
    match = re.fullmatch(r"(\d+(?:\.\d+)?) ?(%|s|examples|steps)", text)
    if not match or float(match[1]) <= 0:
        raise UsageError(f"--by metric@{text}", fix="metric@budget, metric@50%, metric@10s, metric@5000examples …")
    amount = float(match[1])
    return MetricBudget(amount=amount / 100 if match[2] == "%" else amount, unit=units[match[2]])


def summarize(record: Record, query: LeaderboardQuery) -> RunSummary:
    """A record as tables need it."""
    facts = record.spec.workload.facts
    found = _outcome(record, query)
    metric = None
    if query.metric is not None:
        amount, by = query.metric.of(facts)
        metric = metric_at(record, amount, by)
        if found.status != "unknown" and metric is None:
            found = TargetResult(status="unknown", reason=f"no evaluation within {query.metric}")
    return RunSummary(
        run_id=record.run_id,
        started=record.started,
        spec=record.spec,
        status=record.status,
        reason=record.reason,
        result=found,
        hit=record.points[found.index] if found.index is not None else None,
        metric=metric,
        memory=record.usage.peak_memory_bytes,
        slowdown=slowdown(record.devices),
    )


def _outcome(record: Record, query: LeaderboardQuery) -> TargetResult:
    if query.level == "main":
        return target_result(record, query.by)
    facts = record.spec.workload.facts
    if facts.stages:
        return TargetResult(status="unknown", reason=f"{facts.id} is a stream: its targets steered the run")
    targets = targets_at(facts, query.level)
    if not targets:
        return TargetResult(status="unknown", reason=f"{facts.id} has no {query.level} target")
    return target_result(record, query.by, targets)


def targets_at(facts: WorkloadFacts, level: Level) -> tuple[Target, ...]:
    """A workload's targets at a level; empty where it has none there."""
    return facts.targets if level == "main" else facts.levels.get(level, ())
