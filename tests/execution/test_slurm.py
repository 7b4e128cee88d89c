"""Trials as submitit's jobs, with its own executor for this machine in the place of Slurm."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path

import pytest

from harness.contract.record import TrialSummary
from harness.contract.run import ExecutionOptions, Point, RunSpec
from harness.errors import UsageError
from harness.execution import launching, slurm
from harness.execution.local import execute as execute_local
from harness.execution.slurm import execute
from harness.execution.state import Interrupted
from harness.storage import layout, records
from tests.execution import stub
from tests.execution.helpers import ROOT, outcomes_in, stub_specs
from tests.execution.stub_job import StubJob
from tests.helpers import Remember

submitit = pytest.importorskip("submitit")
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")


@pytest.fixture(autouse=True)
def _stub_in_jobs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Jobs are processes of their own: they are given the stub worker as they start."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH")))))
    monkeypatch.setattr(slurm, "TrialJob", StubJob)
    # How long the result of a job that has died is waited for, for the sake of slow file servers.
    monkeypatch.setattr(submitit.core.core.Job, "_results_timeout_s", 1, raising=False)
    monkeypatch.setattr(launching, "WORKER", stub.COMMAND)


def run(specs: list[RunSpec], runs: Path, watcher: Remember | None = None, **options: str) -> list[TrialSummary]:
    execution = ExecutionOptions(jobs=2, options={"cluster": "local", **options})
    return list(execute(specs, runs, watcher or Remember(), execution))


@pytest.mark.slow
def test_a_plan_ends_as_on_this_machine_and_is_kept_the_next_time(tmp_path: Path) -> None:
    specs = stub_specs(3, evaluations=2)
    watcher = Remember()
    outcomes = run(specs, tmp_path / "runs", watcher)
    assert [outcome.kept for outcome in outcomes] == [False] * 3
    list(execute_local(specs, tmp_path / "here", Remember(), ExecutionOptions(fresh_workers=True)))
    assert outcomes_in(tmp_path / "runs") == outcomes_in(tmp_path / "here")
    assert (len(watcher.resumed), len(watcher.points), len(watcher.records)) == (3, 6, 3)
    assert [outcome.kept for outcome in run(specs, tmp_path / "runs")] == [True] * 3
    left = [path for path in (tmp_path / "runs" / ".slurm").rglob("*") if path.is_file()]
    assert left == [], "jobs that ended well leave nothing"


@pytest.mark.slow
def test_messages_to_a_killed_command_are_not_read_again(tmp_path: Path) -> None:
    (spec,) = stub_specs(1, evaluations=2)
    options = ExecutionOptions(options={"cluster": "local"}, force=True)
    # A command that is killed neither reads nor removes the messages of its job.
    killed = slurm._Queue(tmp_path, Remember(), {**slurm.OPTIONS, "cluster": "local"})
    killed.start(spec, options)
    ((_, job, _),) = killed._jobs.values()
    job.wait()
    watcher = Remember()
    list(execute([spec], tmp_path, watcher, options))
    assert (watcher.resumed, len(watcher.points), len(watcher.records)) == ([0], 2, 1)


class Signals(Remember):
    """Sends a signal to the supervisor of a trial, once, when so many evaluations have come."""

    def __init__(self, sent: signal.Signals, runs: Path, after: int) -> None:
        super().__init__()
        self._sent, self._runs, self._after = sent, runs, after

    def evaluated(self, spec: RunSpec, point: Point) -> None:
        super().evaluated(spec, point)
        if len(self.points) == self._after:
            holder = (self._runs / layout.run_id(spec) / "lock").read_text()
            os.kill(int(holder), self._sent)


@pytest.mark.slow
@pytest.mark.parametrize("sent", [signal.SIGUSR2, signal.SIGKILL], ids=["preempted", "killed"])
def test_a_job_that_is_preempted_or_dies_goes_on_from_its_checkpoint(sent: signal.Signals, tmp_path: Path) -> None:
    specs = stub_specs(1, evaluations=12, pause=0.2)
    watcher = Signals(sent, tmp_path / "runs", after=3)
    (outcome,) = run(specs, tmp_path / "runs", watcher)
    assert outcome.status == "exhausted"
    assert watcher.resumed[0] == 0
    assert 3 <= watcher.resumed[1] < 12
    assert any("ended without a result" in warning for warning in watcher.warnings) == (sent == signal.SIGKILL)
    list(execute_local(specs, tmp_path / "here", Remember(), ExecutionOptions(fresh_workers=True)))
    assert outcomes_in(tmp_path / "runs") == outcomes_in(tmp_path / "here")


@pytest.mark.slow
def test_being_stopped_ends_the_jobs_and_leaves_records(tmp_path: Path) -> None:
    watcher = Remember()

    def stop() -> None:
        while len(watcher.points) < 2:
            time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=stop, daemon=True).start()
    with pytest.raises(Interrupted):
        run(stub_specs(1, evaluations=100_000, pause=0.1), tmp_path, watcher)
    (record,), problems = records.read_all([tmp_path])
    assert problems == []
    assert record.status == "interrupted"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"cluster": "slurm"}, "Slurm is not installed"),
        ({"cluster": "cloud"}, "slurm or local"),
        ({"minutes": "-1"}, "non-negative number"),
        ({"queue": "long"}, "no option 'queue'"),
    ],
)
def test_wrong_options_are_usage_errors(
    options: dict[str, str], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(UsageError, match=words):
        run(stub_specs(1), tmp_path, None, **options)


def test_a_job_that_slurm_refuses_is_a_usage_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Such as a partition that does not exist: sbatch says so, and the user hears it."""
    sbatch = tmp_path / "bin" / "sbatch"
    sbatch.parent.mkdir()
    sbatch.write_text("#!/bin/sh\necho 'sbatch: error: invalid partition specified: lnog' >&2\nexit 1\n")
    sbatch.chmod(0o755)
    (sbatch.parent / "srun").symlink_to(sbatch)
    monkeypatch.setenv("PATH", f"{sbatch.parent}{os.pathsep}{os.environ['PATH']}")
    with pytest.raises(UsageError, match="invalid partition specified: lnog") as refused:
        run(stub_specs(1), tmp_path / "runs", cluster="slurm", partition="lnog")
    assert "partition=lnog" in str(refused.value)


def test_what_a_job_asks_for() -> None:
    spec = stub_specs(1, threads=4)[0]
    options = {**slurm.OPTIONS, "partition": "long", "minutes": "90", "memory": "16"}
    assert slurm.parameters(spec, options) == {
        "name": "bench-base", "timeout_min": 90, "cpus_per_task": 4, "mem_gb": 16.0, "slurm_partition": "long",
    }  # fmt: skip
