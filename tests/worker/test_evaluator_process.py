"""The evaluator: it gives what an evaluation in the worker's process gives, and a worker cannot mislead it."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from harness.contract.entries import WorkloadEntry
from harness.contract.record import Record
from harness.contract.run import Job, RunSpec
from harness.execution.supervisor import CHECKPOINT_SHARE_VARIABLE
from harness.execution.trial_processes import TrialProcesses
from tests import micro
from tests.helpers import FORKED, Remember, folder_of, outcome, run_here, run_worker, spec_of, submission
from tests.worker import cheats, screened

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="these tests fork their workers, which is quicker"),
]


@pytest.fixture(autouse=True)
def _forked(monkeypatch: pytest.MonkeyPatch) -> None:
    root = str(Path(__file__).resolve().parents[2])
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH")))))
    monkeypatch.setenv(FORKED, "1")


@pytest.fixture
def launched(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """The process ids of the worker and the evaluator that were started last, by role."""
    pids: dict[str, int] = {}
    real = TrialProcesses.start

    def start(self: TrialProcesses, job: Job) -> None:
        real(self, job)
        pids.update({role: process.pid for role, process in self._launched.items()})

    monkeypatch.setattr(TrialProcesses, "start", start)
    return pids


def entry(name: str, module: str = "tests.submissions_for_tests") -> Any:
    return submission(f"{module}:{name}")


POOL = spec_of(entry("Noisy"))
STREAM = spec_of(entry("Base"), micro.STREAM_ENTRY)
SCREENED = spec_of(entry("Base"), screened.entry(screened.Smooth))
SCREENED_STREAM = spec_of(entry("Base"), screened.entry(screened.ScreenedStream))


@pytest.mark.parametrize("spec", [POOL, STREAM, SCREENED, SCREENED_STREAM], ids=["pool", "stream", "screened", "both"])
def test_it_gives_what_an_evaluation_in_the_worker_gives(spec: RunSpec, tmp_path: Path) -> None:
    outside, inside = run_worker(spec, tmp_path / "outside"), run_here(spec, tmp_path / "inside")
    assert outcome(outside) == outcome(inside)
    assert _counts(outside) == _counts(inside)
    assert (outside.trust, inside.trust) == ("evaluated", "self-reported")
    last = outside.judgements[-1]
    assert last.point == len(outside.points) - 1
    assert last.score == outside.points[-1].metrics
    assert last.weights == outside.final_weights
    assert last.audit.keys() == last.score.keys()
    assert [judgement.point for judgement in outside.judgements] == [
        *outside.stage_hits[: len(outside.judgements) - 1],
        last.point,
    ]


def _counts(record: Record) -> Any:
    if record.screening is None:
        return None
    return msgspec.structs.replace(record.screening, screened_seconds=0.0, whole_seconds=0.0)


@pytest.mark.parametrize("workload", [micro.ENTRY, screened.entry(screened.ScreenedStream)], ids=["pool", "stream"])
def test_a_killed_evaluator_is_replaced_and_the_run_resumes_exactly(
    workload: WorkloadEntry, tmp_path: Path, launched: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(CHECKPOINT_SHARE_VARIABLE, "inf")
    spec = spec_of(entry("Noisy"), workload)
    watcher = KillsTheEvaluator(3)
    watcher.launched = launched
    record = run_worker(spec, tmp_path / "runs", watcher)
    assert record.status == "interrupted"
    assert "the evaluator was killed by SIGKILL" in record.reason
    again = Remember()
    resumed = run_worker(spec, tmp_path / "runs", again)
    assert again.resumed[0] > 0
    assert not again.warnings
    whole = run_here(spec, tmp_path / "whole")
    assert outcome(resumed) == outcome(whole)
    assert resumed.trust == "evaluated"
    if resumed.screening is not None and whole.screening is not None:
        assert resumed.screening.examples == whole.screening.examples


class KillsTheEvaluator(Remember):
    """Kills the evaluator at an evaluation."""

    def __init__(self, at: int) -> None:
        super().__init__()
        self._at = at
        self.launched: dict[str, int] = {}

    def evaluated(self, spec: RunSpec, point: Any) -> None:
        super().evaluated(spec, point)
        if len(self.points) == self._at:
            os.kill(self.launched["evaluator"], signal.SIGKILL)


@pytest.fixture(scope="module")
def honest_metrics(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, float]]:
    spec = spec_of(entry("Honest", "tests.worker.cheats"))
    return [point.metrics for point in run_here(spec, tmp_path_factory.mktemp("honest")).points]


@pytest.mark.parametrize("name", sorted(cheats.EVALUATION))
def test_a_cheat_gets_the_honest_metrics_or_is_rejected(
    name: str, honest_metrics: list[dict[str, float]], tmp_path: Path
) -> None:
    """Every submission of `cheats` trains as `Honest` does, with a learning rate of nearly zero."""
    spec = spec_of(entry(name, "tests.worker.cheats"))
    record = run_worker(spec, tmp_path / "runs")
    assert record.status in cheats.EVALUATION[name], record.reason
    assert record.hit is None
    assert [point.metrics for point in record.points] == honest_metrics[: len(record.points)]


def test_the_training_process_never_loads_score_or_audit(tmp_path: Path) -> None:
    watcher = Remember()
    spec = spec_of(entry("Base"), cheats.WATCHED_ENTRY, smoke=True)
    record = run_worker(spec, tmp_path, watcher)
    assert record.status == "exhausted", record.reason
    lines = (folder_of(spec, tmp_path).path / "worker.log").read_text().split()
    (trainer,) = {line.partition(":")[0] for line in lines if line.endswith(":loss")}
    assert {line for line in lines if line.startswith(f"{trainer}:")} == {f"{trainer}:loss"}
    assert {line.partition(":")[2] for line in lines} == {"loss", "score", "audit"}


def test_an_error_of_the_workload_in_the_evaluator_ends_the_trial_with_its_reason(tmp_path: Path) -> None:
    record = run_worker(spec_of(entry("Base"), cheats.BROKEN_ENTRY, smoke=True), tmp_path)
    assert record.status == "crashed"
    assert "the labels are missing" in record.reason


def test_without_audit_a_record_stays_self_reported(tmp_path: Path) -> None:
    watcher = Remember()
    record = run_worker(spec_of(entry("Base"), cheats.NO_AUDIT_ENTRY, smoke=True), tmp_path, watcher)
    assert (record.status, record.trust) == ("exhausted", "self-reported")
    assert any("split audit" in warning for warning in watcher.warnings)
