"""Sharpness-aware minimisation: its arithmetic, what it counts, and what it leaves alone."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from harness.api import Parameter
from harness.planning import compose
from harness.plugins.registry import load_registry
from submissions.sam import Sharpness
from tests.helpers import run_here, spec_of


class Quadratic(nn.Module):
    """½·Σ cᵢxᵢ², through batch norm's buffers or without."""

    def __init__(self) -> None:
        super().__init__()
        self.x = nn.Parameter(torch.tensor([1.0, 1.0], dtype=torch.float64))
        self.unused = nn.Parameter(torch.ones(2, dtype=torch.float64))
        self.norm = nn.BatchNorm1d(1)


class Passes:
    """Stands in for the harness's work: a backward pass of the quadratic, counted."""

    def __init__(self, model: Quadratic) -> None:
        self.model = model
        self.at: list[torch.Tensor] = []

    def backward(self, batch: Any, scale: float = 1.0) -> torch.Tensor:
        self.at.append(self.model.x.detach().clone())
        self.model.norm(torch.randn(8, 1, generator=torch.Generator().manual_seed(len(self.at))))
        loss = scale * 0.5 * (torch.tensor([1.0, 10.0], dtype=torch.float64) * self.model.x**2).sum()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss.detach()


def sharpness(model: nn.Module) -> Sharpness:
    task: Any = SimpleNamespace(parameters=[Parameter(name, p, "matrix") for name, p in model.named_parameters()])
    return Sharpness(model, task, rho=0.05)


def test_the_gradient_is_taken_at_the_worst_neighbour() -> None:
    model = Quadratic()
    passes: Any = Passes(model)
    start = model.x.detach().clone()
    sharpness(model)(passes, None)  # type: ignore[arg-type]
    gradient = torch.tensor([1.0, 10.0], dtype=torch.float64)
    neighbour = start + 0.05 * gradient / gradient.norm()
    assert len(passes.at) == 2
    assert passes.at[1].tolist() == pytest.approx(neighbour.tolist(), abs=1e-9)
    assert model.x.grad is not None
    assert model.x.grad.tolist() == pytest.approx((gradient * neighbour).tolist(), abs=1e-9)
    assert torch.equal(model.x, start)
    assert model.unused.grad is None
    assert model.unused.tolist() == [1.0, 1.0]


def test_batch_norm_sees_each_batch_once() -> None:
    model, alone = Quadratic(), Quadratic()
    Passes(alone).backward(None)
    sharpness(model)(Passes(model), None)  # type: ignore[arg-type]
    assert torch.equal(model.norm.running_mean, alone.norm.running_mean)  # type: ignore[arg-type]
    assert torch.equal(model.norm.running_var, alone.norm.running_var)  # type: ignore[arg-type]
    assert model.norm.momentum == 0.1


def test_it_takes_the_librarys_steps() -> None:
    library = pytest.importorskip("pytorch_optimizer")
    ours, theirs = Quadratic(), Quadratic()
    work: Any = Passes(ours)
    mine = torch.optim.SGD([ours.x], lr=0.01, momentum=0.9, nesterov=True)
    other = library.SAM([theirs.x], torch.optim.SGD, rho=0.05, lr=0.01, momentum=0.9, nesterov=True)
    curvature = torch.tensor([1.0, 10.0], dtype=torch.float64)
    for _ in range(5):
        mine.zero_grad()
        sharpness(ours)(work, None)  # type: ignore[arg-type]
        mine.step()
        theirs.x.grad = curvature * theirs.x.detach()

        def closure() -> None:
            theirs.x.grad = curvature * theirs.x.detach()

        other.step(closure)
        assert ours.x.tolist() == pytest.approx(theirs.x.tolist(), abs=1e-6)


def test_both_passes_are_on_the_record(tmp_path: Path) -> None:
    """Twice as many gradient-examples as examples drawn."""
    entry = next(s for s in load_registry().submissions() if s.name == "sam-sgd")
    record = run_here(spec_of(entry, smoke=True), tmp_path)
    assert record.counters.gradient_examples == 2 * record.counters.examples > 0


def test_it_composes_with_any_optimizer_schedule_and_average(tmp_path: Path) -> None:
    record = run_here(spec_of(compose.parse_parts("adamw+rex+ema+sam"), smoke=True), tmp_path)
    assert record.status == "exhausted", record.reason
    assert record.counters.gradient_examples == 2 * record.counters.examples > 0
