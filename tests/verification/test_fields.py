"""Fields with impossible values are caught: times, machines, and amounts that contradict each other."""

from __future__ import annotations

import hashlib
from datetime import datetime
from typing import Any

import msgspec
import pytest

from harness.contract.record import Ledger, Record, Spent
from harness.verification.checks import VerificationOptions, verify_records
from tests.verification.forging import (
    change,
    change_point,
    failure,
    findings_of,
    honest,
    published,
    stored,
    with_points,
    with_spec,
)

NOW = "2026-06-01T12:00:00+00:00"
OPTIONS = VerificationOptions(judge=None, clock=datetime.fromisoformat(NOW).timestamp)


def content_problem(record: Record) -> str:
    finding = findings_of(record, options=OPTIONS)[0].finding("content")
    assert finding is not None
    return finding.detail if finding.outcome == "failed" else ""


def timed(started: str, finished: str, **changes: Any) -> Record:
    record: Record = change(honest(), started=started, finished=finished, **changes)
    return record


@pytest.mark.parametrize(
    ("started", "finished", "problem"),
    [
        ("2026-06-01T11:00:00+00:00", NOW, ""),
        ("2026-06-02T11:00:00+00:00", "2026-06-02T11:59:59+00:00", ""),  # another clock, at most a day ahead
        ("2026-06-02T11:00:00+00:00", "2026-06-02T12:00:01+00:00", "in the future"),
        ("9999-12-31T23:59:59+00:00", "9999-12-31T23:59:59+00:00", "in the future"),
        ("2026-06-01T11:00:00+00:00", "1999-01-01T00:00:00+00:00", "before its start"),
        ("2026-06-01T11:00:00", NOW, "started is '2026-06-01T11:00:00', which is not a time in UTC"),
        ("2026-06-01T11:00:00+14:00", NOW, "not a time in UTC"),
        ("20260601T110000+00:00", NOW, "not a time in UTC"),
        ("0001-01-01T00:00:00+14:00", NOW, "not a time in UTC"),
        ("yesterday", NOW, "not a time in UTC"),
        ("", NOW, "not a time in UTC"),
        ("2026-06-01T11:00:00+00:00", "", "finished is '', which is not a time in UTC"),
    ],
)
def test_the_times_of_a_run_are_possible(started: str, finished: str, problem: str) -> None:
    found = content_problem(timed(started, finished))
    assert problem in found
    assert bool(problem) == bool(found)


def test_a_run_that_has_not_ended_needs_no_end() -> None:
    running = timed("2026-06-01T11:00:00+00:00", "", status="interrupted", hit=None, final_weights="")
    assert content_problem(running) == ""


@pytest.mark.parametrize("device", ["quantum:0", "cuda:x", "", "cpu "])
def test_an_unknown_device_is_caught(device: str) -> None:
    assert "does not exist" in failure(with_spec(honest(), device=device), "content")


def test_the_machine_fits_the_specification() -> None:
    record = honest()
    assert record.environment is not None
    for field, value, problem in (
        ("threads", 64, "the worker had 64 threads, but 1 were specified"),
        ("hardware_name", "Intel 8086", "the worker ran on 'Intel 8086'"),
        ("cpu_count", 0, "no processor"),
    ):
        environment = change(record.environment, **{field: value})
        assert problem in failure(change(record, environment=environment), "content")


def test_no_amount_is_negative() -> None:
    record = honest()
    assert "usage.import_seconds is -1" in failure(
        change(record, usage=change(record.usage, import_seconds=-1.0)), "content"
    )
    ledger = Ledger(helper_seconds=-1e9)
    assert "ledger.helper_seconds is -1e+09" in failure(change(record, ledger=ledger), "content")
    ledger = Ledger(phases={"evaluation": Spent(seconds=-1.0)})
    assert "the time of a phase or of a restart is negative" in failure(change(record, ledger=ledger), "content")
    screening = msgspec.structs.replace(record.screening, evaluations=3, screened=4) if record.screening else None
    assert "4 of 3 evaluations are screened" in failure(change(record, screening=screening), "content")


@pytest.mark.parametrize("clock", ["seconds", "process_seconds"])
@pytest.mark.parametrize("factor", [0.0, 3.0])
def test_the_phases_fit_the_scored_time(clock: str, factor: float) -> None:
    record = honest()
    scored = {name: getattr(record.counters, name) + 100.0 for name in ("seconds", "process_seconds")}
    record = change(record, counters=change(record.counters, **scored))
    fitting = Spent(**scored)
    for training, is_possible in ((fitting, True), (change(fitting, **{clock: factor * scored[clock]}), False)):
        found = failure(change(record, ledger=Ledger(phases={"training": training})), "content")
        assert (found == "") == is_possible
        assert is_possible or f"the phases on the clock took {factor * scored[clock]:g} {clock}" in found


def test_a_screened_evaluation_has_an_error_and_examples() -> None:
    record = next(r for r in published() if any(point.screened for point in r.points))
    index = next(i for i, point in enumerate(record.points) if point.screened)
    assert "its standard error is -1" in failure(change_point(record, index, se=-1.0), "points")
    assert "a standard error needs two" in failure(change_point(record, index, evaluated_examples=1), "points")
    assert "evaluated_examples" in failure(change_point(record, index, evaluated_examples=-5), "content")


@pytest.mark.parametrize("access", ["pool", "stream"])
def test_a_curve_without_the_metric_of_a_target_is_caught(access: str) -> None:
    record = honest(access, "exhausted")
    without = with_points(record, [change(point, metrics={}) for point in record.points])
    assert "of a target is missing" in failure(without, "points")


def test_steps_that_take_next_to_no_time_are_caught() -> None:
    record = honest()
    tiny = [change(p, seconds=5e-324 * i, process_seconds=5e-324 * i) for i, p in enumerate(record.points)]
    assert "steps took only" in failure(with_points(record, tiny), "points")
    slow_clock = [change(p, process_seconds=5e-324 * i) for i, p in enumerate(record.points)]
    assert "processor seconds" in failure(with_points(record, slow_clock), "points")


def test_a_key_that_is_given_twice_is_caught() -> None:
    """Readers differ in which of the values they use."""
    item = stored(honest())
    fields = item.content.replace(b"\n", b"")
    body = fields.replace(b'"deaths":0', b'"deaths":7,"deaths":0')
    start = body.index(b",") + 1
    digest = hashlib.sha256(b"{" + body[start:]).hexdigest().encode()
    forged = body.replace(body[: start - 1], b'{"content_hash":"' + digest + b'"', 1)
    [finding] = verify_records([item._replace(content=forged)], OPTIONS)
    assert "the key 'deaths' is given twice" in finding.findings[0].detail
