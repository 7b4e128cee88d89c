"""A compiled loss: the same run, the same names, and a warm-up that leaves no trace but its cache."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest
import safetensors.torch
import torch

from harness.contract.entries import WorkloadEntry
from harness.contract.record import Record
from harness.contract.run import RunSpec
from harness.contract.workload import Precision
from harness.storage.layout import COMPILED
from harness.worker import compile_cache
from harness.worker.work import CountedWork
from tests import micro
from tests.helpers import Remember, folder_of, outcome, run_here, spec_of, submission
from tests.worker import ranked

FACTS = {"precision": Precision(compile=True)}


@pytest.fixture(autouse=True)
def _no_traces(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", "")
    monkeypatch.setenv("TRITON_CACHE_DIR", "")
    monkeypatch.setattr("harness.worker.setup.load_workload", _as_planned)
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def _as_planned(spec: RunSpec) -> Any:
    """The workload, without comparing its facts with the planned ones, which a test has changed."""
    from harness.plugins.loading import load_object

    return load_object(spec.workload.load)(**spec.workload.arguments)


def on_backend(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Trace as always, and leave the kernels to eager PyTorch: quick, and no compiler is needed."""
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend=name))
    monkeypatch.setenv("CXX", "true")
    monkeypatch.setattr(compile_cache, "fill_compile_cache", lambda job: "")


def losses(record: Record) -> list[float]:
    return [p.metrics["loss"] for p in record.points]


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
@pytest.mark.parametrize(
    "workload",
    [micro.ENTRY, micro.STREAM_ENTRY, ranked.entry(ranked.Normalised), ranked.entry(ranked.EightAtATime)],
    ids=["pool", "stream", "batch norm", "micro-batches"],
)
def test_a_compiled_run_is_the_run(
    workload: WorkloadEntry, backend: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Equal to the bit with and without a warm-up step; equal up to rounding without a compiler."""
    on_backend(backend, monkeypatch)
    noisy = submission("tests.submissions_for_tests:Noisy")
    spec = spec_of(noisy, workload, facts=FACTS, smoke=True)
    warmed = run_here(spec, tmp_path / "with")
    assert warmed.status in ("exhausted", "reached"), warmed.reason
    monkeypatch.setattr(CountedWork, "warm_up_step", lambda self: None)
    torch._dynamo.reset()
    assert outcome(run_here(spec, tmp_path / "without")) == outcome(warmed)
    off = run_here(spec_of(noisy, workload, smoke=True), tmp_path / "off")
    assert [(p.examples, p.gradient_examples, p.steps) for p in warmed.points] == [
        (p.examples, p.gradient_examples, p.steps) for p in off.points
    ]
    for a, b in zip(warmed.points, off.points, strict=True):
        assert a.metrics == pytest.approx(b.metrics, abs=1e-4)
    assert_plain_names(spec, tmp_path / "with")


def assert_plain_names(spec: RunSpec, runs: Path) -> None:
    """Weights are stored under the names of the raw module."""
    names = set(safetensors.torch.load_file(folder_of(spec, runs).path / "final.safetensors"))
    assert names
    assert not [name for name in names if "_orig_mod" in name]


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None and shutil.which("clang++") is None, reason="no C++ compiler here")
@pytest.mark.filterwarnings("ignore")  # the compiler's own
def test_the_warm_up_changes_nothing_and_leaves_nothing_to_compile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    noisy = submission("tests.submissions_for_tests:Noisy")
    # Its class says so itself: the warm-up is another process, which knows of no patch in this one.
    spec = spec_of(noisy, ranked.entry(ranked.Compiled), smoke=True)
    counters = torch._dynamo.utils.counters
    counters.clear()
    watcher = Remember()
    warmed = run_here(spec, tmp_path / "with", watcher)
    assert not watcher.warnings
    assert warmed.status == "exhausted", warmed.reason
    assert counters["aot_autograd"]["autograd_cache_hit"] >= 1
    assert counters["aot_autograd"]["autograd_cache_miss"] == 0
    assert not (folder_of(spec, tmp_path / "with").worker_path / COMPILED).exists(), "of no use when the run has ended"
    monkeypatch.setattr(compile_cache, "fill_compile_cache", lambda job: "")
    monkeypatch.setattr(CountedWork, "warm_up_step", lambda self: None)
    torch._dynamo.reset()
    counters.clear()
    cold = run_here(spec, tmp_path / "without")
    assert counters["aot_autograd"]["autograd_cache_miss"] >= 1
    assert outcome(warmed) == outcome(cold)
    plain = msgspec.structs.replace(spec_of(noisy, smoke=True), seeds=spec.seeds)
    assert losses(warmed) == pytest.approx(losses(run_here(plain, tmp_path / "plain")), abs=1e-5)
    assert_plain_names(spec, tmp_path / "with")


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None and shutil.which("clang++") is None, reason="no C++ compiler here")
@pytest.mark.filterwarnings("ignore")
def test_two_ranks_compile_as_one(tmp_path: Path) -> None:
    base = submission("tests.submissions_for_tests:Base")
    spec = msgspec.structs.replace(spec_of(base, ranked.entry(ranked.Compiled), smoke=True), ranks=2)
    record = run_here(spec, tmp_path / "two")
    assert record.status == "exhausted", record.reason
    plain = msgspec.structs.replace(spec_of(base, smoke=True), seeds=spec.seeds)
    assert losses(record) == pytest.approx(losses(run_here(plain, tmp_path / "plain")), abs=1e-5)


def test_a_warm_up_that_fails_costs_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "compile", lambda loss, **options: loss)
    monkeypatch.setenv("CXX", "true")
    monkeypatch.setattr(sys, "executable", "/bin/false")
    watcher = Remember()
    spec = spec_of(submission("tests.submissions_for_tests:Base"), facts=FACTS, smoke=True)
    record = run_here(spec, tmp_path, watcher)
    assert record.status == "exhausted", record.reason
    assert watcher.warnings == [
        "the compile warm-up ended with code 1; the worker compiles the loss itself (see worker.log)"
    ]


def test_a_cpu_without_a_compiler_runs_uncompiled_with_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    monkeypatch.setattr(torch, "compile", None)
    watcher = Remember()
    spec = spec_of(submission("tests.submissions_for_tests:Base"), facts=FACTS, smoke=True)
    assert run_here(spec, tmp_path, watcher).status == "exhausted"
    assert watcher.warnings == ["the loss is not compiled: no C++ compiler was found (install g++, or set CXX)"]
