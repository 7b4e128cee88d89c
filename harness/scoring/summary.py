"""The query of a leaderboard, and the summaries of records from which its tables are built."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeVar

import msgspec

from harness.contract.attestation import Attestation
from harness.contract.base import Data
from harness.contract.judging import Trust
from harness.contract.marks import Marks, mark_of
from harness.contract.record import Record, Status
from harness.contract.reference_times import ReferenceTimes
from harness.contract.run import Point, RunSpec
from harness.contract.workload import Target, WorkloadFacts
from harness.errors import UsageError
from harness.scoring.audit import audit_hit
from harness.scoring.point_columns import PointColumns
from harness.scoring.run_overview import best_value
from harness.scoring.selection import ambiguous_names, with_source
from harness.scoring.throttling import slowdown
from harness.scoring.time_to_target import (
    Axis,
    IntervalSeconds,
    MetricAt,
    TargetResult,
    amount,
    find_problem,
    interval_seconds,
    metric_at,
    target_result,
)
from harness.scoring.trust import trust_level

Level = Literal["easy", "main", "hard"]
#: Which rows of a table are shown as one row per family.
Grouping = Literal["unranked", "all", "none"]
Unit = Literal["time", "examples", "steps", "share"]


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricBudget:
    """The budget at which metrics are compared.

    Args:
        amount: size of the budget in `unit`.
        unit: `time` (scored seconds), `examples`, `steps`, or `share` (a fraction of the workload's horizon).
    """

    amount: float
    unit: Unit

    def amount_on(self, facts: WorkloadFacts) -> tuple[float, Axis]:
        """Return the amount for one workload, and the axis on which it is measured."""
        if self.unit == "share":
            return self.amount * facts.budget.horizon, "examples"
        return self.amount, self.unit

    def __str__(self) -> str:
        if self.unit == "share":
            return f"{self.amount:.0%} of the budget"
        return f"{self.amount:g} {'seconds' if self.unit == 'time' else self.unit}"


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaderboardQuery:
    """The query that a leaderboard answers.

    Args:
        by: the compared quantity: time, examples or steps to the target.
        metric_budget: budget at which metrics are compared; None to compare times to target.
        level: the set of targets to use, `easy`, `main` or `hard`.
        workloads: names of the workloads to show; empty for all.
        tier: tier of the workloads to show; None for all.
        references: names of submissions that may be the reference. In each table, the reference is the first submission
            in this list that has runs in the table.
        attestations: content hash of a record -> attestations of this record.
        marks: the mark of each marked record.
        group: which rows are shown as one row per family: `unranked` (rows without a rank), `all` or `none`.
        frozen: workload id -> times of its tuned reference, to which anchored scores are relative.
    """

    by: Axis = "time"
    metric_budget: MetricBudget | None = None
    level: Level = "main"
    workloads: frozenset[str] = frozenset()
    tier: str | None = None
    references: tuple[str, ...] = ()
    attestations: Mapping[str, Sequence[Attestation]] = field(default_factory=dict)
    marks: Marks = field(default_factory=dict)
    group: Grouping = "unranked"
    frozen: Mapping[str, ReferenceTimes] = field(default_factory=dict)

    def wants(self, facts: WorkloadFacts) -> bool:
        """Whether the tables show this workload."""
        return (not self.workloads or facts.name in self.workloads) and self.tier in (None, facts.tier)

    def content_query(self) -> LeaderboardQuery:
        """Return a query with only those fields that `summarize_content` uses."""
        return LeaderboardQuery(by=self.by, metric_budget=self.metric_budget, level=self.level)


class RunSummary(Data, frozen=True, kw_only=True):
    """The part of a record that tables need.

    The points of the record are left out, so that thousands of summaries need little memory.

    Args:
        run_id: run ID of the record.
        content_hash: content hash of the record.
        machines: hashes of the names of the machines on which the run was made, in order; empty if unknown.
        started: start of the run (ISO 8601).
        spec: specification of the run.
        status: final status of the run.
        reason: why the run ended, as in the record.
        result: result at the targets of the query.
        hit: point at which the targets were met; None for a miss.
        metric: metric at the budget of the query; None if the query has no budget, or if the metric is unknown (see
            `metric_at`).
        memory: peak memory in bytes; 0 where unknown.
        sandbox: name of the sandbox in which the run was trained; empty if unknown.
        slowdown: description of the GPU states that slowed the run down (see `throttling.slowdown`); may be empty.
        seconds: scored seconds at the hit; inf for a miss. `summarize` sets the measured seconds. On a CPU, the
            module `scored_time` replaces them by a time that is computed from costs.
        intervals: scored seconds between evaluations; None for a record whose points cannot be used.
        audit_gap: how much worse the primary metric is on the split `audit` than on `score`, for the weights of the
            run's hit; None without a hit or without an evaluation on `audit`.
        is_unconfirmed: whether the run's hit does not count, because its weights miss the target on `audit`.
        best: best value of the primary target's metric in the run; None if no value is finite. Also None on a stream,
            because each of its stages has its own targets.
        trust: how far the record can be believed.
        doubted: whether the record is marked as doubted or withdrawn.
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
    sandbox: str = ""
    slowdown: str = ""
    seconds: float = math.inf
    intervals: IntervalSeconds | None = None
    audit_gap: float | None = None
    is_unconfirmed: bool = False
    best: float | None = None
    trust: Trust = "self-reported"
    doubted: bool = False
    content_hash: str = ""
    machines: tuple[str, ...] = ()


S = TypeVar("S", bound=RunSummary)


def distinguish_sources(runs: Sequence[S]) -> tuple[list[S], frozenset[str]]:
    """Append the beginning of the code hash to every version that occurs with several code hashes.

    The second result contains the `name@version` of each submission that occurs with several code hashes.
    """
    ambiguous = ambiguous_names(runs)
    if not ambiguous:
        return list(runs), ambiguous
    named = []
    for run in runs:
        ref = run.spec.submission
        if ref.id in ambiguous:
            spec = msgspec.structs.replace(run.spec, submission=with_source(ref))
            run = msgspec.structs.replace(run, spec=spec)
        named.append(run)
    return named, ambiguous


def parse_metric_budget(text: str) -> MetricBudget:
    """Parse the text after `metric@`: `budget`, `50%`, `10s`, `5000examples` or `200steps`.

    Raises:
        UsageError: the text has none of these forms.

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
            fix="write metric@budget, metric@50%, metric@10s, metric@5000examples or metric@200steps",
        )
    amount = float(match[1])
    return MetricBudget(amount=amount / 100 if match[2] == "%" else amount, unit=units[match[2]])


def summarize(record: Record, query: LeaderboardQuery, columns: PointColumns | None = None) -> RunSummary:
    """Summarize a record for a query.

    Args:
        record: record of the run.
        query: the query.
        columns: the columns of the record's points, if the caller has them.
    """
    return add_statements(summarize_content(record, query.content_query(), columns), query)


def add_statements(summary: S, query: LeaderboardQuery) -> S:
    """Return the summary with what attestations and marks say about the record.

    Args:
        summary: the result of `summarize_content`.
        query: the query with the attestations and marks.
    """
    trust = trust_level(summary, query.attestations.get(summary.content_hash, ()))
    doubted = mark_of(summary, query.marks) is not None
    if (trust, doubted) == (summary.trust, summary.doubted):
        return summary
    return msgspec.structs.replace(summary, trust=trust, doubted=doubted)


def summarize_content(record: Record, query: LeaderboardQuery, columns: PointColumns | None = None) -> RunSummary:
    """Summarize a record without its attestations and marks. The trust level is the one that the record states.

    The result depends only on the content of the record and on `query.content_query()`. It can therefore be stored.

    Args:
        record: record of the run.
        query: the query.
        columns: the columns of the record's points, if the caller has them.
    """
    facts = record.spec.workload.facts
    columns = columns or PointColumns(record.points)
    result = _result_at_level(record, query, columns)
    audit = audit_hit(record) if query.level == "main" else None
    metric = None
    if query.metric_budget is not None:
        limit, by = query.metric_budget.amount_on(facts)
        metric = metric_at(record, limit, by)
        if result.status != "unknown" and metric is None:
            result = TargetResult(status="unknown", reason=_explain_absence(record, query.metric_budget))
    hit = record.points[result.index] if result.index is not None else None
    # The points of a record with an unknown result may be usable, so `interval_seconds` must check them (None).
    is_usable = result.status != "unknown" or None
    return RunSummary(
        run_id=record.run_id,
        started=record.started,
        spec=record.spec,
        status=record.status,
        reason=record.reason,
        result=result,
        hit=hit,
        metric=metric,
        memory=record.usage.peak_memory_bytes,
        sandbox=record.sandbox,
        slowdown=slowdown(record.devices),
        seconds=math.inf if hit is None else hit.scored(record.spec.clock),
        intervals=interval_seconds(record, is_usable=is_usable, columns=columns),
        audit_gap=audit.gap if audit is not None else None,
        is_unconfirmed=audit is not None and not audit.is_confirmed,
        best=best_value(columns, facts.targets[0]) if facts.targets and not facts.stages else None,
        trust=record.trust,
        content_hash=record.content_hash,
        machines=record.machines,
    )


def _explain_absence(record: Record, budget: MetricBudget) -> str:
    """Return why a record has no metric at a budget (see `metric_at`)."""
    facts = record.spec.workload.facts
    if problem := find_problem(record):
        return problem
    if record.status == "rejected":
        return f"rejected: {record.reason}".rstrip(": ")
    if not facts.targets:
        return f"{facts.id} has no target, so it has no primary metric"
    limit, by = budget.amount_on(facts)
    within = [point for point in record.points if amount(point, record.spec, by) <= limit]
    if not within:
        return f"no evaluation within {budget}"
    if within[-1].screened:
        return f"the last evaluation within {budget} is screened; bench run --whole-evaluation screens no evaluation"
    return f"the last evaluation within {budget} has no value of {facts.targets[0].metric}"


def _result_at_level(record: Record, query: LeaderboardQuery, columns: PointColumns) -> TargetResult:
    """Return the result at the targets of the query's level; `unknown` if the record cannot be judged at this level."""
    if query.level == "main":
        return target_result(record, query.by, columns=columns)
    facts = record.spec.workload.facts
    if facts.stages:
        return TargetResult(
            status="unknown",
            reason=f"{facts.id} is a stream: its main targets ended the stages, so no other level can be used",
        )
    targets = targets_at(facts, query.level)
    if not targets:
        return TargetResult(status="unknown", reason=f"{facts.id} has no {query.level} target")
    return target_result(record, query.by, targets, columns)


def targets_at(facts: WorkloadFacts, level: Level) -> tuple[Target, ...]:
    """Return a workload's targets at a level; empty if the workload has no targets at this level."""
    return facts.targets if level == "main" else facts.levels.get(level, ())
