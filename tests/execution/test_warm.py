"""Forked workers: the same worker as a fresh one, and a fresh one where forking fails."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from harness.contract.forking import ANSWER, ENDED
from harness.contract.run import ExecutionOptions, RunSpec
from harness.execution import launching, warm
from harness.execution.launching import FreshLauncher, WorkerStart
from harness.execution.local import execute
from harness.execution.resources import Allocation
from harness.execution.state import Interrupted, StopSignal
from harness.execution.warm import ForkServer, WarmLauncher, can_fork
from harness.storage import layout
from harness.storage.records import read_record
from tests.execution import stub
from tests.execution.helpers import ROOT, outcomes_in, stub_specs, with_hparams
from tests.helpers import Remember, outcome, spec_of, submission

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="workers are forked on Linux alone")


@pytest.fixture(autouse=True)
def _stub(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(launching, "WORKER", stub.COMMAND)
    monkeypatch.setattr(warm, "SERVER", stub.SERVER_COMMAND)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH")))))
    monkeypatch.setattr("harness.execution.resources._PREFIX", f"algorace-test-{os.getpid()}-")
    ForkServer.close_all()
    yield
    ForkServer.close_all()


def run(specs: list[RunSpec], runs: Path, watcher: Remember | None = None, **options: Any) -> Remember:
    watcher = watcher or Remember()
    list(execute(specs, runs, watcher, ExecutionOptions(**options)))
    return watcher


def forked(watcher: Remember) -> list[bool]:
    return [record.usage.forked for record in watcher.records]


def server_pids() -> list[int]:
    return [server._process.pid for server in ForkServer._servers if server.is_running()]


# --- which trials -------------------------------------------------------------------------------


_NOT_FORKED: list[tuple[str, Any]] = [("threads", 2), ("ranks", 2), ("device", "cuda"), ("profile", True)]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, True),
        ({"threads": 2}, False),
        ({"ranks": 2}, False),
        ({"device": "cuda"}, False),
        ({"profile": True}, False),
    ],
    ids=str,
)
def test_only_a_trial_on_one_thread_of_the_cpu_is_forked(change: dict[str, Any], expected: bool) -> None:
    assert can_fork(msgspec.structs.replace(stub_specs(1)[0], **change)) is expected


def test_a_trial_whose_loss_is_compiled_is_not_forked() -> None:
    spec = stub_specs(1)[0]
    precision = msgspec.structs.replace(spec.workload.facts.precision, compile=True)
    facts = msgspec.structs.replace(spec.workload.facts, precision=precision)
    assert not can_fork(msgspec.structs.replace(spec, workload=msgspec.structs.replace(spec.workload, facts=facts)))


def test_one_server_forks_the_workers_of_several_calls_and_fresh_workers_can_be_requested(tmp_path: Path) -> None:
    specs = stub_specs(4, evaluations=2)
    assert forked(run(specs[:2], tmp_path)) == [True, True]
    (server,) = server_pids()
    assert forked(run(specs[2:3], tmp_path)) == [True]
    assert server_pids() == [server]
    assert forked(run(specs[3:], tmp_path, fresh_workers=True)) == [False]


def test_a_server_starts_before_its_first_worker_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    launcher = WarmLauncher()
    launcher.prepare(dict(os.environ))
    (server,) = server_pids()
    launcher.prepare(dict(os.environ))
    assert server_pids() == [server]
    monkeypatch.setattr(warm, "SERVER", ["/no/such/program"])
    launcher.prepare(dict(os.environ))  # the launch of the worker reports the error


def test_workers_with_another_environment_have_another_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    specs = stub_specs(2, evaluations=2)
    run(specs[:1], tmp_path)
    monkeypatch.setenv("SOME_SETTING", "1")
    assert forked(run(specs[1:], tmp_path)) == [True]
    assert len(server_pids()) == 2


# --- what a worker is given ---------------------------------------------------------------------


def test_a_forked_worker_is_given_what_a_fresh_one_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Environment, folders, descriptors, session, signals and threads; it inherits nothing of another worker."""
    monkeypatch.setattr("harness.execution.local.Machine.allocate", lambda self, spec: Allocation((), []))
    other, spec = stub_specs(2, evaluations=2)
    specs = [with_hparams(other, evaluations=500, pause=0.05), with_hparams(spec, describes=1)]
    description = {}
    for fresh in (False, True):
        options = ExecutionOptions(jobs=2, fresh_workers=fresh, force=True)
        outcomes = execute(specs, tmp_path, Remember(), options)
        path = Path(next(iter(outcomes)).path)
        outcomes.close()  # type: ignore[attr-defined]
        assert read_record(path / layout.RECORD).usage.forked is not fresh
        lines = (path / "worker.log").read_text().splitlines()
        description[fresh] = next(json.loads(line) for line in reversed(lines) if line.startswith("{"))
    assert description[False] == description[True]


