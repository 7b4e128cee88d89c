"""Passes in parts on one device: the same losses and gradients, and less memory at a time."""

from __future__ import annotations

from contextlib import nullcontext
from functools import partial
from pathlib import Path

import msgspec
import pytest
import torch

from harness.contract.run import RunSpec
from harness.contract.workload import Precision
from harness.worker.distributed.collectives import SINGLE_PROCESS, ProcessGroup
from harness.worker.work import CountedWork
from tests import micro
from tests.helpers import Remember, outcome, run_here, run_worker, spec_of, submission
from tests.worker import ranked
from tests.worker.build import microbatched_work_of
from tests.worker.interrupt import interrupted_run

BASE = submission("tests.submissions_for_tests:Base")


def with_seeds_of(one: RunSpec, other: RunSpec) -> RunSpec:
    """Seeds depend on the workload's name, which differs between these."""
    return msgspec.structs.replace(other, seeds=one.seeds)


def gradients(work: CountedWork, model: torch.nn.Module, n: int) -> tuple[float, list[torch.Tensor]]:
    loss = work.backward(work.draw(indices=torch.arange(n)))
    found = [p.grad.clone() for p in model.parameters() if p.grad is not None]
    model.zero_grad()
    return float(loss), found


@pytest.mark.parametrize("size", [1, 4, 5, 16, 100])
def test_the_loss_and_the_gradient_are_those_of_the_whole(size: int) -> None:
    workload = micro.Micro()
    model = workload.build_model(0)
    work, passes = microbatched_work_of(spec_of(BASE), workload, model)
    whole_loss, whole = gradients(work, model, 16)
    passes.micro_batch = size
    loss, parts = gradients(work, model, 16)
    assert loss == pytest.approx(whole_loss, rel=1e-6)
    assert len(parts) == len(whole)
    for a, b in zip(whole, parts, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)
    assert work.gradient_examples == work.forward_examples == 32
    if size >= 16:
        assert loss == whole_loss
        assert all(torch.equal(a, b) for a, b in zip(whole, parts, strict=True))


class Pretended(ProcessGroup):
    """Rank 0 of two, of which the other holds two examples at a time."""

    count = 2

    def all_reduce_max(self, value: int) -> int:
        return max(value, -2)


def handed_out(work: CountedWork, model: torch.nn.Module) -> list[torch.Tensor]:
    """Gradients through graphs that the submission sums itself: examples weighted by their losses, and a mean."""
    batch = work.draw(indices=torch.arange(16))
    losses = work.loss(batch, per_example=True)
    assert losses.shape == (16,)
    (losses * losses.detach()).sum().backward()  # type: ignore[no-untyped-call]
    (0.5 * work.loss(batch)).backward()  # type: ignore[no-untyped-call]
    found = [p.grad.clone() for p in model.parameters() if p.grad is not None]
    model.zero_grad()
    return [losses.detach(), *found]


@pytest.mark.slow
@pytest.mark.parametrize("compile", [False, True])
def test_graphs_that_are_handed_out_hold_one_piece_at_a_time(compile: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="aot_eager"))
    workload = ranked.Cramped()
    model = workload.build_model(0)
    spec = spec_of(BASE, facts={"precision": Precision(compile=compile)})
    work, passes = microbatched_work_of(spec, workload, model)
    workload.holds = 16
    whole = handed_out(work, model)
    workload.holds = passes.micro_batch = 3
    parts = handed_out(work, model)
    for a, b in zip(whole, parts, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)
    with torch.no_grad():
        torch.testing.assert_close(work.loss(work.draw(indices=torch.arange(16)), per_example=True), whole[0])
    # What is computed twice for want of memory is no pass that the submission asked for.
    assert work.forward_examples == 5 * 16
    assert work.gradient_examples == 4 * 16
    torch._dynamo.reset()


@pytest.mark.parametrize("ranks", [1, 2])
def test_a_piece_that_is_computed_twice_has_its_dropout_twice(ranks: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.worker.microbatch.average_over_ranks", lambda gradients: None)
    found = []
    for again in (True, False):
        if not again:
            monkeypatch.setattr(
                "harness.worker.microbatch.recompute_in_backward", lambda forward, use_reentrant: forward()
            )
        workload = ranked.Parted()
        model = workload.build_model(0, dropout=0.5)
        group = Pretended() if ranks == 2 else SINGLE_PROCESS
        torch.manual_seed(5)
        work, passes = microbatched_work_of(spec_of(BASE), workload, model, group)
        passes.micro_batch = 3
        losses_and_gradients = handed_out(work, model)
        found.append([*losses_and_gradients, torch.rand(1)])
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))


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
        f"a pass over {n} examples does not fit into the device's memory: passes now use at most {n // 2} examples"
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


