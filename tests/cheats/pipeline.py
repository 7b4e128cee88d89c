"""Run submissions of this folder as users run them: a supervisor, a forked worker, and the sandbox of the kernel."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

from harness.contract.entries import WorkloadEntry
from harness.contract.record import Record
from harness.contract.run import ExecutionOptions
from harness.execution.trial import run_trial
from harness.execution.warm import WarmLauncher
from harness.system.sandbox import find_offer
from tests import micro
from tests.helpers import Remember, spec_of, submission

ROOT = Path(__file__).resolve().parents[2]
linux = pytest.mark.skipif(sys.platform != "linux", reason="processes are measured from outside on Linux alone")


def in_sandbox() -> bool:
    """Whether the kernel gives workers a sandbox."""
    return find_offer(Path(tempfile.gettempdir())).name != "none"


def run(
    way: str, runs: Path, workload: WorkloadEntry = micro.ENTRY, watcher: Remember | None = None, **settings: Any
) -> Record:
    """Run `module:Class` in `tests/cheats/ways/`, or `path:Class`."""
    # A fork server serves processes with one environment, and pytest changes this variable with every test.
    os.environ.pop("PYTEST_CURRENT_TEST", None)
    load = way if way.startswith("/") else f"tests.cheats.ways.{way}"
    spec = spec_of(submission(load), workload, **settings)
    return run_trial(spec, runs, watcher or Remember(), ExecutionOptions(), launcher=WarmLauncher())[0]


def set_import_path() -> None:
    """Let workers import the tests."""
    path = os.environ.get("PYTHONPATH", "")
    if str(ROOT) not in path.split(os.pathsep):
        os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (str(ROOT), path)))


#: The records of `honest` by workload.
_HONEST: dict[str, Record] = {}


def honest(workload: WorkloadEntry = micro.ENTRY) -> Record:
    """The record of a submission that does what the cheats do without cheating."""
    name = workload.facts.name
    if name not in _HONEST:
        set_import_path()
        with tempfile.TemporaryDirectory() as folder:
            _HONEST[name] = run("honest:Honest", Path(folder), workload)
    return _HONEST[name]


def cost(record: Record) -> int:
    """Examples to the target."""
    assert record.hit is not None, (record.status, record.reason)
    return record.points[record.hit].cost


#: The phases in which the clock runs.
_ON_CLOCK = ("construction", "loading", "first batch", "training", "averaging", "state")


def gains_nothing(record: Record) -> None:
    """Check that a run needed as many examples as the honest run, and that what it used is scored.

    The time of the honest run is no measure: the machine may have been busier, or faster, when that one ran.
    """
    plain = honest()
    assert record.status == "reached", record.reason
    assert cost(record) >= cost(plain)
    assert [p.metrics for p in record.points] == [p.metrics for p in plain.points]
    assert record.ledger is not None
    phases = record.ledger.phases
    used = sum(phases[name].process_seconds for name in _ON_CLOCK if name in phases)
    assert record.counters.process_seconds > 0.5 * used


def is_rejected(record: Record, *words: str) -> None:
    """Check that a run was rejected for a reason with these words."""
    assert record.status == "rejected", (record.status, record.reason)
    assert any(word in record.reason for word in words), record.reason
