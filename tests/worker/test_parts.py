"""Passes in parts on one device: the same losses and gradients, and less memory at a time."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
import torch

from harness.types import RunSpec
from harness.worker.parts import PartedWork
from tests import micro
from tests.helpers import Remember, outcome, run_here, spec_of, submission
from tests.worker import ranked
from tests.worker.test_loop import interrupted_run

BASE = submission("tests.submissions_for_tests:Base")


def with_seeds_of(one: RunSpec, other: RunSpec) -> RunSpec:
    """Seeds depend on the workload's name, which differs between these."""
    return msgspec.structs.replace(other, seeds=one.seeds)


def gradients(work: PartedWork, model: torch.nn.Module, n: int) -> tuple[float, list[torch.Tensor]]:
    loss = work.backward(work.draw(indices=torch.arange(n)))
    found = [p.grad.clone() for p in model.parameters() if p.grad is not None]
    model.zero_grad()
    return float(loss), found


@pytest.mark.parametrize("size", [1, 4, 5, 16, 100])
def test_the_loss_and_the_gradient_are_those_of_the_whole(size: int) -> None:
    workload = micro.Micro()
    model = workload.build_model(0)
    work = PartedWork(spec_of(BASE), workload, model, workload.train_data(0), torch.device("cpu"))
    whole_loss, whole = gradients(work, model, 16)
    work.micro_batch = size
    loss, parts = gradients(work, model, 16)
    assert loss == pytest.approx(whole_loss, rel=1e-6)
    assert len(parts) == len(whole)
    for a, b in zip(whole, parts, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)
    assert work.gradient_examples == work.forward_examples == 32
    if size >= 16:
        assert loss == whole_loss
        assert all(torch.equal(a, b) for a, b in zip(whole, parts, strict=True))


def test_a_run_in_parts_is_the_run_in_one(tmp_path: Path) -> None:
    spec = spec_of(BASE)
    whole = run_here(spec, tmp_path / "whole")
    parted = run_here(with_seeds_of(spec, spec_of(BASE, ranked.entry(ranked.Parted))), tmp_path / "parted")
    assert parted.status == whole.status == "reached"
    assert [p.examples for p in parted.points] == [p.examples for p in whole.points]
    assert [p.metrics["loss"] for p in parted.points] == pytest.approx(
        [p.metrics["loss"] for p in whole.points], abs=1e-5
    )
    assert parted.counters.forward_examples == whole.counters.forward_examples


def test_too_little_memory_halves_the_pass_and_says_so(tmp_path: Path) -> None:
    watcher = Remember()
    ordinary = spec_of(BASE, smoke=True)
    spec = with_seeds_of(ordinary, spec_of(BASE, ranked.entry(ranked.Cramped), smoke=True))
    record = run_here(spec, tmp_path / "cramped", watcher)
    assert record.status == "exhausted", record.reason
    assert [text.split(" (")[0] for text in watcher.warnings] == [
        f"the device's memory does not hold a pass over {n} examples: {n // 2} at a time from now on"
        for n in (16, 8, 4)
    ]
    assert "Tried to allocate 40.00 GiB" in watcher.warnings[0]
    plain = run_here(ordinary, tmp_path / "plain")
    assert record.points[-1].metrics["loss"] == pytest.approx(plain.points[-1].metrics["loss"], abs=1e-5)
    # A pass that was begun in vain is not one that the submission asked for.
    assert record.counters.forward_examples == plain.counters.forward_examples
    # The size is kept: a run that goes on does not try the larger ones again, and ends the same.
    assert outcome(interrupted_run(spec, tmp_path / "broken", [2])) == outcome(record)


def test_too_little_memory_for_one_example_is_a_row(tmp_path: Path) -> None:
    record = run_here(spec_of(BASE, ranked.entry(ranked.Hopeless), smoke=True), tmp_path)
    assert record.status == "out-of-memory"
    assert record.reason == "CUDA out of memory. Tried to allocate 40.00 GiB."


def test_memory_that_runs_out_between_passes_is_a_row(tmp_path: Path) -> None:
    """With gradients of an earlier pass in place, half a pass could not be taken back."""
    entry = submission("tests.worker.ranked:TwicePerStep")
    record = run_here(spec_of(entry, ranked.entry(ranked.Cramped), smoke=True), tmp_path)
    assert record.status == "out-of-memory"
