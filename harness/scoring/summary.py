"""The query of a leaderboard, and the summary of a record from which its tables are made."""

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
        """The amount on one workload, and the axis that it is measured on."""
        if self.unit == "share":
            return self.amount * facts.budget.horizon, "examples"
        return self.amount, self.unit

    def __str__(self) -> str:
        if self.unit == "share":
            return f"{self.amount:.0%} of the budget"
        return f"{self.amount:g} {'seconds' if self.unit == 'time' else self.unit}"


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaderboardQuery:
    """What a leaderboard shows.

    Args:
        by: what is counted on the way to the target.
        metric: compare metrics at this budget instead of times to target; None for times.
        level: which of a workload's targets.
        workloads: names; empty for all.
        tier: only workloads of this tier.
        references: names of submissions that may anchor the scores; the first that a table holds does.
    """

    by: Axis = "time"
    metric: MetricBudget | None = None
    level: Level = "main"
    workloads: frozenset[str] = frozenset()
    tier: str | None = None
    references: tuple[str, ...] = ()

    def wants(self, facts: WorkloadFacts) -> bool:
        """Whether the tables show this workload."""
        return (not self.workloads or facts.name in self.workloads) and self.tier in (None, facts.tier)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSummary:
    """A record as tables need it: without its points, so that thousands of records need little memory.

    Args:
        run_id, started, spec, status, reason: as in the record.
        result: where it met the targets of the query.
        hit: the point that met them; None for a miss.
        metric: the metric at the budget of the query; None where it asks for none.
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
        """The run and its result alone."""
        return ScoredRun(self.run_id, self.started, self.spec, self.result)


def parse_metric_budget(text: str) -> MetricBudget:
    """A budget from the text after `metric@`: `budget`, `50%`, `10s`, `5000examples`, `200steps`.

    Raises:
        UsageError: another text.

    >>> parse_metric_budget("50%"), str(parse_metric_budget("10s"))
    (MetricBudget(amount=0.5, unit='share'), '10 seconds')
    """
    if text == "budget":
        return MetricBudget(amount=1.0, unit="share")
    units: dict[str, Unit] = {"%": "share", "s": "time", "examples": "examples", "steps": "steps"}
    match = re.fullmatch(r"(\d+(?:\.\d+)?) ?(%|s|examples|steps)", text)
    if not match or float(match[1]) <= 0:
        raise UsageError(
            f"--by metric@{text}: {text!r} is not a budget",
            fix="metric@budget, metric@50%, metric@10s, metric@5000examples",
        )
    amount = float(match[1])
    return MetricBudget(amount=amount / 100 if match[2] == "%" else amount, unit=units[match[2]])


def summarize(record: Record, query: LeaderboardQuery) -> RunSummary:
    """Summarize a record for a query."""
    facts = record.spec.workload.facts
    result = _result_at_level(record, query)
    metric = None
    if query.metric is not None:
        amount, by = query.metric.of(facts)
        metric = metric_at(record, amount, by)
        if result.status != "unknown" and metric is None:
            result = TargetResult(status="unknown", reason=f"no evaluation within {query.metric}")
    return RunSummary(
        run_id=record.run_id,
        started=record.started,
        spec=record.spec,
        status=record.status,
        reason=record.reason,
        result=result,
        hit=record.points[result.index] if result.index is not None else None,
        metric=metric,
        memory=record.usage.peak_memory_bytes,
        slowdown=slowdown(record.devices),
    )


def _result_at_level(record: Record, query: LeaderboardQuery) -> TargetResult:
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
