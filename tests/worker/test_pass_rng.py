"""Common random numbers: what two runs with equal seeds share, whatever random numbers their submissions draw."""

from __future__ import annotations

import copy
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from harness.api import Batch
from harness.contract.record import Record
from harness.contract.run import RunSpec
from harness.contract.workload import Budget, Precision
from harness.worker.pass_rng import RECHECK_STEPS, PassRng, derive_seed
from harness.worker.work import CountedWork
from tests import micro
from tests.helpers import outcome, run_here, spec_of, submission
from tests.worker import paired
from tests.worker.build import CPU, microbatched_work_of, work_of
from tests.worker.interrupt import interrupted_run

BASE = submission("tests.submissions_for_tests:Base")


def spec_for(name: str, **settings: Any) -> RunSpec:
    return spec_of(submission(f"tests.worker.paired:{name}"), paired.ENTRY, **settings)


def seen_in(name: str, runs: Path) -> tuple[Record, list[torch.Tensor]]:
    paired.drain()
    record = run_here(spec_for(name, smoke=True), runs)
    assert record.status == "exhausted", record.reason
    return record, paired.drain()


def test_a_submissions_random_numbers_change_nothing_that_it_is_given(tmp_path: Path) -> None:
    quiet, seen = seen_in("Quiet", tmp_path)
    restless, seen_too = seen_in("Restless", tmp_path)
    assert len(seen) == len(seen_too) == 2 * 8
    assert all(torch.equal(a, b) for a, b in zip(seen, seen_too, strict=True))
    # The difference of the pair is exactly zero at every evaluation.
    assert outcome(restless) == outcome(quiet)


def test_two_different_runs_see_the_same(tmp_path: Path) -> None:
    quiet, seen = seen_in("Quiet", tmp_path)
    perturbed, seen_too = seen_in("Perturbed", tmp_path)
    assert outcome(perturbed) != outcome(quiet)
    assert all(torch.equal(a, b) for a, b in zip(seen, seen_too, strict=True))


@settings(deadline=None, max_examples=20)
@given(root=st.integers(0, 10**6), draws=st.lists(st.integers(0, 700), min_size=5, max_size=5))
def test_the_difference_of_a_run_and_its_copy_is_zero(root: int, draws: list[int]) -> None:
    """Of losses and weights after five updates; the copy draws random numbers of its own before each of them."""
    spec = spec_for("Quiet", seed=root)
    results = []
    for numbers in ([0] * 5, draws):
        workload = paired.Stochastic()
        model = workload.build_model(spec.seeds.model)
        work = work_of(spec, workload, model, workload.train_data(spec.seeds.data))
        torch.manual_seed(sum(numbers))
        losses = [torch.stack([take_step(work, model, n) for n in numbers])]
        results.append([*losses, *(p.detach() for p in model.parameters())])
    assert all(float((a - b).abs().max()) == 0.0 for a, b in zip(*results, strict=True))


def take_step(work: CountedWork, model: nn.Module, numbers: int = 0) -> torch.Tensor:
    work.begin_step()
    torch.rand(numbers)
    loss = work.backward(work.draw())
    with torch.no_grad():
        for p in model.parameters():
            assert p.grad is not None
            p.sub_(p.grad, alpha=0.1)
            p.grad = None
    work.end_step()
    return loss


# --- resume ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["Restless", "Perturbed"])
def test_a_run_resumed_anywhere_ends_the_same(name: str, tmp_path: Path) -> None:
    budget = Budget(horizon=512, gradient_examples=1024, seconds={"default": 60.0})
    spec = spec_of(submission(f"tests.worker.paired:{name}"), paired.ENTRY, facts={"budget": budget})
    whole = run_here(spec, tmp_path / "whole")
    assert len(whole.points) == 9
    assert outcome(interrupted_run(spec, tmp_path / "broken", [2, 1, 3])) == outcome(whole)


@pytest.mark.parametrize("stop", range(6))
def test_work_goes_on_from_every_step(stop: int) -> None:
    """Augmentation by position, masks by step, also after draws by index."""

    def start() -> tuple[CountedWork, nn.Module]:
        workload = paired.Stochastic()
        model = workload.build_model(0)
        return work_of(spec_for("Quiet"), workload, model, workload.train_data(3)), model

    work, model = start()
    for step in range(stop):
        take_step(work, model)
        if step == 1:
            work.begin_step()
            work.draw(indices=torch.arange(3))
    state, weights = copy.deepcopy((work.state_dict(), model.state_dict()))
    paired.drain()
    losses = [take_step(work, model) for _ in range(3)]
    seen = paired.drain()
    other, its_model = start()
    other.load_state_dict(state)
    its_model.load_state_dict(weights)
    assert [take_step(other, its_model) for _ in range(3)] == losses
    assert all(torch.equal(a, b) for a, b in zip(seen, paired.drain(), strict=True))


