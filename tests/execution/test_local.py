"""Many trials on one machine: side by side on cores of their own, stopped and killed at any moment, none lost."""

from __future__ import annotations

import contextlib
import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest

from harness.contract.record import Device
from harness.contract.run import ExecutionOptions, Point, RunSpec
from harness.errors import StoreError, UsageError
from harness.execution import launching, remote, warm
from harness.execution.event_stream import EventForwarder
from harness.execution.local import execute
from harness.execution.resources import Allocation, Machine, list_usable_cores
from harness.execution.state import DEATHS_UNTIL_CRASH, Interrupted, ResourceSlot
from harness.hardware import detect
from harness.hardware.drivers import Gpu
from harness.storage import layout, run_folder
from tests.execution import stub
from tests.execution.helpers import ROOT, outcomes_in, stub_specs, with_hparams
from tests.helpers import Remember

linux = pytest.mark.skipif(sys.platform != "linux", reason="cores are given out on Linux alone")


@pytest.fixture(autouse=True, params=[pytest.param("forked", marks=linux), "fresh"])
def _stub(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test holds for fresh workers and for forked ones."""
    monkeypatch.setattr(launching, "WORKER", stub.COMMAND)
    monkeypatch.setattr(warm, "SERVER", stub.SERVER_COMMAND)
    if request.param == "fresh":
        monkeypatch.setattr("harness.execution.local.can_fork", lambda spec: False)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH")))))


@pytest.fixture(autouse=True)
def _cores_of_our_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another command's trials on this machine are nothing to these tests."""
    monkeypatch.setattr("harness.execution.resources._PREFIX", f"algorace-test-{os.getpid()}-")


def run(specs: list[RunSpec], runs: Path, machine: Machine | None = None, **options: Any) -> Remember:
    watcher = Remember()
    for _ in execute(specs, runs, watcher, ExecutionOptions(**options), machine):
        pass
    return watcher


def said_by_worker(runs: Path, spec: RunSpec) -> str:
    return (runs / layout.run_id(spec) / "worker.log").read_text()


# --- what runs, and what is kept ----------------------------------------------------------------


def test_every_trial_ends_as_one_record_and_is_kept_the_next_time(tmp_path: Path) -> None:
    specs = stub_specs(5, evaluations=2)
    first = run(specs, tmp_path)
    assert {record.run_id for record in first.records} == {layout.run_id(spec) for spec in specs}
    again = run(specs, tmp_path)
    assert again.records == []
    assert [kept.run_id for kept in again.kept_outcomes] == [layout.run_id(spec) for spec in specs]


def test_a_trial_given_twice_runs_once(tmp_path: Path) -> None:
    spec = stub_specs(1)[0]
    assert len(list(execute([spec, spec], tmp_path, Remember()))) == 1


def test_a_damaged_record_is_no_finished_trial(tmp_path: Path) -> None:
    specs = stub_specs(2, evaluations=2)
    run(specs, tmp_path)
    whole = outcomes_in(tmp_path)
    path = tmp_path / layout.run_id(specs[0]) / layout.RECORD
    path.write_bytes(path.read_bytes()[:-200])
    watcher = run(specs, tmp_path)
    assert len(watcher.records) == 1
    assert len(watcher.kept_outcomes) == 1
    assert outcomes_in(tmp_path) == whole


@pytest.mark.slow
def test_failed_trials_are_retried_when_asked_and_only_then(tmp_path: Path) -> None:
    crash = with_hparams(stub_specs(1)[0], dies_at=0)
    specs = [crash, *stub_specs(1, evaluations=2)]
    first = run(specs, tmp_path)
    assert {record.status for record in first.records} == {"crashed", "exhausted"}
    assert run(specs, tmp_path).records == []
    assert [record.status for record in run(specs, tmp_path, retry_failed=True).records] == ["crashed"]


@pytest.mark.slow
def test_two_commands_share_the_trials_of_one_folder(tmp_path: Path) -> None:
    """Each trial runs once, and both commands end with the summaries of all trials."""
    specs = stub_specs(6, evaluations=3, pause=0.05)
    plan, runs = tmp_path / "plan.json", tmp_path / "runs"
    plan.write_bytes(msgspec.json.encode(specs))
    command = [sys.executable, "-c", _COMMAND, str(plan), str(runs)]
    # The other command is running a trial when this command begins, and ends with it or with another trial.
    other = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    _wait_for_a_worker(runs, other)
    summaries = list(execute(specs, runs, Remember(), ExecutionOptions(jobs=1)))
    ids = {layout.run_id(spec) for spec in specs}
    assert {summary.run_id for summary in summaries} == ids
    output, _ = other.communicate(timeout=300)
    run_there = set(output.split())
    assert other.returncode == 0
    assert run_there
    assert run_there | {summary.run_id for summary in summaries if not summary.kept} == ids
    assert not run_there & {summary.run_id for summary in summaries if not summary.kept}
    assert not (runs / layout.SUPERSEDED).exists()
    run(specs, tmp_path / "alone")
    assert outcomes_in(runs) == outcomes_in(tmp_path / "alone")


def test_in_process_another_command_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Even if the other command locks the trial after it was found unlocked."""
    monkeypatch.setattr("harness.execution.local._LOCK_TIMEOUT_S", 0.1)
    monkeypatch.setattr("harness.execution.local.import_worker_transport", lambda: stub.run_job)
    monkeypatch.setattr("harness.execution.scheduler.POLL_INTERVAL_S", 0.0)
    (spec,) = stub_specs(1, evaluations=2)
    held = contextlib.ExitStack()
    held.enter_context(run_folder.RunFolder(tmp_path, layout.run_id(spec)).lock())
    found = iter([None, "4711"])

    def lock_holder(folder: run_folder.RunFolder) -> str | None:
        holder = next(found, None)
        if holder:
            held.close()
        return holder

    monkeypatch.setattr(run_folder.RunFolder, "lock_holder", lock_holder)
    watcher = run([spec], tmp_path, in_process=True)
    assert [record.status for record in watcher.records] == ["exhausted"]
    assert watcher.warnings == ["this trial is already running in another command (process 4711); waiting for it"]


def test_in_process_an_unwritable_folder_is_an_error_after_the_other_trials(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.execution.local.import_worker_transport", lambda: stub.run_job)
    unwritable, writable = stub_specs(2, evaluations=2)
    (tmp_path / layout.run_id(unwritable)).write_text("a file in place of the folder")
    watcher = Remember()
    with pytest.raises(StoreError, match="cannot write"):
        list(execute([unwritable, writable], tmp_path, watcher, ExecutionOptions(in_process=True)))
    assert [record.run_id for record in watcher.records] == [layout.run_id(writable)]


# --- where they run -----------------------------------------------------------------------------


class Meets(Remember):
    """Knows how many trials were running at once, and whether two threads ever called it at once."""

    def __init__(self) -> None:
        super().__init__()
        self.running: set[str] = set()
        self.most = 0
        self.inside = threading.Lock()

    def started(self, spec: RunSpec, resumed: tuple[Point, ...]) -> None:
        assert self.inside.acquire(blocking=False), "two calls at once"
        time.sleep(0.02)
        self.running.add(layout.run_id(spec))
        self.most = max(self.most, len(self.running))
        self.inside.release()

    def finished(self, record: Any) -> None:
        assert self.inside.acquire(blocking=False), "two calls at once"
        time.sleep(0.02)
        self.running.remove(record.run_id)
        self.inside.release()


def _pretend(machine: Machine, spec: RunSpec) -> Any:
    """Cores are counted and nothing is pinned to them."""
    allocation = _take(machine, spec)
    if allocation is not None:
        allocation.slot = ResourceSlot()
    return allocation


_take = Machine.allocate


@pytest.mark.slow
@linux
@pytest.mark.parametrize(("machine", "jobs", "most"), [(2, None, 2), (2, 1, 1), (1, 4, 1)])
def test_as_many_run_at_once_as_fit_and_are_asked_for(
    machine: int, jobs: int | None, most: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # There may be one core here, and that is enough for stubs.
    monkeypatch.setattr("harness.execution.local.Machine.allocate", _pretend)
    watcher = Meets()
    specs = stub_specs(4, evaluations=3, pause=0.15)
    outcomes = list(
        execute(specs, tmp_path, watcher, ExecutionOptions(jobs=jobs), Machine(cores=range(machine), gpus=()))
    )
    assert len(outcomes) == 4
    assert watcher.most == most


@linux
def test_each_worker_is_pinned_to_a_core_that_no_other_has(tmp_path: Path) -> None:
    specs = stub_specs(4, evaluations=2)
    run(specs, tmp_path)
    for spec in specs:
        found = re.search(r"cores (\S+) ", said_by_worker(tmp_path, spec))
        assert found is not None
        assert int(found[1]) in list_usable_cores(), "one core, and one of ours"


@linux
def test_a_trial_gets_a_core_for_each_thread_of_each_rank() -> None:
    machine = Machine(cores=range(10, 16), gpus=())
    spec = stub_specs(1, threads=2)[0]
    one = machine.allocate(spec)
    several = machine.allocate(msgspec.structs.replace(spec, ranks=2))
    assert one is not None
    assert several is not None
    assert (one.slot.cores, several.slot.cores) == ((10, 11), (12, 13, 14, 15))
    assert machine.allocate(spec) is None
    one.release()
    again = machine.allocate(spec)
    assert again is not None
    assert again.slot.cores == (10, 11)
    again.release()
    several.release()


@linux
def test_gpus_are_given_out_one_to_a_rank_with_a_share_of_the_cores() -> None:
    machine = Machine(cores=range(20, 28), gpus=("0", "1", "2", "3"))
    spec = msgspec.structs.replace(stub_specs(1)[0], device="cuda")
    one, two = machine.allocate(spec), machine.allocate(msgspec.structs.replace(spec, ranks=2))
    assert one is not None
    assert two is not None
    assert (one.slot.gpus, one.slot.cores) == (("0",), (20, 21))
    assert (two.slot.gpus, two.slot.cores) == (("1", "2"), (22, 23, 24, 25))
    assert machine.allocate(msgspec.structs.replace(spec, ranks=2)) is None
    by_number = machine.allocate(msgspec.structs.replace(spec, device="cuda:3"))
    assert by_number is not None
    assert by_number.slot.gpus == (), "asked for by its number, it is visible under that number"
    assert machine.allocate(spec) is None
    for allocation in (one, two, by_number):
        allocation.release()


@linux
def test_ranks_from_a_gpu_on_are_given_that_one_and_the_next() -> None:
    """As the worker counts them; with fewer than that the trial would wait for ever."""
    machine = Machine(cores=range(20, 28), gpus=("0", "1", "2"))
    spec = msgspec.structs.replace(stub_specs(1)[0], device="cuda:1", ranks=2)
    allocation = machine.allocate(spec)
    assert allocation is not None
    assert allocation.names == ("1", "2")
    assert allocation.slot.gpus == ()
    assert machine.allocate(msgspec.structs.replace(spec, device="cuda:2", ranks=1)) is None
    allocation.release()


@linux
def test_a_gpu_is_reserved_once_under_all_its_names(monkeypatch: pytest.MonkeyPatch) -> None:
    card = Device(name="NVIDIA H100", memory_mib=1)
    gpus = tuple(Gpu(index=index, uuid=f"GPU-bbb{index}", device=card) for index in (0, 1))
    monkeypatch.setattr(detect, "all_gpus", lambda: gpus)
    spec = msgspec.structs.replace(stub_specs(1)[0], device="cuda")
    by_index, by_uuid = Machine(cores=(), gpus=("1",)), Machine(cores=(), gpus=("GPU-bbb1",))
    first = by_index.allocate(spec)
    assert first is not None
    assert by_uuid.allocate(spec) is None
    first.release()
    second = by_uuid.allocate(spec)
    assert second is not None
    assert second.slot.gpus == ("GPU-bbb1",), "the worker sees the name of its own command"
    assert by_index.allocate(spec) is None
    second.release()
    partitions = Machine(cores=(), gpus=("MIG-GPU-bbb1/1/0", "MIG-GPU-bbb1/2/0"))
    both = partitions.allocate(msgspec.structs.replace(spec, ranks=2))
    assert both is not None, "partitions of one GPU are separate"
    both.release()


def test_on_a_node_gpus_of_others_are_waited_for_and_cores_are_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where wall seconds are scored, sharing would spoil both trials."""
    free = Allocation(("0",), [])
    answers: list[Allocation | None] = [None, None, free, None]
    monkeypatch.setattr(remote, "_POLL_INTERVAL_S", 0.0)
    monkeypatch.setattr(Machine, "allocate", lambda self, spec: answers.pop(0))
    said: list[bytes] = []
    spec = stub_specs(1)[0]
    relay = EventForwarder(layout.run_id(spec), said.append)
    assert remote._allocate(msgspec.structs.replace(spec, device="cuda"), relay) is free
    assert sum(b"waiting for them" in line for line in said) == 1, "said once"
    assert remote._allocate(spec, relay) is None
    assert b"runs unpinned" in said[-1]


def test_ranks_from_a_gpu_on_that_are_not_there_are_a_usage_error(tmp_path: Path) -> None:
    spec = msgspec.structs.replace(stub_specs(1)[0], device="cuda:1", ranks=2)
    with pytest.raises(UsageError, match="2 GPUs from GPU 1 on; this machine has 2"):
        run([spec], tmp_path, Machine(cores=(0,), gpus=("0", "1")))


def test_a_gpu_is_visible_to_its_worker_alone(tmp_path: Path) -> None:
    specs = [msgspec.structs.replace(spec, device="cuda") for spec in stub_specs(2, evaluations=1)]
    run(specs, tmp_path, Machine(cores=(), gpus=("4", "GPU-7")))
    seen = {re.search(r"gpus (\S+)", said_by_worker(tmp_path, spec))[1] for spec in specs}  # type: ignore[index]
    assert seen <= {"4", "GPU-7"}


def test_more_gpus_than_there_are_is_a_usage_error(tmp_path: Path) -> None:
    spec = msgspec.structs.replace(stub_specs(1)[0], device="cuda", ranks=3)
    with pytest.raises(UsageError, match="3 GPUs; this machine has 2"):
        run([spec], tmp_path, Machine(cores=(0,), gpus=("0", "1")))


@linux
def test_another_commands_core_is_left_alone_until_none_is_left(tmp_path: Path) -> None:
    """Cores are held by name across processes; with none left a trial runs all the same, and says so."""
    machine = Machine(cores=list_usable_cores()[:1], gpus=())
    spec = stub_specs(1, evaluations=1)[0]
    held = machine.allocate(spec)
    assert held is not None
    watcher = run([spec], tmp_path, machine)
    held.release()
    assert [record.status for record in watcher.records] == ["exhausted"]
    assert any("reserved by trials of other commands" in warning for warning in watcher.warnings)


# --- what dies ----------------------------------------------------------------------------------


def test_a_killed_workers_trial_goes_on_at_once(tmp_path: Path) -> None:
    spec = stub_specs(1, evaluations=5)[0]
    undisturbed = run([spec], tmp_path / "whole").records[0]
    watcher = Remember()
    dies = with_hparams(spec, dies_once_at=3)
    (outcome,) = execute([dies], tmp_path / "runs", watcher)
    assert outcome.status == "exhausted"
    assert watcher.resumed == [0, 3]
    assert any("killed by SIGKILL" in warning for warning in watcher.warnings)
    assert [p.metrics for p in watcher.records[0].points] == [p.metrics for p in undisturbed.points]


def test_a_worker_that_is_killed_over_and_over_has_crashed_and_the_others_have_not(tmp_path: Path) -> None:
    specs = stub_specs(3, evaluations=2)
    specs[1] = with_hparams(specs[1], dies_at=1)
    watcher = run(specs, tmp_path)
    statuses = {record.run_id: record.status for record in watcher.records}
    assert [statuses[layout.run_id(spec)] for spec in specs] == ["exhausted", "crashed", "exhausted"]
    assert len(watcher.warnings) == DEATHS_UNTIL_CRASH - 1


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_being_stopped_leaves_a_record_of_each_trial_that_ran(sent: signal.Signals, tmp_path: Path) -> None:
    specs = stub_specs(4, evaluations=100_000, pause=0.05)
    watcher = Remember()

    def stop() -> None:
        while len(watcher.points) < 6:
            time.sleep(0.01)
        os.kill(os.getpid(), sent)

    before = signal.getsignal(sent)
    threading.Thread(target=stop, daemon=True).start()
    with pytest.raises(Interrupted) as stopped:
        list(execute(specs, tmp_path, watcher, ExecutionOptions()))
    assert stopped.value.exit_code == 130
    assert signal.getsignal(sent) == before
    # A trial whose worker was still starting has a record, too.
    assert len(watcher.records) >= len(watcher.resumed) >= 1, "one for each that had started"
    assert {(record.status, record.reason) for record in watcher.records} == {("interrupted", "stopped by the user")}
    assert threading.active_count() == 1 or not [t for t in threading.enumerate() if t.name.startswith("run-")]


def test_whoever_stops_listening_stops_the_trials(tmp_path: Path) -> None:
    watcher = Remember()
    outcomes = execute(
        [*stub_specs(1, evaluations=1), *stub_specs(2, evaluations=100_000, pause=0.05)], tmp_path, watcher
    )
    next(outcomes)
    outcomes.close()  # type: ignore[attr-defined]
    assert not [t for t in threading.enumerate() if t.name.startswith("run-")]
    assert {record.status for record in watcher.records} <= {"exhausted", "interrupted"}


_SUPERVISOR = """
import sys
from pathlib import Path
import msgspec
from harness.execution.local import execute
from harness.contract.run import ExecutionOptions, RunSpec
from harness.report.progress import Plain
from tests.execution import stub
stub.install()
specs = msgspec.json.decode(Path(sys.argv[1]).read_bytes(), type=list[RunSpec])
for outcome in execute(specs, Path(sys.argv[2]), Plain(len(specs)), ExecutionOptions()):
    print(outcome.status, flush=True)
"""

#: Runs one trial at a time, and prints the run_ids of those that it runs itself.
_COMMAND = """
import sys
from pathlib import Path
import msgspec
from harness.execution.local import execute
from harness.contract.run import ExecutionOptions, RunSpec
from tests.execution import stub
from tests.helpers import Remember
stub.install()
specs = msgspec.json.decode(Path(sys.argv[1]).read_bytes(), type=list[RunSpec])
for outcome in execute(specs, Path(sys.argv[2]), Remember(), ExecutionOptions(jobs=1)):
    if not outcome.kept:
        print(outcome.run_id, flush=True)
"""


@pytest.mark.slow
def test_killed_at_any_moment_and_given_again_the_records_are_those_of_an_undisturbed_run(tmp_path: Path) -> None:
    """SIGKILL to the supervisor and to workers, at seeded moments."""
    specs = stub_specs(8, evaluations=6, pause=0.04)
    run(specs, tmp_path / "whole")
    plan, runs = tmp_path / "plan.json", tmp_path / "runs"
    plan.write_bytes(msgspec.json.encode(specs))
    chance = random.Random(5)
    for victim in ("supervisor", "worker", "supervisor"):
        process = subprocess.Popen([sys.executable, "-c", _SUPERVISOR, str(plan), str(runs)], stderr=subprocess.DEVNULL)
        _wait_for_a_worker(runs, process)
        time.sleep(chance.uniform(0.0, 0.6))
        if victim == "worker":
            for pid in _children(process.pid)[:1]:
                os.kill(pid, signal.SIGKILL)
            time.sleep(0.1)
        process.kill()
        process.wait()
    run(specs, runs)
    assert outcomes_in(runs) == outcomes_in(tmp_path / "whole")


def _children(pid: int) -> list[int]:
    listed = subprocess.run(["pgrep", "-P", str(pid)], capture_output=True, text=True, check=False).stdout
    return [int(line) for line in listed.split()]


def _wait_for_a_worker(runs: Path, process: subprocess.Popen[Any]) -> None:
    deadline = time.monotonic() + 300
    while not (process.poll() is not None or _children(process.pid)):
        assert time.monotonic() < deadline
        time.sleep(0.02)