def test_what_a_failed_pass_moved_on_is_put_back(tmp_path: Path) -> None:
    """Running statistics and dropout are those of a run that was cut from the beginning."""
    watcher = Remember()
    cut = spec_of(BASE, ranked.entry(ranked.EightAtATime), smoke=True)
    found_out = with_seeds_of(cut, spec_of(BASE, ranked.entry(ranked.CrampedNorm), smoke=True))
    records = [run_here(cut, tmp_path / "cut"), run_here(found_out, tmp_path / "found-out", watcher)]
    assert len(watcher.warnings) == 1
    assert "CUBLAS_STATUS_ALLOC_FAILED" in watcher.warnings[0]
    assert outcome(records[0]) == outcome(records[1])
    assert records[0].status == "exhausted", records[0].reason


def test_memory_that_runs_out_between_passes_is_a_row(tmp_path: Path) -> None:
    """With gradients of an earlier pass in place, half a pass could not be taken back."""
    entry = submission("tests.worker.ranked:TwicePerStep")
    record = run_here(spec_of(entry, ranked.entry(ranked.Cramped), smoke=True), tmp_path)
    assert record.status == "out-of-memory"


@pytest.mark.slow
def test_memory_that_runs_out_in_the_middle_is_a_row(tmp_path: Path) -> None:
    """The run is not cut from there on: it would be another one, and its seconds too."""
    watcher = Remember()
    record = run_worker(spec_of(BASE, ranked.entry(ranked.RunsOut)), tmp_path, watcher)
    assert record.status == "out-of-memory"
    assert record.reason == "CUDA out of memory. Tried to allocate 2.00 GiB."
    assert len(record.points) > 5
    assert not watcher.warnings


@pytest.mark.slow
def test_a_device_that_disappears_is_a_row(tmp_path: Path) -> None:
    record = run_worker(spec_of(BASE, ranked.entry(ranked.Fails)), tmp_path)
    assert record.status == "crashed"
    assert record.reason == "the device failed: CUDA error: unspecified launch failure"
    assert len(record.points) > 5


def test_a_device_that_is_gone_at_the_clocks_edge_is_a_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where errors of queued work show; it shows again when the clock is stopped on the way out."""
    calls = 0

    def synchronize() -> None:
        nonlocal calls
        calls += 1
        if calls > 9:
            raise torch.AcceleratorError("CUDA error: GPU is lost\nand more")

    monkeypatch.setattr("harness.worker.setup.synchronizer", lambda device: synchronize)
    record = run_here(spec_of(BASE), tmp_path)
    assert record.status == "crashed"
    assert record.reason == "the device failed: CUDA error: GPU is lost"


def test_ranks_agree_on_what_the_smallest_memory_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.worker.distributed.gradient_sync.GradientSync.overlapping", lambda self: nullcontext())
    warned: list[str] = []
    workload = ranked.Cramped()
    model = workload.build_model(0)
    work, _ = microbatched_work_of(spec_of(BASE), workload, model, Pretended(), warned.append)
    before = torch.get_rng_state()
    work.warm_up_step()
    assert work.micro_batch == 2
    # Half of the sixteen, halved until three fit; then what the other rank said.
    assert [text.split(" (")[0] for text in warned] == [
        "a pass over 8 examples does not fit into the device's memory: passes now use at most 4 examples",
        "a pass over 4 examples does not fit into the device's memory: passes now use at most 2 examples",
    ]
    assert all(p.grad is None for p in model.parameters())
    assert torch.equal(before, torch.get_rng_state())
    workload.holds = 100
    roomy, _ = microbatched_work_of(spec_of(BASE), workload, model, Pretended(), warned.append)
    roomy.warm_up_step()
    assert roomy.micro_batch == 2
    assert warned[-1] == (
        "a pass over 8 examples does not fit into another rank's memory: passes now use at most 2 examples"
    )


def test_a_resumed_run_keeps_the_smaller_size() -> None:
    workload = ranked.Cramped()
    work, passes = microbatched_work_of(spec_of(BASE), workload, workload.build_model(0))
    for now, then, kept in ((100, 7, 7), (5, 7, 5), (None, 7, 7), (5, None, 5), (None, None, None)):
        passes.micro_batch = now
        work.load_rank_state({"micro_batch": then})
        assert work.micro_batch == kept
