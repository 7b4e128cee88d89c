"""The processes of a trial start at the same time. If one of them fails, none is left."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from harness.contract.run import Job
from harness.execution.launching import LaunchedWorker, StartingWorker, WorkerStart
from harness.execution.state import ResourceSlot, StopSignal, Trial
from harness.execution.trial_processes import TrialProcesses
from harness.storage.run_folder import RunFolder
from tests.helpers import Remember, spec_of, submission


class FakeProcess:
    """A process that notes what is done with it."""

    pid, forked = 1, True

    def __init__(self, start: WorkerStart, notes: list[str], fails: BaseException | None) -> None:
        self.start, self.notes, self.fails = start, notes, fails

    def finish(self) -> LaunchedWorker:
        os.fstat(self.start.events)  # the descriptors are open until the process has started
        self.notes.append(f"{self.start.role} finishes")
        if self.fails is not None:
            raise self.fails
        return self

    def cancel(self) -> None:
        self.notes.append(f"{self.start.role} is cancelled")

    def send(self, line: bytes) -> None:
        self.notes.append(f"{self.start.role} gets {len(line.splitlines())} job")

    def wait(self, timeout: float) -> int | None:
        return 0

    def kill(self) -> int:
        self.notes.append(f"{self.start.role} is killed")
        return -9

    def close(self) -> None:
        pass


class FakeLauncher:
    """A launcher without processes. The process with the role `failing` raises an error while it starts."""

    def __init__(self, failing: str = "", error: BaseException | None = None) -> None:
        self.notes: list[str] = []
        self.events: list[int] = []
        self._failing, self._error = failing, error

    def begin(self, start: WorkerStart) -> StartingWorker:
        self.notes.append(f"{start.role} begins")
        self.events.append(start.events)
        return FakeProcess(start, self.notes, self._error if start.role == self._failing else None)


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[[FakeLauncher], tuple[TrialProcesses, Job]]]:
    spec = spec_of(submission("tests.submissions_for_tests:Noisy"))
    folder = RunFolder(tmp_path, "run")

    def processes(launcher: FakeLauncher) -> tuple[TrialProcesses, Job]:
        trial = Trial.continue_from(None, spec, folder.identity, Remember())
        job = Job(spec=spec, folder=str(folder.worker_path), evaluation_folder=str(folder.path))
        return TrialProcesses(folder, trial, ResourceSlot(), StopSignal(), launcher), job

    with folder.lock():
        yield processes


def test_both_processes_begin_before_one_is_waited_for(
    make: Callable[[FakeLauncher], tuple[TrialProcesses, Job]],
) -> None:
    launcher = FakeLauncher()
    processes, job = make(launcher)
    processes.start(job)
    assert launcher.notes == [
        "evaluator begins",
        "worker begins",
        "evaluator finishes",
        "evaluator gets 1 job",
        "worker finishes",
    ]
    for descriptor in launcher.events:
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(descriptor)
    processes.kill()
    processes.clean_up()
    assert launcher.notes[-2:] == ["evaluator is killed", "worker is killed"]


@pytest.mark.parametrize(
    ("failing", "last"),
    [("evaluator", ["worker is cancelled"]), ("worker", ["evaluator is killed"])],
)
def test_if_one_process_fails_the_other_is_ended(
    failing: str, last: list[str], make: Callable[[FakeLauncher], tuple[TrialProcesses, Job]]
) -> None:
    launcher = FakeLauncher(failing, KeyboardInterrupt())
    processes, job = make(launcher)
    with pytest.raises(KeyboardInterrupt):
        processes.start(job)
    processes.kill()
    processes.clean_up()
    assert launcher.notes[-1:] == last
