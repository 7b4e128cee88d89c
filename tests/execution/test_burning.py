"""Work where no clock used to see it: what is charged, what is rejected, and what honest runs may do."""

from __future__ import annotations

import math
import os
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch

from harness.contract.entries import WorkloadEntry
from harness.contract.record import Record
from harness.execution import off_clock
from harness.execution.state import Interrupted
from harness.execution.trial import run_trial
from harness.scoring.time_to_target import target_result
from tests import micro
from tests.burning import BURNED_S
from tests.helpers import FORKED, Remember, run_here, run_worker, spec_of, submission
from tests.worker.interrupt import StopAt

linux = pytest.mark.skipif(sys.platform != "linux", reason="the kernel gives the times of processes on Linux alone")
SLOW = WorkloadEntry(
    facts=micro.FACTS, load="tests.burning:SlowMicro", summary="points in the plane", distribution="tests"
)


def entry(name: str, **fields: Any) -> Any:
    return submission(f"tests.burning:{name}", **fields)


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    root = str(Path(__file__).resolve().parents[2])
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH")))))
    # The submissions leave marks outside their run's folder, which a sandbox does not allow.
    monkeypatch.setenv("BENCH_SANDBOX", "none")
    monkeypatch.setenv("BENCH_TEST_MARKS", str(tmp_path))
    monkeypatch.setenv(FORKED, "1")


def run(name: str, tmp_path: Path, workload: WorkloadEntry = micro.ENTRY, **settings: Any) -> Record:
    return run_worker(spec_of(entry(name), workload, **settings), tmp_path / "runs")


@linux
@pytest.mark.parametrize("name", ["ChildTrains", "OrphanTrains"])
def test_processes_are_charged(name: str, tmp_path: Path) -> None:
    """Whether a child is waited for, or is a daemon that nobody waits for: its time is part of the scored time."""
    record = run(name, tmp_path)
    assert record.status == "reached", record.reason
    assert record.counters.process_seconds > BURNED_S
    assert record.points[-1].process_seconds > BURNED_S


@linux
def test_a_thread_that_computes_while_the_clock_is_stopped_is_charged(tmp_path: Path) -> None:
    record = run("ThreadInEvaluations", tmp_path, SLOW, smoke=True)
    assert record.status == "exhausted", record.reason
    assert record.ledger is not None
    assert record.ledger.helper_seconds > 0
    assert any(name.startswith("thread") for name in record.ledger.helpers)
    assert record.counters.process_seconds > record.ledger.helper_seconds


@linux
def test_a_thread_that_never_waits_is_rejected_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(off_clock, "HELPER_LIMIT", (0.0, 0.01))
    record = run("ThreadInEvaluations", tmp_path, SLOW, smoke=True)
    assert record.status == "rejected"
    assert "thread" in record.reason
    assert "let threads and processes wait during evaluations" in record.reason


@linux
def test_an_idle_thread_is_neither_charged_nor_rejected(tmp_path: Path) -> None:
    record = run("IdleThread", tmp_path, SLOW, smoke=True)
    assert record.status == "exhausted", record.reason
    assert record.ledger is not None
    assert record.ledger.helper_seconds < 0.01


@linux
def test_a_worker_that_kills_itself_gains_no_time_and_is_not_ranked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = spec_of(entry("DiesOnce"))
    assert run_worker(spec, tmp_path / "runs").status == "interrupted"
    record = run_worker(spec, tmp_path / "runs")
    assert record.status == "reached", record.reason
    assert record.counters.process_seconds > BURNED_S, "the time before the death is charged"
    assert record.ledger is not None
    (restart,) = record.ledger.restarts
    assert (restart.by, restart.reason, restart.charged) == ("worker", "SIGKILL", True)
    assert restart.lost.process_seconds > BURNED_S / 2
    result = target_result(record)
    assert result.status == "unknown"
    assert "not ranked without a rerun" in result.reason


@linux
def test_an_import_is_charged_with_its_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(off_clock, "IMPORT_LIMIT_S", 0.3)
    source = tmp_path / "computes_at_import.py"
    source.write_text(
        "import multiprocessing\n"
        "from tests.burning import Base, burn\n"
        "child = multiprocessing.get_context('fork').Process(target=burn)\n"
        "child.start()\nchild.join()\n"
        "class Computes(Base):\n    pass\n"
    )
    record = run_worker(spec_of(submission(f"{source}:Computes"), smoke=True), tmp_path / "runs")
    assert record.status == "rejected"
    assert "importing the submission took" in record.reason


@linux
def test_ignored_children_are_rejected(tmp_path: Path) -> None:
    record = run("IgnoresChildren", tmp_path, smoke=True)
    assert record.status == "rejected"
    assert "SIGCHLD" in record.reason


def test_loading_and_construction_are_charged_to_a_resumed_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stop by the user is a restart that somebody outside forced, and the repeated steps are charged once."""
    monkeypatch.setattr("harness.worker.loop.CHECKPOINT_SHARE", math.inf)
    spec = spec_of(entry("LoadsLong"))
    with pytest.raises(Interrupted):
        run_trial(spec, tmp_path, Remember(), transport=StopAt(4))
    record = run_here(spec, tmp_path)
    assert record.status == "reached", record.reason
    assert record.counters.process_seconds > BURNED_S
    assert record.ledger is not None
    assert record.ledger.phases["loading"].process_seconds > BURNED_S / 2
    assert [(restart.by, restart.charged) for restart in record.ledger.restarts] == [("user", False)]
    assert target_result(record).status == "hit"


@pytest.mark.parametrize(
    ("name", "word"),
    [
        ("TrainsUncounted", "no forward or backward pass was counted"),
        ("ReplacesCounting", "CountedWork.backward"),
        ("HidesCounting", "CountedWork.backward of an object"),
        ("PrecisionInForward", "float32 matmul precision was changed from highest to medium within a pass"),
        ("ThreadsInBackward", "number of threads was changed from 1 to 3 within a pass"),
    ],
)
def test_what_hides_from_the_counters_is_rejected(name: str, word: str, tmp_path: Path) -> None:
    from harness.worker.work import CountedWork

    backward = CountedWork.backward
    try:
        record = run_here(spec_of(entry(name), smoke=True), tmp_path)
    finally:
        CountedWork.backward = backward  # type: ignore[method-assign]
        torch.set_float32_matmul_precision("highest")
        torch.set_num_threads(1)
    assert record.status == "rejected", record.reason
    assert word in record.reason


def test_draws_for_an_evaluation_count_for_no_step(tmp_path: Path) -> None:
    """A step draws as many examples as there are between two evaluations, and the evaluation draws some more."""
    record = run_here(spec_of(entry("DrawsInEvalWeights"), smoke=True), tmp_path)
    assert record.status == "exhausted", record.reason


def test_a_ledger_has_every_phase(tmp_path: Path) -> None:
    record = run_worker(spec_of(submission("tests.submissions_for_tests:Base"), smoke=True), tmp_path)
    assert record.ledger is not None
    expected = {"import", "build", "construction", "first batch", "training", "averaging", "state", "evaluation"}
    assert record.ledger.phases.keys() >= expected | {"checkpoint"}
    assert record.ledger.attempts == 1
    assert record.ledger.restarts == ()
    old = msgspec.structs.replace(record, ledger=None)
    assert target_result(old).status == target_result(record).status