# --- the global generators ------------------------------------------------------------------------


@pytest.mark.parametrize("parted", [False, True])
def test_a_step_with_dropout_leaves_the_generators_as_they_were(parted: bool) -> None:
    workload = paired.Stochastic()
    model = workload.build_model(0)
    if parted:
        work, passes = microbatched_work_of(spec_for("Quiet"), workload, model)
        passes.micro_batch = 5
    else:
        work = work_of(spec_for("Quiet"), workload, model)
    torch.manual_seed(8)
    state = torch.get_rng_state()
    take_step(work, model)
    work.begin_step()
    batch = work.draw()
    work.loss(batch, per_example=True).sum().backward()  # type: ignore[no-untyped-call]
    work.outputs(batch, copy.deepcopy(model))
    assert torch.equal(torch.get_rng_state(), state)
    with pytest.raises(RuntimeError, match="mat1 and mat2"):
        work.loss(Batch(x=torch.zeros(4, 3), y=torch.zeros(4, dtype=torch.int64)))
    assert torch.equal(torch.get_rng_state(), state), "also after an error"


def mask_of(rng: PassRng, step: int, passes: int = 0, part: int = 0) -> list[float]:
    with rng.seeded((step, passes), part):
        return F.dropout(torch.ones(64), 0.5).tolist()


def test_masks_differ_between_steps_passes_parts_ranks_and_seeds() -> None:
    rng = PassRng(CPU, 7)
    mask = mask_of(rng, 3)
    assert mask_of(PassRng(CPU, 7), 3) == mask
    others = [
        mask_of(rng, 4),
        mask_of(rng, 3, passes=1),
        mask_of(rng, 3, part=1),
        mask_of(PassRng(CPU, 7, 1), 3),
        mask_of(PassRng(CPU, 8), 3),
    ]
    assert len({tuple(m) for m in [mask, *others]}) == 6


def test_two_passes_over_a_batch_in_one_step_have_two_masks() -> None:
    workload = paired.Stochastic()
    work = work_of(spec_for("Quiet"), workload)
    work.begin_step()
    batch = work.draw()
    paired.drain()
    work.backward(batch)
    work.backward(batch)
    first, second = paired.drain()
    assert not torch.equal(first, second)


def test_masks_drop_at_the_rate_of_the_model_and_are_unrelated() -> None:
    rng, units, steps = PassRng(CPU, 0), 1_000, 400
    masks = []
    for step in range(steps):
        with rng.seeded((step, 0)):
            masks.append(F.dropout(torch.ones(units), 0.3) == 0)
    dropped_SU = torch.stack(masks).double()
    # Four standard errors.
    assert float((dropped_SU.mean() - 0.3).abs()) < 4 * (0.21 / units / steps) ** 0.5
    assert float((dropped_SU.mean(0) - 0.3).abs().max()) < 5 * (0.21 / steps) ** 0.5
    later = torch.corrcoef(torch.stack([dropped_SU[1:].flatten(), dropped_SU[:-1].flatten()]))[0, 1]
    assert abs(float(later)) < 4 / (units * steps) ** 0.5


def test_seeds_of_unlike_counters_differ() -> None:
    counters = [(seed, step, index) for seed in range(3) for step in range(120) for index in range(3)]
    assert len({derive_seed(*c) for c in counters}) == len(counters)
    assert all(0 <= derive_seed(*c) < 2**63 for c in counters)


def test_passes_are_numbered_within_their_step() -> None:
    rng = PassRng(CPU, 7)
    rng.begin_step(4)
    assert [rng.next_pass(), rng.next_pass()] == [(4, 0), (4, 1)]
    rng.begin_step(5)
    assert rng.next_pass() == (5, 0)
    rng.active = False
    assert rng.next_pass() is None


def test_a_part_is_computed_again_with_its_masks_after_the_model_stopped_drawing() -> None:
    """Its pass was seeded, and so is its repetition in the backward pass."""
    workload = paired.Stochastic()
    model = workload.build_model(0)
    work, passes = microbatched_work_of(spec_for("Quiet"), workload, model)
    passes.micro_batch = 8
    work.begin_step()
    batch = work.draw()
    paired.drain()
    loss = work.loss(batch)
    masks = paired.drain()
    work._forward.rng.active = False
    loss.backward()  # type: ignore[no-untyped-call]
    assert len(masks) == 2
    assert {tuple(m.flatten().tolist()) for m in paired.drain()} == {tuple(m.flatten().tolist()) for m in masks}


