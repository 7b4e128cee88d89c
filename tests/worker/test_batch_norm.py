"""Batch norm's statistics: taken anew for the weights that are evaluated, counted, and put back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from harness.api import Batch, WorkloadEntry
from harness.worker.batch_norm import BATCHES, BatchStatistics
from harness.worker.recipe import Recipe, RecipeSubmission
from tests import micro
from tests.helpers import outcome, run_here, spec_of, submission
from tests.worker.interrupt import interrupted_run


class MicroNorm(micro.Micro):
    """The micro workload with batch norm."""

    def build_model(self, seed: int, dropout: float = 0.0) -> nn.Module:
        torch.manual_seed(seed)
        return nn.Sequential(nn.Linear(2, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.3), nn.Linear(16, 3))


ENTRY = WorkloadEntry(
    facts=micro.FACTS, load=f"{__name__}:MicroNorm", summary="points, with batch norm", distribution="tests"
)


def _sgd(parameters: Any, lr: float = 0.1) -> torch.optim.Optimizer:
    return torch.optim.SGD([p.tensor for p in parameters], lr=lr, momentum=0.9)


def _ema(model: nn.Module) -> Any:
    from submissions.averaging.ema import Ema

    return Ema(model, ema_decay=0.9)


Plain = Recipe(optimizer=_sgd, schedule=lambda p: 1.0)
Averaged = Recipe(optimizer=_sgd, schedule=lambda p: 1.0, averaging=_ema)


class FakeWork:
    """Counts forward passes."""

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self.passes = 0

    def outputs(self, batch: Batch) -> torch.Tensor:
        self.passes += batch.n
        out: torch.Tensor = self.model(batch["x"])
        return out


def test_statistics_are_those_of_the_evaluated_weights() -> None:
    model = MicroNorm().build_model(0).train()
    statistics = BatchStatistics.from_model(model)
    assert statistics is not None
    work: Any = FakeWork(model)
    batches = [Batch(x=micro.points(16, seed)[0]) for seed in range(BATCHES + 3)]
    for batch in batches:
        statistics.remember(batch, work)
    norm = model[1]  # type: ignore[index]
    before = {name: b.clone() for name, b in norm.named_buffers()}
    modes, rng = [m.training for m in model.modules()], torch.get_rng_state()
    with statistics.use_recomputed():
        with torch.no_grad():
            inside = torch.stack([model[0](b["x"]).mean(0) for b in batches[-BATCHES:]])  # type: ignore[index]
        assert torch.allclose(norm.running_mean, inside.mean(0), atol=1e-6)
        assert [m.training for m in model.modules()] == modes
    assert work.passes == 16 * BATCHES
    assert all(torch.equal(before[name], b) for name, b in norm.named_buffers())
    assert norm.momentum == 0.1
    assert torch.equal(rng, torch.get_rng_state()), "dropout must not draw"
    with statistics.use_recomputed():
        assert torch.allclose(norm.running_mean, inside.mean(0), atol=1e-6)
    assert work.passes == 16 * BATCHES, "nothing was trained on since"
    assert all(torch.equal(before[name], b) for name, b in norm.named_buffers())
    statistics.remember(batches[0], work)
    with statistics.use_recomputed():
        assert not torch.allclose(norm.running_mean, inside.mean(0), atol=1e-6)
    assert work.passes == 16 * (BATCHES + 1)


def test_only_where_other_weights_are_evaluated_and_norms_exist() -> None:
    def made(recipe: Recipe, model: nn.Module) -> RecipeSubmission:
        from tests.submissions.test_parts import task

        given = task(torch.rand(5), 100)
        from harness.api import Parameter

        given.parameters = [Parameter(n, p, "matrix") for n, p in model.named_parameters()]
        return recipe(model, given, {})

    normed, plain = MicroNorm().build_model(0), micro.Micro().build_model(0)
    assert made(Averaged, normed)._statistics is not None
    assert made(Plain, normed)._statistics is None
    assert made(Averaged, plain)._statistics is None


@pytest.mark.parametrize("name", ["Plain", "Averaged"])
def test_refreshing_is_counted_and_an_interrupted_run_ends_the_same(name: str, tmp_path: Path) -> None:
    spec = spec_of(submission(f"{__name__}:{name}"), ENTRY, smoke=True)
    whole = run_here(spec, tmp_path / "whole")
    assert whole.status == "exhausted", whole.reason
    # Two evaluations, four batches of 16 before each.
    extra = 2 * 64 if name == "Averaged" else 0
    assert whole.counters.forward_examples == whole.counters.gradient_examples + extra
    assert outcome(interrupted_run(spec, tmp_path / "broken", [2])) == outcome(whole)
