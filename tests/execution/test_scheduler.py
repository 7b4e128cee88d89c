"""What is common to all executors, with a backend that does as it is told."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from harness.contract.events import Done, WorkerEvent
from harness.contract.record import TrialSummary
from harness.contract.run import ExecutionOptions, Job, RunSpec
from harness.errors import StoreError, TrialLockedError, UsageError
from harness.execution.scheduler import LostTrial, Result, run_all
from harness.execution.state import Interrupted
from harness.execution.trial import run_trial, trial_summary, write_final_record
from harness.storage import layout, records
from harness.storage.layout import run_id
from harness.storage.run_folder import RunFolder
from harness.system import locks
from tests.execution.helpers import stub_specs
from tests.helpers import Remember


class Scripted:
    """Ends each trial with the next of its results: a `LostTrial`, an error, or its record.

    Args:
        script: for a trial by its number, what comes before its record.
        room: trials at once.
    """

    def __init__(self, runs: Path, script: dict[int, list[Result]], room: int = 2) -> None:
        self.runs, self.script, self.room = runs, script, room
        self.started: list[tuple[int, ExecutionOptions]] = []
        self.running: list[RunSpec] = []
        self.stopped = 0

    def start(self, spec: RunSpec, options: ExecutionOptions) -> bool:
        if len(self.running) == self.room:
            return False
        self.started.append((spec.trial, options))
        self.running.append(spec)
        return True

    def wait_for_ended(self) -> Iterable[tuple[str, Result]]:
        spec = self.running.pop(0)
        results = self.script.get(spec.trial, [])
        if results:
            yield run_id(spec), results.pop(0)
            return

        def reaches(job: Job, receive: Callable[[WorkerEvent], None]) -> None:
            receive(Done(status="exhausted"))

        record, kept = run_trial(spec, self.runs, Remember(), self.started[-1][1], reaches)
        yield run_id(spec), trial_summary(spec, self.runs, record, kept)

    def stop(self) -> None:
        self.stopped += 1
        self.running.clear()


def carried_out(
    backend: Scripted, specs: list[RunSpec], watcher: Remember | None = None, options: ExecutionOptions | None = None
) -> list[TrialSummary]:
    return list(run_all(backend, specs, backend.runs, watcher or Remember(), options or ExecutionOptions()))


def test_a_lost_trial_is_started_again_before_those_that_wait(tmp_path: Path) -> None:
    watcher = Remember()
    backend = Scripted(tmp_path, {0: [LostTrial("its node died")]}, room=1)
    outcomes = carried_out(backend, stub_specs(3), watcher, ExecutionOptions(force=True))
    assert [trial for trial, _ in backend.started] == [0, 0, 1, 2]
    assert [outcome.status for outcome in outcomes] == ["exhausted"] * 3
    assert watcher.warnings == ["its node died; starting it again"]
    assert [options.force for _, options in backend.started] == [True, False, True, True], (
        "what it has done is not set aside"
    )


def test_three_losses_without_progress_are_a_crash(tmp_path: Path) -> None:
    watcher = Remember()
    backend = Scripted(tmp_path, {0: [LostTrial("its node died", steps=8)] * 9})
    (outcome,) = carried_out(backend, stub_specs(1), watcher)
    assert (outcome.status, outcome.kept) == ("crashed", False)
    assert outcome.reason == "its node died, 3 times in a row without progress"
    assert [record.status for record in watcher.records] == ["crashed"]
    (record,), problems = records.read_all([tmp_path])
    assert (record.status, problems) == ("crashed", [])


def test_losses_that_get_further_each_time_are_no_crash(tmp_path: Path) -> None:
    losses: list[Result] = [LostTrial("its node died", steps=8 * i) for i in range(1, 9)]
    (outcome,) = carried_out(Scripted(tmp_path, {0: losses}), stub_specs(1))
    assert outcome.status == "exhausted"


def test_losses_that_never_get_beyond_the_best_one_are_a_crash(tmp_path: Path) -> None:
    """As where storage is not shared, and each attempt starts from the beginning."""
    losses: list[Result] = [LostTrial("its node died", steps=steps) for steps in (64, 8, 16, 24, 32)]
    (outcome,) = carried_out(Scripted(tmp_path, {0: losses}), stub_specs(1))
    assert outcome.status == "crashed"


def test_a_trial_that_ended_just_before_it_was_lost_is_not_run_twice(tmp_path: Path) -> None:
    specs = stub_specs(1)
    carried_out(Scripted(tmp_path, {}), specs)
    first = (tmp_path / run_id(specs[0]) / layout.RECORD).read_bytes()
    # The driver had started it before there was a record.
    backend = Scripted(tmp_path, {0: [LostTrial("its node died")]})
    (outcome,) = carried_out(backend, specs, options=ExecutionOptions(force=True))
    assert not outcome.kept
    assert (tmp_path / run_id(specs[0]) / layout.RECORD).read_bytes() == first


def test_an_unwritable_trial_leaves_the_others_alone_and_is_the_last_word(tmp_path: Path) -> None:
    backend = Scripted(tmp_path, {0: [StoreError("no room")]}, room=1)
    outcomes = run_all(backend, stub_specs(3), tmp_path, Remember(), ExecutionOptions())
    assert [next(outcomes).status for _ in range(2)] == ["exhausted"] * 2
    with pytest.raises(StoreError, match="no room"):
        next(outcomes)


def test_any_other_error_ends_everything(tmp_path: Path) -> None:
    backend = Scripted(tmp_path, {0: [UsageError("of another class")]}, room=1)
    with pytest.raises(UsageError):
        carried_out(backend, stub_specs(3))
    assert backend.stopped
    assert [trial for trial, _ in backend.started] == [0]


def test_ctrl_c_stops_what_runs(tmp_path: Path) -> None:
    backend = Scripted(tmp_path, {})

    def interrupted() -> Iterable[tuple[str, Result]]:
        os.kill(os.getpid(), 2)
        return []

    backend.wait_for_ended = interrupted  # type: ignore[method-assign]
    with pytest.raises(Interrupted):
        carried_out(backend, stub_specs(3))
    assert backend.stopped


def test_finished_trials_are_neither_locked_nor_touched(tmp_path: Path) -> None:
    specs = stub_specs(30)
    carried_out(Scripted(tmp_path, {}), specs)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    backend = Scripted(tmp_path, {})
    assert all(outcome.kept for outcome in carried_out(backend, specs))
    assert backend.started == []
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


@pytest.mark.parametrize("end", ["finished", "stopped"])
def test_trials_of_another_command_come_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, end: str) -> None:
    """Its record is kept if it finishes the trial. If it was stopped, the trial runs here."""
    specs = stub_specs(3)
    watcher = Remember()
    backend = Scripted(tmp_path, {}, room=1)
    other = contextlib.ExitStack()
    other.enter_context(RunFolder(tmp_path, run_id(specs[0])).lock())
    polls: list[float] = []

    def the_other_ends(seconds: float) -> None:
        polls.append(seconds)
        assert [trial for trial, _ in backend.started] == [1, 2]
        if len(polls) == 2:
            other.close()
            if end == "finished":
                carried_out(Scripted(tmp_path, {}), specs[:1])

    monkeypatch.setattr("harness.execution.scheduler.time.sleep", the_other_ends)
    outcomes = carried_out(backend, specs, watcher)
    assert [(one.spec.trial, one.kept) for one in outcomes] == [(1, False), (2, False), (0, end == "finished")]
    assert [trial for trial, _ in backend.started] == [1, 2] + [0] * (end == "stopped")
    warning = f"this trial is already running in another command (process {os.getpid()}); waiting for it"
    assert watcher.warnings == [warning], "said once"
    assert len(polls) == 2


def test_trials_that_another_command_has_finished_meanwhile_are_kept(tmp_path: Path) -> None:
    specs = stub_specs(2)
    backend = Scripted(tmp_path, {}, room=1)
    outcomes = run_all(backend, specs, tmp_path, Remember(), ExecutionOptions())
    assert next(outcomes).spec.trial == 0
    carried_out(Scripted(tmp_path, {}), specs)
    assert next(outcomes).kept
    assert [trial for trial, _ in backend.started] == [0]


def test_a_trial_that_another_command_locks_first_is_tried_again(tmp_path: Path) -> None:
    backend = Scripted(tmp_path, {0: [TrialLockedError("locked")] * 3}, room=1)
    outcomes = carried_out(backend, stub_specs(2))
    assert [one.spec.trial for one in outcomes] == [1, 0]


@pytest.mark.parametrize("options", [ExecutionOptions(force=True), ExecutionOptions(retry_failed=True)])
@pytest.mark.parametrize("is_seen_locked", [True, False])
def test_records_of_another_command_are_not_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: ExecutionOptions, is_seen_locked: bool
) -> None:
    """Two commands with `--force` or `--retry-failed` repeat each trial once, and not once each."""
    specs = stub_specs(2)
    for spec in specs:
        write_final_record(spec, tmp_path, Remember(), "crashed", "before both commands")
    other = contextlib.ExitStack()
    if is_seen_locked:
        other.enter_context(RunFolder(tmp_path, run_id(specs[1])).lock())
    backend = Scripted(tmp_path, {}, room=1)
    outcomes = run_all(backend, specs, tmp_path, Remember(), options)
    assert not next(outcomes).kept

    def the_other_repeats_the_second_trial() -> None:
        other.close()
        RunFolder(tmp_path, run_id(specs[1])).supersede()
        write_final_record(specs[1], tmp_path, Remember(), "crashed", "in the other command")

    monkeypatch.setattr("harness.execution.scheduler.time.sleep", lambda _: the_other_repeats_the_second_trial())
    if not is_seen_locked:
        the_other_repeats_the_second_trial()
    summary = next(outcomes)
    assert (summary.kept, summary.reason) == (True, "in the other command")
    assert [trial for trial, _ in backend.started] == [0]


def test_a_lost_trial_whose_old_lock_lingers_is_an_error_and_no_endless_loop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file server releases the lock of a dead machine late, when the trial has been lost for the third time."""
    (spec,) = stub_specs(1)
    backend = Scripted(tmp_path, {0: [LostTrial("its node died")] * 9})
    lock = RunFolder.lock

    def wait_briefly(folder: RunFolder, timeout: float = 10.0) -> Any:
        return lock(folder, min(timeout, 0.1))

    monkeypatch.setattr(RunFolder, "lock_holder", lambda folder: None)
    monkeypatch.setattr(RunFolder, "lock", wait_briefly)
    with RunFolder(tmp_path, run_id(spec)).lock(), pytest.raises(StoreError, match="already running"):
        carried_out(backend, [spec])
    assert len(backend.started) == 3


