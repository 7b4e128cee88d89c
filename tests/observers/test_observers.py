"""The observers of this package, in the process in which they run, with the real libraries."""

from __future__ import annotations

import csv
import importlib
import json
import struct
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent
from typing import Any

import msgspec
import pytest

from harness import cli
from harness.contract.entries import ObserverEntry
from harness.contract.record import Record
from harness.contract.run import Point, RunSpec
from harness.errors import UsageError
from harness.execution import observers as execution
from harness.execution.observers import Observers, RequestedObserver, request_observers
from harness.execution.plugin import bench_observers
from harness.plugins.registry import Plugin, Registry
from harness.storage.layout import run_id
from harness.storage.records import read_all
from tests.publishing.local_runs import group

#: A trial with this name shows what each format does with it.
NAME = "=evil,\nname"


@pytest.fixture(scope="module")
def spec() -> RunSpec:
    spec = group()[0].spec
    return msgspec.structs.replace(spec, submission=msgspec.structs.replace(spec.submission, name=NAME))


def points() -> list[Point]:
    return list(group()[0].points[:3])


def finished(spec: RunSpec) -> Record:
    return msgspec.structs.replace(group()[0], spec=spec, run_id=run_id(spec))


def registry(*entries: ObserverEntry) -> Registry:
    return Registry([Plugin(distribution="d", version="1", name="p", module="m", entries=entries)])


def entry(name: str) -> ObserverEntry:
    return next(entry for entry in bench_observers() if entry.name == name)


def observe(spec: RunSpec, folder: Path, name: str) -> list[str]:
    """Observe one trial, and return the warnings."""
    warnings: list[str] = []
    requested = [RequestedObserver(entry=entry(name), folder=folder)]
    with Observers(Registry([]), warnings.append, requested) as observing:
        observing.started(spec, ())
        for point in points():
            observing.evaluated(spec, point)
        observing.finished(finished(spec))
    return warnings


