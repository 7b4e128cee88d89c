"""A compiled loss: the same run, the same names, and a warm-up that leaves no trace but its cache."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

from harness.types import Precision, RunSpec, WorkloadEntry
from harness.worker import warmup
from harness.worker.access import Batch, Pool, Stream
from harness.worker.work import CountedWork
from tests import micro
from tests.helpers import Remember, folder_of, outcome, run_here, spec_of, submission
from tests.worker import ranked

COMPILED = {"precision": Precision(compile=True)}


@pytest.fixture(autouse=True)
def _no_traces(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", "")
    monkeypatch.setenv("TRITON_CACHE_DIR", "")
    monkeypatch.setattr("harness.worker.host._load_workload", _as_planned)
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def _as_planned(spec: RunSpec) -> Any:
    """The workload, without comparing its facts with the planned ones, which a test has changed."""
    from harness.loading import load_object

    return load_object(spec.workload.load)(**spec.workload.arguments)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # the compiler's own
@pytest.mark.parametrize("workload", [micro.ENTRY, ranked.entry(ranked.Normalised)], ids=["plain", "batch norm"])
def test_the_warm_up_changes_nothing(workload: WorkloadEntry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = spec_of(submission("tests.submissions_for_tests:Noisy"), workload, facts=COMPILED, smoke=True)
    warned = Remember()
    warmed = run_here(spec, tmp_path / "with", warned)
    assert warmed.status == "exhausted", warmed.reason
    monkeypatch.setattr(warmup, "warm_up", lambda job: "")
    monkeypatch.setattr(CountedWork, "rehearse", lambda self: None)
    torch._dynamo.reset()
    cold = run_here(spec, tmp_path / "without")
    assert outcome(warmed) == outcome(cold)
    eager = run_here(spec_of(submission("tests.submissions_for_tests:Noisy"), workload, smoke=True), tmp_path / "eager")
    assert [p.metrics["loss"] for p in warmed.points] == pytest.approx(
        [p.metrics["loss"] for p in eager.points], abs=1e-5
    )
    folder = folder_of(spec, tmp_path / "with").path
    assert list((folder / warmup.CACHE).rglob("*"))
    names = set(safetensors.torch.load_file(folder / "final.safetensors"))
    assert names == set(micro.Micro().build_model(0).state_dict()) or "1.running_mean" in names
    assert not [name for name in names if "_orig_mod" in name]


def test_a_warm_up_that_fails_costs_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.worker.work.compiled", lambda loss: loss)
    monkeypatch.setattr(warmup.sys, "executable", "/bin/false")
    watcher = Remember()
    spec = spec_of(submission("tests.submissions_for_tests:Base"), facts=COMPILED, smoke=True)
    record = run_here(spec, tmp_path, watcher)
    assert record.status == "exhausted", record.reason
    assert watcher.warnings == ["the compile warm-up ended with code 1; compiling is on the clock (see worker.log)"]


@pytest.mark.parametrize("made", [micro.Micro, micro.MicroStream])
def test_a_rehearsal_leaves_everything_as_it_was(made: type[micro.Micro], monkeypatch: pytest.MonkeyPatch) -> None:
    workload = made()
    model = workload.build_model(0, dropout=0.5)
    entry = micro.ENTRY if made is micro.Micro else micro.STREAM_ENTRY
    spec = spec_of(submission("tests.submissions_for_tests:Base"), entry)
    work = CountedWork(spec, workload, model, workload.train_data(0), torch.device("cpu"))
    other = CountedWork(spec, workload, model, workload.train_data(0), torch.device("cpu"))
    torch.manual_seed(3)
    work.rehearse()
    assert torch.rand(1).equal(torch.manual_seed(3) and torch.rand(1))
    assert all(p.grad is None for p in model.parameters())
    assert work.examples == work.forward_examples == work.gradient_examples == 0
    assert all(torch.equal(a, b) for a, b in zip(work.draw().values(), other.draw().values(), strict=True))
    assert not work.rehearses


@pytest.mark.parametrize("made", [micro.Micro, micro.MicroStream])
def test_random_data_has_the_shapes_and_not_the_values(made: type[micro.Micro]) -> None:
    access = "pool" if made is micro.Micro else "stream"
    real, fake = made().train_data(0), warmup.random_like(made().train_data(0), access)
    at = torch.arange(40)

    def drawn(data: Pool | Stream) -> Batch:
        return data.gather(at) if isinstance(data, Pool) else data.draw(40)

    a, b = drawn(real), drawn(fake)
    assert {k: (t.shape, t.dtype, t.stride()) for k, t in a.items()} == {
        k: (t.shape, t.dtype, t.stride()) for k, t in b.items()
    }
    assert not torch.equal(a["x"], b["x"])
    assert set(b["y"].tolist()) <= set(a["y"].tolist())
