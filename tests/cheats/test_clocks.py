"""Changed clocks."""

from __future__ import annotations

from pathlib import Path

from tests.cheats.pipeline import gains_nothing, is_rejected, linux, run
from tests.cheats.threats import threat
from tests.cheats.ways.honest import BURNED_S


@threat(
    way="replaces the functions of the module `time`",
    verdict="made useless",
    by="the clocks use functions that were bound before the submission's import",
)
def test_replaced_time(tmp_path: Path) -> None:
    gains_nothing(run("clocks:ReplacesTime", tmp_path))


@threat(
    way="replaces the time functions that the harness's clock has bound",
    verdict="caught",
    by="rule `harness_code`; in addition, the larger of the worker's and the supervisor's time is scored",
)
def test_replaced_bound_time(tmp_path: Path) -> None:
    is_rejected(run("clocks:ReplacesBoundTime", tmp_path), "harness.worker.clock.perf_counter was replaced")


@linux
@threat(
    way="sets the worker's clock back by the time that it used",
    verdict="caught",
    by="the supervisor measures the same intervals with its own clock",
)
def test_clock_set_back(tmp_path: Path) -> None:
    is_rejected(run("clocks:SetsClockBack", tmp_path), "the supervisor's clock")


@linux
@threat(
    way="stops the harness's clock during every step",
    verdict="caught",
    by="the supervisor counts the stops; it allows two for each evaluation, and four more",
)
def test_clock_stopped_in_every_step(tmp_path: Path) -> None:
    is_rejected(run("clocks:StopsClock", tmp_path), "the clock was stopped")


@linux
@threat(
    way="stops the clock once, and computes under the name of a phase without a limit",
    verdict="caught",
    by="work off the clock is scored, except a small amount; above 1 s plus 25 % of the scored time, the run is "
    "rejected",
)
def test_clock_stopped_once(tmp_path: Path) -> None:
    record = run("clocks:StopsClockOnce", tmp_path)
    is_rejected(record, "computed while the clock was stopped")
    assert record.counters.process_seconds > BURNED_S
