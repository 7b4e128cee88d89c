"""Killing the worker to change what it resumes from."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.contract.record import Record
from harness.execution.supervisor import CHECKPOINT_SHARE_VARIABLE
from harness.scoring.time_to_target import target_result
from tests.cheats.pipeline import in_sandbox, linux, run
from tests.cheats.threats import threat
from tests.cheats.ways.honest import BURNED_S
from tests.helpers import Remember


@pytest.fixture(autouse=True)
def _all_checkpoints(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CHECKPOINT_SHARE_VARIABLE, "inf")


def run_twice(way: str, runs: Path, watcher: Remember | None = None) -> Record:
    """Run, and run again if the first run did not end, as a repeated command does."""
    record = run(way, runs)
    return run(way, runs, watcher=watcher) if record.status == "interrupted" else record


def is_not_ranked(record: Record) -> None:
    assert record.counters.process_seconds > BURNED_S, "the time before the death is charged"
    result = target_result(record)
    assert result.status == "unknown"
    assert "not ranked without a rerun" in result.reason


@linux
@threat(
    way="kills itself so that the run resumes with the clock of its checkpoint",
    verdict="caught",
    by="the lost time is charged; the run is not ranked without a rerun",
)
def test_self_kill(tmp_path: Path) -> None:
    is_not_ranked(run_twice("restarts:Dies", tmp_path))


@linux
@threat(
    way="knows where the supervisor's account, the record and the evaluator's results of its run are, and changes "
    "these files before it kills itself",
    verdict="caught",
    by="the sandbox: a worker can write only to its own folder in the folder of the run. Without a sandbox, the "
    "supervisor's account in memory replaces the file. Because of the restart, the run is not ranked without a rerun",
)
def test_edited_account(tmp_path: Path) -> None:
    is_not_ranked(run_twice("restarts:EditsAccount", tmp_path))
    if in_sandbox():
        assert "succeeded" not in log_of(tmp_path)


@linux
@threat(
    way="changes the files of the previous row after it found their paths in its file descriptors, its environment "
    "variables and /proc",
    verdict="caught",
    by="as in the previous row",
)
def test_found_account(tmp_path: Path) -> None:
    is_not_ranked(run_twice("restarts:SearchesAccount", tmp_path))
    log = log_of(tmp_path)
    assert str(next(tmp_path.glob("run-*"))) in log, "it finds the folder"
    if in_sandbox():
        assert "succeeded" not in log


@linux
@threat(
    way="replaces its checkpoint by one with other weights and counters before it kills itself",
    verdict="caught",
    by="the evaluator has noted the SHA-256 of the checkpoint that the training loop wrote, and accepts no other. The "
    "run starts from the beginning, and is not ranked without a rerun",
)
def test_edited_checkpoint(tmp_path: Path) -> None:
    watcher = Remember()
    record = run_twice("restarts:EditsCheckpoint", tmp_path, watcher)
    assert any("the run starts from the beginning" in warning for warning in watcher.warnings), watcher.warnings
    assert record.status != "reached" or target_result(record).status == "unknown"


@linux
@threat(
    way="ends its process as if the run were complete",
    verdict="caught",
    by="a worker that ends without its last event has crashed",
)
def test_early_exit(tmp_path: Path) -> None:
    record = run_twice("restarts:Exits", tmp_path)
    assert record.status == "crashed" or target_result(record).status == "unknown", record.status


@linux
@threat(way="raises SystemExit in a step", verdict="caught", by="the run counts as crashed, which is a miss")
def test_system_exit(tmp_path: Path) -> None:
    record = run_twice("restarts:Raises", tmp_path)
    assert record.status == "crashed" or target_result(record).status == "unknown", record.status


def log_of(runs: Path) -> str:
    """The log of the workers of the only run in a folder."""
    return next(runs.glob("run-*/worker.log")).read_text()