# --- models that draw nothing ---------------------------------------------------------------------


class Functional(micro.Micro):
    """Dropout that no module shows."""

    def loss(self, model: nn.Module, batch: Batch, per_example: bool = False) -> torch.Tensor:
        x = F.dropout(batch["x"], 0.5, model.training)
        return F.cross_entropy(model(x), batch["y"], reduction="none" if per_example else "mean")


def test_passes_are_seeded_only_if_the_model_draws() -> None:
    plain, hidden = micro.Micro(), Functional()
    for workload, active in ((plain, False), (hidden, True)):
        model = workload.build_model(0)
        work = work_of(spec_of(BASE), workload, model)
        for _ in range(3):
            take_step(work, model)
        assert work._forward.rng.active == active
        state = work.state_dict()
        other = work_of(spec_of(BASE), workload)
        other.load_state_dict(state)
        assert other._forward.rng.active == active


def test_a_pass_without_training_shows_nothing() -> None:
    workload = micro.Micro()
    model = workload.build_model(0, dropout=0.5)
    work = work_of(spec_of(BASE), workload, model)
    work.begin_step()
    batch = work.draw()
    model.eval()
    work.loss(batch)
    work.outputs(batch, copy.deepcopy(model).train())
    assert work._forward.rng.active
    model.train()
    work.loss(batch)
    assert work._forward.rng.active


def test_dropout_that_begins_later_is_found() -> None:
    workload = micro.Micro()
    model = workload.build_model(0)
    work = work_of(spec_of(BASE), workload, model)
    take_step(work, model)
    assert not work._forward.rng.active
    model[2].p = 0.5  # type: ignore[index]
    while work.steps < RECHECK_STEPS:
        take_step(work, model)
    state = torch.get_rng_state()
    take_step(work, model)
    assert work._forward.rng.active
    assert torch.equal(torch.get_rng_state(), state)


# --- other ways to a loss -------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["aot_eager", "inductor"])
# The compiler's own warnings.
@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:.*torch.jit.script_method.* is deprecated:DeprecationWarning")
def test_compiled_losses_have_the_same_masks_in_paired_runs(backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    torch._dynamo.reset()
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend=backend))
    losses = []
    for noise in (0, 3):
        workload = micro.Micro()
        model = workload.build_model(0, dropout=0.5)
        spec = spec_of(BASE, facts={"precision": Precision(compile=True)})
        work = work_of(spec, workload, model)
        torch.manual_seed(noise)
        state = torch.get_rng_state()
        losses.append([float(take_step(work, model)) for _ in range(4)])
        assert torch.equal(torch.get_rng_state(), state)
        assert work._forward.rng.active
    assert losses[0] == losses[1]
    torch._dynamo.reset()


def test_functional_transforms_have_the_masks_of_their_pass() -> None:
    workload = micro.Micro()
    model = workload.build_model(0, dropout=0.5)
    found = []
    for noise in (0, 3):
        work = work_of(spec_of(BASE), workload, model)
        torch.manual_seed(noise)
        work.begin_step()
        batch = work.draw(4)
        y = batch["y"]
        found.append(torch.func.grad(lambda x, work=work, y=y: work.loss(Batch(x=x, y=y)))(batch["x"]))
        assert work._forward.rng.active
    assert torch.equal(found[0], found[1])
    assert float(found[0].detach().abs().sum()) > 0


def test_a_stream_counts_its_positions_too() -> None:
    from harness.api import StagedStream

    x = torch.zeros(8, 2)
    seen = []
    for cuts in ((4, 4, 4), (2, 6, 4)):
        stream = StagedStream([paired.Jittered(0, x=x, y=x[:, 0]), paired.Jittered(0, x=x, y=x[:, 0])], seed=0)
        drawn = [stream.draw(n)["x"] for n in cuts[:2]]
        stream.advance()
        state = copy.deepcopy(stream.state_dict())
        drawn.append(stream.draw(4)["x"])
        stream.load_state_dict(state)
        assert torch.equal(stream.draw(4)["x"], drawn[-1])
        seen.append(torch.cat(drawn))
    assert torch.equal(seen[0], seen[1])
    assert len({tuple(point) for point in seen[0].tolist()}) == 12
