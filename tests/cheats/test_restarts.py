"""Self-kill and resume."""

from __future__ import annotations

from pathlib import Path

from harness.contract.record import Record
from harness.scoring.time_to_target import target_result
from tests.cheats.pipeline import linux, run
from tests.cheats.threats import threat
from tests.cheats.ways.honest import BURNED_S


def run_twice(way: str, runs: Path) -> Record:
    """Run, and run again if the first run did not end, as a repeated command does."""
    record = run(way, runs)
    return run(way, runs) if record.status == "interrupted" else record


def is_not_ranked(record: Record) -> None:
    assert record.counters.process_seconds > BURNED_S, "the time before the death is charged"
    result = target_result(record)
    assert result.status == "unknown"
    assert "not ranked without a rerun" in result.reason


@linux
@threat(
    way="kills itself to get the clock of its checkpoint back",
    verdict="caught",
    by="the lost time is charged; the run is not ranked without a rerun",
)
def test_self_kill(tmp_path: Path) -> None:
    is_not_ranked(run_twice("restarts:Dies", tmp_path))


@linux
@threat(
    way="edits the supervisor's account before it kills itself",
    verdict="caught",
    by="the supervisor writes the account again from memory; the run is not ranked without a rerun",
)
def test_edited_account(tmp_path: Path) -> None:
    is_not_ranked(run_twice("restarts:EditsAccount", tmp_path))


@linux
@threat(
    way="ends its process as if it were done",
    verdict="caught",
    by="a worker that ends without its last event has crashed",
)
def test_early_exit(tmp_path: Path) -> None:
    record = run_twice("restarts:Exits", tmp_path)
    assert record.status == "crashed" or target_result(record).status == "unknown", record.status


@linux
@threat(way="raises SystemExit in a step", verdict="caught", by="the run has crashed, which is a miss")
def test_system_exit(tmp_path: Path) -> None:
    record = run_twice("restarts:Raises", tmp_path)
    assert record.status == "crashed" or target_result(record).status == "unknown", record.status