def test_a_folder_of_another_user_is_an_error_at_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether its files exist cannot be found out."""
    specs = stub_specs(2)
    lock, exists = tmp_path / run_id(specs[0]) / "lock", Path.exists

    def check(path: Path) -> bool:
        if path == lock:
            raise PermissionError(errno.EACCES, "Permission denied")
        return exists(path)

    monkeypatch.setattr(Path, "exists", check)
    outcomes = run_all(Scripted(tmp_path, {}), specs, tmp_path, Remember(), ExecutionOptions())
    assert next(outcomes).spec.trial == 1
    with pytest.raises(StoreError, match=r"cannot write .*lock"):
        next(outcomes)


def test_a_trial_whose_lock_cannot_be_opened_is_an_error_at_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    specs = stub_specs(2)
    lock = tmp_path / run_id(specs[0]) / "lock"
    lock.parent.mkdir()
    lock.touch()

    def take_lock(path: Path, **options: object) -> int:
        if path == lock:
            raise PermissionError(errno.EACCES, "Permission denied")
        return locks.take_lock(path)

    monkeypatch.setattr("harness.storage.run_folder.take_lock", take_lock)
    outcomes = run_all(Scripted(tmp_path, {}), specs, tmp_path, Remember(), ExecutionOptions())
    assert next(outcomes).spec.trial == 1
    with pytest.raises(StoreError, match=r"cannot write .*lock"):
        next(outcomes)
