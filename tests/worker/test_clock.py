"""The clock of a run, by fake time functions."""

from __future__ import annotations

from typing import Any

import pytest

from harness.contract.events import REPORT_S
from harness.worker import clock as clock_module
from harness.worker.clock import Clock


class Times:
    """Wall seconds and processor seconds that a test sets forward."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.wall = self.process = 0.0
        monkeypatch.setattr(clock_module, "perf_counter", lambda: self.wall)
        monkeypatch.setattr(clock_module, "process_time", lambda: self.process)

    def use(self, wall: float, process: float) -> None:
        self.wall, self.process = self.wall + wall, self.process + process


@pytest.fixture
def times(monkeypatch: pytest.MonkeyPatch) -> Times:
    return Times(monkeypatch)


def make_clock(times: Times, start_delay: float = 0.0, stop_delay: float = 0.0) -> tuple[Clock, list[Any]]:
    """A clock whose first report of a start or of a stop takes some time, and its reports."""
    reports: list[Any] = []
    delays = {True: start_delay, False: stop_delay}

    def report(running: bool, seconds: float, process_seconds: float, phase: str) -> None:
        reports.append((running, pytest.approx(seconds), pytest.approx(process_seconds)))
        times.use(delays.pop(running, 0.0), 0.0)

    return Clock(lambda: None, report), reports


def test_a_report_that_is_late_is_on_the_clock(times: Times) -> None:
    """So that a supervisor, which measures from report to report, never measures more than an honest clock has."""
    clock, reports = make_clock(times, start_delay=2.0, stop_delay=3.0)
    clock.resume()
    times.use(1.0, 0.5)
    clock.pause()
    assert (clock.seconds, clock.process_seconds) == pytest.approx((6.0, 0.5))
    assert reports == [(True, 0.0, 0.0), (False, 3.0, 0.5), (False, 6.0, 0.5)]


def test_a_prompt_report_is_not_repeated(times: Times) -> None:
    clock, reports = make_clock(times, stop_delay=REPORT_S / 2)
    for _ in range(2):
        clock.resume()
        times.use(1.0, 0.5)
        clock.pause()
    assert (clock.seconds, clock.process_seconds) == pytest.approx((2.0, 1.0))
    assert [running for running, *_ in reports] == [True, False, True, False]
