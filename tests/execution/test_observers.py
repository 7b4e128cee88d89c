"""Observers run in processes of their own: whatever one of them does, the command goes on and ends."""

from __future__ import annotations

import dataclasses
import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from textwrap import dedent
from typing import Any, get_args

import click
import msgspec
import pytest

from harness.cli.watching import command_observers
from harness.contract.observation import ObserverHook
from harness.contract.record import Record, Usage
from harness.contract.run import Counters, Point, RunSpec, Seeds
from harness.execution.observers import Observers
from harness.plugins.registry import Plugin, Registry
from harness.storage.layout import run_id
from harness.system import python_process
from tests.helpers import spec_of, submission

SEEDS = Seeds(model=1_000_003, data=1_000_033, submission=1_000_037, replay=1_000_039)
POINT = Point(examples=64, gradient_examples=64, steps=4, seconds=0.5, process_seconds=0.25, metrics={"loss": 0.75})
#: Seconds that no test waits in full, unless something is broken.
PATIENT = 60.0


@pytest.fixture(scope="module")
def spec() -> RunSpec:
    planned = spec_of(submission("tests.submissions_for_tests:Base"), seed=1_000_081)
    return msgspec.structs.replace(planned, seeds=SEEDS)


def record(spec: RunSpec) -> Record:
    return Record(
        run_id=run_id(spec), spec=spec, status="crashed", reason="see /secret/folder", counters=Counters(examples=64),
        usage=Usage(parameters=67), points=(POINT,),
    )  # fmt: skip


class Lab:
    """Plugins made up for a test, and the warnings about them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.warnings: list[str] = []
        self.plugins: list[Plugin] = []

    def add(self, name: str, source: str) -> Path:
        """Add a plugin with the source of a module, and return the file of which the source has the path as LOG."""
        log = self.folder / f"{name}.log"
        head = f"import os, sys, time\nfrom harness.api import hookimpl\nLOG = {str(log)!r}\n"
        tail = dedent("""
            def log(text):
                with open(LOG, "a") as file:
                    file.write(text + "\\n")
        """)
        (self.folder / f"{name}.py").write_text(head + tail + dedent(source))
        self.plugins.append(
            Plugin(distribution=name, version="1.0", name="plugin", module=name, hooks=get_args(ObserverHook))
        )
        return log

    def open(self, **options: Any) -> Observers:
        return Observers(Registry(self.plugins), self.warnings.append, **{"wait_s": PATIENT, **options})


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lab:
    monkeypatch.syspath_prepend(str(tmp_path))
    return Lab(tmp_path)


#: Logs every call, with the call's data as JSON.
LOGS = """
    import msgspec

    def encode(*data):
        log(msgspec.json.encode(data).decode())

    @hookimpl
    def bench_run_started(trial):
        encode("started", trial)

    @hookimpl
    def bench_evaluated(trial, point):
        encode("evaluated", trial, point)

    @hookimpl
    def bench_run_finished(trial, outcome):
        encode("finished", trial, outcome)