def test_csv(spec: RunSpec, tmp_path: Path) -> None:
    for _ in range(2):
        assert observe(spec, tmp_path / "logs", "csv") == []
    with open(tmp_path / "logs/evaluations.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    metrics = [(name, value) for point in points() for name, value in point.metrics.items()]
    assert [(row["metric"], float(row["value"])) for row in rows] == metrics * 2, "a second command appends"
    assert {row["submission"] for row in rows} == {"'=evil,\\nname"}, "a spreadsheet does not evaluate it"
    assert len({row["trial"] for row in rows}) == 2
    with open(tmp_path / "logs/runs.csv", newline="") as file:
        runs = list(csv.DictReader(file))
    assert [(run["run_id"], run["status"]) for run in runs] == [(run_id(spec), group()[0].status)] * 2
    assert json.loads(runs[0]["hparams"]) == spec.hparams


def test_tensorboard(tmp_path: Path) -> None:
    spec = group()[0].spec
    assert observe(spec, tmp_path / "events", "tensorboard") == []
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    (folder,) = (tmp_path / "events" / spec.workload.facts.id).iterdir()
    assert folder.name.startswith("wsd-s0-t0-")
    events = EventAccumulator(str(folder), size_guidance={"tensors": 0})
    events.Reload()
    tags = set(events.Tags()["tensors"])
    assert tags >= {"metric/cross_entropy", "train/lr", "progress/process_seconds"}
    written = [(event.step, event.tensor_proto.float_val[0]) for event in events.Tensors("metric/cross_entropy")]
    assert written == [(p.steps, pytest.approx(p.metrics["cross_entropy"])) for p in points()]


def test_wandb_offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = group()[0].spec
    for name in ("WANDB_MODE", "WANDB_PROJECT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert observe(spec, tmp_path / "logs", "wandb") == []
    # The module makes its classes when it is imported, so that types cannot be checked.
    messages: Any = importlib.import_module("wandb.proto.wandb_internal_pb2")

    (folder,) = (tmp_path / "logs/wandb").glob("offline-run-*")
    (file,) = folder.glob("run-*.wandb")
    history: list[dict[str, Any]] = []
    summary: dict[str, Any] = {}
    exits = []
    for content in wandb_records(file):
        record = messages.Record()
        record.ParseFromString(content)
        kind = record.WhichOneof("record_type")
        if kind == "history":
            items = record.history.item
            history.append({".".join(item.nested_key) or item.key: json.loads(item.value_json) for item in items})
        elif kind == "summary":
            summary |= {item.key or ".".join(item.nested_key): item.value_json for item in record.summary.update}
        elif kind == "exit":
            exits.append(record.exit.exit_code)
    logged = [(row["_step"], row["metric/cross_entropy"]) for row in history]
    assert logged == [(p.steps, pytest.approx(p.metrics["cross_entropy"])) for p in points()]
    assert json.loads(summary["run_id"]) == run_id(spec)
    assert exits == [0]


def wandb_records(file: Path) -> Iterator[bytes]:
    """The records of a file of wandb: a header of 7 bytes, then a log in the format of LevelDB, in blocks of 32 KiB."""
    content, at, pieces = file.read_bytes(), 7, b""
    while at < len(content):
        if (left := 32768 - at % 32768) < 7:
            at += left
            continue
        length, kind = struct.unpack("<HB", content[at + 4 : at + 7])
        pieces += content[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # a whole record, or the last piece of a record
            yield pieces
            pieces = b""


# --- asking for an observer ---------------------------------------------------------------------


def test_no_observer_runs_unless_it_is_asked_for() -> None:
    with Observers(registry(*bench_observers()), pytest.fail) as observing:
        assert observing._processes == []


def test_requests(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    offered = registry(entry("csv"), ObserverEntry(name="gone", load="m:C", summary="s", imports=("no_such",)))
    default, elsewhere = (request_observers([text], offered)[0] for text in ("csv", "csv=a/b"))
    assert (default.folder, elsewhere.folder) == (tmp_path / "observed/csv", tmp_path / "a/b")
    with pytest.raises(UsageError, match="--observe gone needs no_such, which is not installed"):
        request_observers(["gone"], offered)
    with pytest.raises(UsageError, match="unknown observer 'cvs'; did you mean"):
        request_observers(["cvs"], offered)
    with pytest.raises(UsageError, match="twice"):
        request_observers(["csv", "csv=a"], offered)


CLASSES = """
    import os, time
    from harness.api import hookimpl

    class Broken:
        def __init__(self, folder):
            raise OSError("the disk is full")

    class Dies:
        def __init__(self, folder): ...

        @hookimpl
        def bench_evaluated(self, trial, point):
            os._exit(3)

    class Sleeps(Dies):
        @hookimpl
        def bench_evaluated(self, trial, point):
            time.sleep(1e6)
"""


@pytest.fixture
def bad(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "bad_observers.py").write_text(dedent(CLASSES))
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def bad_entry(name: str) -> ObserverEntry:
    return ObserverEntry(name=name.lower(), load=f"bad_observers:{name}", summary="s")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("Broken", "the observer broken is not used: OSError: the disk is full"),
        ("Dies", "the observer dies ended with exit code 3"),
        ("Sleeps", "the observer sleeps was still busy"),
    ],
)
def test_a_bad_observer_delays_no_call_and_is_reported(
    bad: Path, spec: RunSpec, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], name: str, words: str
) -> None:
    if name == "Sleeps":
        monkeypatch.setattr(execution, "REQUESTED_WAIT_S", 0.0)
    warnings: list[str] = []
    requested = [
        RequestedObserver(entry=bad_entry(name), folder=bad / "bad"),
        RequestedObserver(entry=entry("csv"), folder=bad / "good"),
    ]
    with Observers(Registry([]), warnings.append, requested, max_waiting=5000) as observing:
        for _ in range(1000):
            observing.evaluated(spec, points()[0])
    assert words in "\n".join([*warnings, capfd.readouterr().err])
    if name != "Sleeps":
        rows = (bad / "good/evaluations.csv").read_text().count("\n")
        assert rows == 1 + 1000 * len(points()[0].metrics), "another observer misses nothing"


@pytest.mark.slow
def test_a_run_is_the_same_with_observers(bad: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One observer dies and one never answers; the weights, the counters and the points are those without observers."""
    monkeypatch.chdir(bad)
    monkeypatch.setattr(execution, "REQUESTED_WAIT_S", 3.0)
    real = execution.request_observers

    def with_bad_ones(requests: list[str], registry: Registry) -> list[RequestedObserver]:
        more = [RequestedObserver(entry=bad_entry(name), folder=bad) for name in ("Dies", "Sleeps")]
        return [*real(requests, registry), *(more if requests else [])]

    monkeypatch.setattr("harness.cli.watching.request_observers", with_bad_ones)
    command = ["run", "-s", "wsd", "-w", "resnet-digits", "--smoke"]
    assert cli.invoke([*command, "--runs", "alone"]) == 0
    assert cli.invoke([*command, "--runs", "watched", "--observe", "csv=logs"]) == 0
    (alone,), (watched,) = read_all([Path("alone")])[0], read_all([Path("watched")])[0]
    assert watched.final_weights == alone.final_weights
    assert [(p.steps, p.examples, p.metrics) for p in watched.points] == [
        (p.steps, p.examples, p.metrics) for p in alone.points
    ]
    assert Path("logs/runs.csv").read_text().count("\n") == 2
