"""Per workload: time, examples and steps to target, median and range over studies."""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from harness.contract.workload import WorkloadFacts
from harness.report import text
from harness.scoring.summary import RunSummary


@dataclass(frozen=True, kw_only=True)
class Spread:
    """Median and range over studies; a miss counts as infinity."""

    median: float
    low: float
    high: float

    @staticmethod
    def of(values: Sequence[float]) -> Spread:
        return Spread(median=statistics.median(values), low=min(values), high=max(values))


@dataclass(frozen=True, kw_only=True)
class Row:
    """One submission in one table."""

    label: str
    n: int
    hits: int
    seconds: Spread
    examples: Spread
    steps: Spread
    statuses: dict[str, int]


@dataclass(frozen=True, kw_only=True)
class Board:
    """Rows that may be compared: one workload and budget, one hardware class, one ruleset."""

    workload: WorkloadFacts
    hardware: str
    ruleset: str
    ranked: bool
    clock: str
    rows: list[Row]


@dataclass(kw_only=True)
class Leaderboard:
    """Every table, and what stands in none and why."""

    boards: list[Board] = field(default_factory=list)
    left_out: dict[str, int] = field(default_factory=dict)


def leaderboard(summaries: Iterable[RunSummary]) -> Leaderboard:
    """Group runs into tables. Different workload versions, budgets, hardware classes and rulesets never mix."""
    boards: dict[Any, list[RunSummary]] = defaultdict(list)
    result = Leaderboard()
    for record in summaries:
        reason = _left_out(record)
        if reason:
            result.left_out[reason] = result.left_out.get(reason, 0) + 1
            continue
        spec = record.spec
        facts, ruleset = spec.workload.facts, spec.ruleset
        budget = (facts.budget.horizon, facts.budget.gradient_examples)
        key = (facts.name, facts.version, spec.hardware, f"{ruleset.name}@{ruleset.version}", budget, facts.targets)
        boards[key].append(record)
    for key, members in sorted(boards.items(), key=lambda item: item[0][:5]):
        spec = members[0].spec
        result.boards.append(
            Board(
                workload=spec.workload.facts,
                hardware=spec.hardware,
                ruleset=key[3],
                ranked=spec.ruleset.ranked,
                clock=spec.clock,
                rows=_rows(members),
            )
        )
    return result


def _left_out(record: RunSummary) -> str:
    if record.status == "interrupted":
        return "interrupted, not finished"
    if record.spec.smoke:
        return "smoke runs"
    if record.spec.profile:
        return "profiled runs"
    return record.result.reason if record.result.status == "unknown" else ""


def _rows(records: Sequence[RunSummary]) -> list[Row]:
    labels = _labels(records)
    grouped: dict[str, list[RunSummary]] = defaultdict(list)
    for record in records:
        grouped[labels[record.run_id]].append(record)
    rows = [_row(label, members) for label, members in grouped.items()]
    return sorted(rows, key=lambda row: (row.seconds.median, -row.hits, row.label))


def _row(label: str, records: Sequence[RunSummary]) -> Row:
    hits = [record.hit for record in records]
    clock = records[0].spec.clock
    statuses: dict[str, int] = defaultdict(int)
    for record in records:
        statuses[record.status] += 1
    return Row(
        label=label,
        n=len(records),
        hits=sum(point is not None for point in hits),
        seconds=Spread.of([point.scored(clock) if point else math.inf for point in hits]),
        examples=Spread.of([point.cost if point else math.inf for point in hits]),
        steps=Spread.of([point.steps if point else math.inf for point in hits]),
        statuses=dict(statuses),
    )


def _labels(records: Sequence[RunSummary]) -> dict[str, str]:
    """What each run is called: settings made by hand are part of it, and the source where there are several."""
    sources: dict[str, set[str]] = defaultdict(set)
    base: dict[str, str] = {}
    for record in records:
        spec = record.spec
        settings = ",".join(f"{name}={text.number(v) if isinstance(v, float) else v}" for name, v in _by_hand(record))
        base[record.run_id] = spec.submission.name + (f" [{settings}]" if settings else "")
        sources[base[record.run_id]].add(spec.submission.source_hash)
    return {
        record.run_id: base[record.run_id]
        + (f" #{record.spec.submission.source_hash[:6]}" if len(sources[base[record.run_id]]) > 1 else "")
        for record in records
    }


def _by_hand(record: RunSummary) -> list[tuple[str, Any]]:
    return [(name, record.spec.hparams[name]) for name in record.spec.overridden if name in record.spec.hparams]


# --- text and JSON ------------------------------------------------------------------------------


def as_text(board: Leaderboard) -> str:
    """The tables as plain text."""
    return "\n\n".join([*(_board_text(b) for b in board.boards), *_left_out_text(board)])


def header(board: Board) -> str:
    """The line above a table: workload, target, hardware, ruleset."""
    target = board.workload.targets[0]
    sign = "≤" if target.goal == "min" else "≥"
    goal = f"{target.metric} {sign} {text.number(target.value)}{' ' + target.unit if target.unit else ''}"
    rank = "" if board.ranked else ", unranked"
    return f"{board.workload.id}: {goal}; {board.hardware}, {board.ruleset}{rank}"


def cells(board: Board) -> list[list[str]]:
    """A table as strings, the heading first."""
    rows = [["", "submission", "hits", f"{board.clock} seconds", "examples", "steps"]]
    for rank, row in enumerate(board.rows, 1):
        spreads = (_spread(s, digits) for s, digits in ((row.seconds, 2), (row.examples, 0), (row.steps, 0)))
        place = str(rank) if row.hits else "–"
        rows.append([place, row.label, f"{row.hits}/{row.n}", *spreads])
    return rows


def _board_text(board: Board) -> str:
    return header(board) + "\n" + text.columns(cells(board), right=frozenset({0, 2, 3, 4, 5}))


def _left_out_text(board: Leaderboard) -> list[str]:
    return [f"left out: {count} ({reason})" for reason, count in sorted(board.left_out.items())]


def _spread(spread: Spread, digits: int) -> str:
    def show(value: float) -> str:
        return "missed" if math.isinf(value) else f"{value:,.{digits}f}"

    if spread.low == spread.high:
        return show(spread.median)
    return f"{show(spread.median)} ({show(spread.low)} – {show(spread.high)})"


def as_json(board: Leaderboard) -> dict[str, Any]:
    """The tables as plain data; a miss is null."""
    return {
        "schema": 1,
        "boards": [
            {
                "workload": b.workload.id,
                "hardware": b.hardware,
                "ruleset": b.ruleset,
                "ranked": b.ranked,
                "clock": b.clock,
                "rows": [
                    {
                        "submission": row.label,
                        "n": row.n,
                        "hits": row.hits,
                        **{name: _spread_json(getattr(row, name)) for name in ("seconds", "examples", "steps")},
                        "statuses": row.statuses,
                    }
                    for row in b.rows
                ],
            }
            for b in board.boards
        ],
        "left_out": board.left_out,
    }


def _spread_json(spread: Spread) -> dict[str, float | None]:
    values = {"median": spread.median, "low": spread.low, "high": spread.high}
    return {name: None if math.isinf(value) else value for name, value in values.items()}