"""


def test_an_observer_receives_no_seed_no_target_and_no_folder(
    lab: Lab, spec: RunSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = lab.add("all_seeing", LOGS + "\n    log(repr(sorted(os.environ)))\n")
    monkeypatch.setenv("BENCH_SEED", "1000081")
    monkeypatch.setenv("BENCH_RUNS", "/secret/folder")
    facts = spec.workload.facts
    with lab.open() as observers:
        observers.started(spec, ())
        observers.evaluated(spec, POINT)
        observers.finished(record(spec))
    variables, *lines = log.read_text().splitlines()
    assert "BENCH_" not in variables
    calls = [json.loads(line) for line in lines]
    assert [call[0] for call in calls] == ["started", "evaluated", "finished"]
    assert calls[0][1] == calls[1][1] == calls[2][1]
    trial, outcome = calls[2][1:]
    assert (trial["submission"], trial["workload"], trial["metric"]) == ("base", facts.name, "loss")
    assert trial["hparams"] == spec.hparams
    assert msgspec.convert(calls[1][2], Point) == POINT
    assert (outcome["status"], outcome["run_id"], outcome["usage"]["parameters"]) == ("crashed", run_id(spec), 67)
    secrets = [*msgspec.structs.astuple(SEEDS), spec.root_seed, facts.targets[0].value, facts.budget.horizon]
    assert not [secret for secret in [*map(str, secrets), "/secret"] if secret in "".join(lines)]
    assert run_id(spec) not in "".join(lines[:2]), "the name of the folder is known when the run has ended"
    assert lab.warnings == []


def test_the_identifier_of_a_trial_differs_between_commands(lab: Lab, spec: RunSpec) -> None:
    log = lab.add("twice", LOGS)
    for _ in range(2):
        with lab.open() as observers:
            observers.started(spec, ())
    first, second = (json.loads(line)[1]["id"] for line in log.read_text().splitlines())
    assert first != second


FAILURES = {
    "a mistake": "raise ValueError('two\\nlines')",
    "an exit": "raise SystemExit(3)",
    "any exception": "raise BaseException",
    "an interrupt": "raise KeyboardInterrupt",
    "a closed input": "input()",
}


@pytest.mark.parametrize("failure", FAILURES)
def test_an_observer_that_raises_is_reported_once_and_called_again(
    failure: str, lab: Lab, spec: RunSpec, capfd: pytest.CaptureFixture[str]
) -> None:
    log = lab.add(
        "raises",
        f"""
        @hookimpl
        def bench_evaluated(trial, point):
            log("called")
            {FAILURES[failure]}
        """,
    )
    with lab.open() as observers:
        for _ in range(3):
            observers.evaluated(spec, POINT)
    assert log.read_text().split() == ["called"] * 3
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith("warning: the observer raises 1.0:plugin failed: ")
    assert lab.warnings == []


@pytest.mark.parametrize(
    ("end", "words"),
    [
        ("os._exit(3)", "ended with exit code 3"),
        ("os.kill(os.getpid(), 9)", "was killed by signal 9"),
        ("os.abort()", "was killed by signal 6"),
    ],
)
def test_an_observer_that_ends_its_process_ends_nothing_else(end: str, words: str, lab: Lab, spec: RunSpec) -> None:
    lab.add("ends", f"@hookimpl\ndef bench_evaluated(trial, point):\n    {end}\n")
    other = lab.add("stays", LOGS)
    with lab.open() as observers:
        for _ in range(500):
            observers.evaluated(spec, POINT)
        observers.finished(record(spec))
    assert len(other.read_text().splitlines()) == 501
    (warning,) = lab.warnings
    assert warning.startswith(f"warning: the observer ends:plugin {words}")


def test_a_sleeping_observer_is_not_waited_for(lab: Lab, spec: RunSpec) -> None:
    """Far more calls than the pipe and the queue hold: one that blocked would never return."""
    lab.add("sleeps", "@hookimpl\ndef bench_evaluated(trial, point):\n    time.sleep(1e6)\n")
    observers = lab.open(wait_s=0.0, max_waiting=10)
    (process,) = observers._processes
    for _ in range(2000):
        observers.evaluated(spec, POINT)
    observers.finished(record(spec))
    (slow,) = lab.warnings
    assert "too slow" in slow
    observers.close()
    assert process._process is not None
    assert process._process.returncode == -signal.SIGKILL
    assert len(lab.warnings) == 2
    assert "was still busy 0 s after the last event and was killed" in lab.warnings[1]


def test_what_an_observer_started_is_killed_with_it(lab: Lab, spec: RunSpec) -> None:
    log = lab.add(
        "starts",
        """
        import subprocess

        @hookimpl
        def bench_run_started(trial):
            log(str(subprocess.Popen(["sleep", "1000000"]).pid))
            time.sleep(1e6)
        """,
    )
    observers = lab.open(wait_s=0.0)
    observers.started(spec, ())
    wait_until(log.exists)
    wait_until(lambda: log.read_text().endswith("\n"))
    observers.close()
    wait_until(lambda: not is_running(int(log.read_text())))


def test_an_observer_that_cannot_be_imported_is_reported(
    lab: Lab, spec: RunSpec, capfd: pytest.CaptureFixture[str]
) -> None:
    lab.add("moody", "raise SystemExit('not today')")
    with lab.open() as observers:
        for _ in range(500):
            observers.evaluated(spec, POINT)
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith("warning: the observer moody 1.0:plugin is not used: SystemExit: not today")
    assert lab.warnings == []
    assert "moody" not in sys.modules


def test_an_observer_prints_to_stderr(lab: Lab, spec: RunSpec, capfd: pytest.CaptureFixture[str]) -> None:
    lab.add("prints", "@hookimpl\ndef bench_evaluated(trial, point):\n    print('seen', flush=True)\n")
    with lab.open() as observers:
        observers.evaluated(spec, POINT)
    assert capfd.readouterr() == ("", "seen\n"), "stdout is the output of the command"


def test_a_process_that_cannot_start_is_a_warning(lab: Lab, spec: RunSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    lab.add("absent", LOGS)

    def refuse(*_: object, **__: object) -> None:
        raise OSError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(subprocess, "Popen", refuse)
    with lab.open() as observers:
        observers.evaluated(spec, POINT)
    (warning,) = lab.warnings
    assert "absent:plugin is not used: its process cannot be started" in warning


def test_only_plugins_that_observe_have_a_process(lab: Lab) -> None:
    lab.add("offers", LOGS)
    lab.add("broken", LOGS)
    lab.plugins = [
        dataclasses.replace(lab.plugins[0], hooks=("bench_submissions",)),
        dataclasses.replace(lab.plugins[1], error="ValueError: no"),
    ]
    with lab.open() as observers:
        assert observers._processes == []


def test_a_command_starts_its_observers_once(lab: Lab, spec: RunSpec) -> None:
    log = lab.add("once", LOGS + "\n    log('imported')\n")
    registry = Registry(lab.plugins)

    @click.command()
    def command() -> None:
        for _ in range(3):
            command_observers(registry).started(spec, ())

    command.main([], standalone_mode=False)
    assert len(log.read_text().splitlines()) == 4
    assert log.read_text().count("imported") == 1


def test_an_observer_ends_with_a_killed_command(lab: Lab, spec: RunSpec) -> None:
    log = lab.add(
        "lives", "log(str(os.getpid()))\n\n@hookimpl\ndef bench_evaluated(trial, point):\n    time.sleep(1e6)\n"
    )
    script = lab.folder / "command.py"
    script.write_text(
        dedent("""
        import os, signal, sys
        import msgspec
        from harness.contract.run import Point, RunSpec
        from harness.execution.observers import Observers
        from harness.plugins.registry import Plugin, Registry

        plugin = Plugin(distribution="d", version="1", name="p", module="lives", hooks=("bench_evaluated",))
        observers = Observers(Registry([plugin]), print, wait_s=0.0)
        spec, point = msgspec.json.decode(sys.stdin.buffer.read(), type=tuple[RunSpec, Point])
        observers.evaluated(spec, point)
        while not os.path.exists(sys.argv[1]):
            pass
        os.kill(os.getpid(), signal.SIGKILL)
        """)
    )
    done = subprocess.run(
        [sys.executable, str(script), str(log)],
        input=msgspec.json.encode((spec, POINT)),
        env=python_process.environment(),
        check=False,
    )
    assert done.returncode == -signal.SIGKILL
    wait_until(lambda: log.read_text().endswith("\n"))
    wait_until(lambda: not is_running(int(log.read_text())))


def is_running(pid: int) -> bool:
    """Whether a process exists and is no zombie, which an init process may leave."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENT
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)
