"""Records to forge: published ones, and what a careful forger does to them (run_id and hash computed again)."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import msgspec

from harness.contract.record import Record
from harness.contract.run import Point, RunSpec
from harness.plugins.registry import Registry, load_registry
from harness.storage.layout import run_id
from harness.storage.records import StoredRecord, encode, iter_records
from harness.verification.checks import VerificationOptions, verify_records
from harness.verification.findings import CheckName, RecordFindings
from harness.verification.workloads import Workloads, index_workloads

REPOSITORY = Path(__file__).resolve().parents[2]


@functools.cache
def registry() -> Registry:
    """The installed plugins."""
    return load_registry()


@functools.cache
def workloads() -> Workloads:
    """The installed workloads."""
    return index_workloads(registry().workloads())


NO_JUDGE = VerificationOptions(judge=None, workloads=workloads(), registry=registry())


@functools.cache
def published() -> tuple[Record, ...]:
    problems: list[str] = []
    records = tuple(iter_records([REPOSITORY / "results"], problems))
    assert not problems
    return records


@functools.cache
def archived() -> tuple[Record, ...]:
    """The published records of earlier versions of workloads."""
    problems: list[str] = []
    records = tuple(iter_records([REPOSITORY / "results" / "archive"], problems))
    assert not problems
    return records


def honest(access: str = "pool", status: str = "reached", metric: str = "") -> Record:
    """A published record of a scored run that ended at its first hit or at the end of its budget, and has a metric."""
    return next(
        record
        for record in published()
        if (record.spec.workload.facts.access, record.status, record.spec.stop) == (access, status, None)
        and (not metric or metric in record.points[-1].metrics)
    )


def change(value: Any, **changes: Any) -> Any:
    return msgspec.structs.replace(value, **changes)


def change_point(record: Record, index: int, **changes: Any) -> Record:
    points = list(record.points)
    points[index] = change(points[index], **changes)
    return with_points(record, points)


def with_points(record: Record, points: list[Point]) -> Record:
    forged: Record = change(record, points=tuple(points))
    return forged


def with_spec(record: Record, **changes: Any) -> Record:
    spec: RunSpec = change(record.spec, **changes)
    forged: Record = change(record, spec=spec)
    return forged


def stored(record: Record, folder: Path = Path("forged")) -> StoredRecord:
    """The file of a record whose run_id and hash were computed again."""
    record = change(record, run_id=run_id(record.spec))
    return StoredRecord(folder / f"{record.run_id}.json", encode(record))


def findings_of(*records: Record, options: VerificationOptions = NO_JUDGE) -> list[RecordFindings]:
    return verify_records([stored(record) for record in records], options)


def failure(record: Record, check: CheckName) -> str:
    """What one check says of a record; empty if it passed. No other check is looked at."""
    finding = findings_of(record)[0].finding(check)
    assert finding is not None
    return finding.detail if finding.outcome == "failed" else ""