# --- what fails ---------------------------------------------------------------------------------


def test_where_no_server_starts_workers_are_fresh_and_the_user_is_told_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(warm, "SERVER", [sys.executable, "-c", "raise SystemExit('no torch here')"])
    watcher = run(stub_specs(3, evaluations=2), tmp_path)
    assert [record.status for record in watcher.records] == ["exhausted"] * 3
    assert forked(watcher) == [False] * 3
    # Beside another command there is a warning about reserved cores, too.
    told = [warning for warning in watcher.warnings if "no torch here" in warning]
    assert len(told) == 1, watcher.warnings


def _start(warn: Callable[[str], None]) -> WorkerStart:
    environment = dict(os.environ)
    return WorkerStart(events=1, lock=1, log=1, cores=(), environment=environment, stop=StopSignal(), warn=warn)


def test_if_several_workers_begin_and_no_server_starts_only_one_server_is_tried(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = tmp_path / "tried"
    monkeypatch.setattr(warm, "SERVER", [sys.executable, "-c", f"open({str(tried)!r}, 'a').write('x')"])
    fresh: list[WorkerStart] = []

    class Started:
        def finish(self) -> Any:
            return self

    def begin(self: FreshLauncher, start: WorkerStart) -> Any:
        fresh.append(start)
        return Started()

    monkeypatch.setattr(FreshLauncher, "begin", begin)
    warnings: list[str] = []
    launcher = WarmLauncher()
    starts = [_start(warnings.append) for _ in range(3)]
    for starting in [launcher.begin(start) for start in starts]:
        starting.finish()
    assert (fresh, len(warnings), tried.read_text()) == (starts, 1, "x")


def test_a_cancelled_worker_ends(tmp_path: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    launcher = WarmLauncher()
    with open(tmp_path / "log", "ab") as log, open(tmp_path / "lock", "ab") as lock:
        start = dataclasses.replace(_start(print), log=log.fileno(), lock=lock.fileno())
        launcher.begin(start).cancel()
        launched = launcher.begin(start).finish()  # the server has forked the first worker before
        (server,) = server_pids()
        _wait_for(lambda: len(_children(server)) == 1)
        launched.kill()
        launched.close()
    ForkServer.close_all()
    assert len(os.listdir("/proc/self/fd")) <= before


def test_the_processes_of_a_worker_are_not_searched_after_its_end_was_reported(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reader, writer = os.pipe()
    worker = warm._ForkedWorker(2**22 + 1, reader, -1)  # no process has this id
    os.write(writer, ANSWER.pack(ENDED, 3))
    assert worker.wait(10.0) == 3
    monkeypatch.setattr(warm, "kill_worker", lambda pid: pytest.fail("its processes were searched"))
    assert worker.kill() == 3
    os.write(writer, ANSWER.pack(ENDED, -9))  # the end of the reaper, which nobody reads
    worker.close()
    os.close(writer)


@pytest.mark.parametrize("command", [["/nowhere/python"], [sys.executable, "-c", "pass"]])
def test_a_server_that_cannot_be_executed_or_ends_at_once_is_no_failed_trial(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(warm, "SERVER", command)
    watcher = run(stub_specs(1, evaluations=2), tmp_path)
    assert [record.status for record in watcher.records] == ["exhausted"]
    assert len(watcher.warnings) == 1


def test_a_server_that_ended_between_two_trials_is_replaced_without_a_word(tmp_path: Path) -> None:
    specs = stub_specs(2, evaluations=2)
    run(specs[:1], tmp_path)
    (server,) = server_pids()
    os.kill(server, signal.SIGKILL)
    watcher = run(specs[1:], tmp_path)
    assert forked(watcher) == [True]
    assert not watcher.warnings
    assert server_pids() != [server]


class KillsTheServer(Remember):
    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder = folder

    def evaluated(self, spec: RunSpec, point: Any) -> None:
        super().evaluated(spec, point)
        if len(self.points) == 5:
            stub.wait_until_halted(self.folder)
            os.kill(server_pids()[0], signal.SIGKILL)


@pytest.mark.slow
def test_a_server_that_dies_ends_its_workers_whose_trials_resume(tmp_path: Path) -> None:
    specs = stub_specs(1, evaluations=8)
    run(specs, tmp_path / "whole", fresh_workers=True)
    folder = tmp_path / "runs" / layout.run_id(specs[0])
    stub.halt_once(folder, 5)
    watcher = run(specs, tmp_path / "runs", KillsTheServer(folder))
    assert [record.status for record in watcher.records] == ["exhausted"]
    assert any("killed by SIGKILL" in warning for warning in watcher.warnings)
    assert outcomes_in(tmp_path / "runs") == outcomes_in(tmp_path / "whole")


def test_a_trial_can_be_stopped_while_its_server_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(warm, "SERVER", [sys.executable, "-c", "import time; time.sleep(600)"])

    def stop() -> None:
        _wait_for(server_pids)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=stop, daemon=True).start()
    watcher = Remember()
    with pytest.raises(Interrupted):
        run(stub_specs(1, evaluations=2), tmp_path, watcher)
    assert [record.status for record in watcher.records] == ["interrupted"]


_COMMAND = """
import sys
from pathlib import Path
import msgspec
from harness.contract.run import RunSpec
from harness.contract.watcher import SilentWatcher
from harness.execution.local import execute
from tests.execution import stub
stub.install()
specs = msgspec.json.decode(Path(sys.argv[1]).read_bytes(), type=list[RunSpec])
list(execute(specs, Path(sys.argv[2]), SilentWatcher()))
"""


@pytest.mark.slow
def test_a_command_that_is_killed_takes_its_server_and_workers_with_it(tmp_path: Path) -> None:
    plan, runs = tmp_path / "plan.json", tmp_path / "runs"
    plan.write_bytes(msgspec.json.encode(stub_specs(1, evaluations=100_000, pause=0.05)))
    command = subprocess.Popen([sys.executable, "-c", _COMMAND, str(plan), str(runs)])
    _wait_for(lambda: list(runs.glob("*/worker/checkpoint.pt")))
    (server,) = _children(command.pid)
    (worker,) = _children(server)
    command.kill()
    command.wait()
    _wait_for(lambda: not Path(f"/proc/{server}").exists() and _is_gone(worker))


def _children(pid: int) -> list[int]:
    return [int(child) for path in Path(f"/proc/{pid}/task").glob("*/children") for child in path.read_text().split()]


def _is_gone(pid: int) -> bool:
    """Return whether a process has ended; nobody may reap it here."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def _wait_for(condition: Any, seconds: float = 300.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.02)


# --- with torch ---------------------------------------------------------------------------------

_PRELOADED = """
import json, os, sys
from harness.worker.fork_server import preload_worker
preload_worker()
print(json.dumps([sorted(sys.modules), len(os.listdir("/proc/self/task"))]))
"""


@pytest.mark.slow
def test_the_server_imports_no_plugin_and_has_one_thread() -> None:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", _PRELOADED], env=environment, capture_output=True, check=True)
    modules, threads = json.loads(done.stdout)
    assert threads == 1
    packages = {module.partition(".")[0] for module in modules}
    assert not packages & {"workloads", "submissions", "schedulefree", "pytorch_optimizer", "sklearn", "tests"}
    assert {"torch", "safetensors", "harness"} <= packages


@pytest.mark.slow
def test_a_record_is_the_same_with_a_forked_worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH")))))
    specs = _smoke_specs()
    records = {}
    for fresh in (False, True):
        runs = tmp_path / str(fresh)
        run(specs, runs, fresh_workers=fresh, jobs=1)
        records[fresh] = [read_record(runs / layout.run_id(spec) / layout.RECORD) for spec in specs]
    for one, other in zip(records[False], records[True], strict=True):
        assert (one.usage.forked, other.usage.forked) == (True, False)
        assert outcome(one) == outcome(other)
        assert one.environment == other.environment
        assert one.counters.gradient_examples == other.counters.gradient_examples
        assert (one.usage.parameters, one.usage.optimizer_state_bytes) == (
            other.usage.parameters,
            other.usage.optimizer_state_bytes,
        )
        assert one.usage.import_seconds > 0
        assert one.usage.start_seconds > one.usage.build_seconds > 0


def _smoke_specs() -> list[RunSpec]:
    import harness

    return [*harness.plan("adamw-cosine,replay", "resnet-digits,continual-digits,lm-tiny", smoke=True)]


@pytest.mark.slow
def test_a_thread_of_an_import_is_found_in_a_forked_worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH")))))
    source = tmp_path / "leaves_a_thread.py"
    source.write_text(
        "import threading, time\nfrom tests.submissions_for_tests import Base\n"
        "threading.Thread(target=time.sleep, args=(60,), daemon=True, name='leftover').start()\n"
    )
    watcher = run([spec_of(submission(f"{source}:Base"), smoke=True)], tmp_path / "runs")
    (record,) = watcher.records
    assert (record.usage.forked, record.status) == (True, "rejected")
    assert "leftover" in record.reason
