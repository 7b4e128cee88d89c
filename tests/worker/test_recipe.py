"""What a recipe hands to its parts beside hyperparameters, and when a part may import."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from harness.api import Batch, Fixed, Parameter, Recipe, SubmissionEntry, Task, Work
from harness.worker.recipe import bare_optimizer
from tests.helpers import outcome, run_here, spec_of, submission
from tests.worker.interrupt import interrupted_run

HEARD: dict[str, Any] = {}


def told(parameters: Sequence[Parameter], lr: float, horizon: int | None) -> torch.optim.Optimizer:
    HEARD["horizon"] = horizon
    return torch.optim.SGD([p.tensor for p in parameters], lr=lr)


def greedy(parameters: Sequence[Parameter], **hparams: Any) -> torch.optim.Optimizer:
    HEARD["hparams"] = hparams
    return torch.optim.SGD([p.tensor for p in parameters], lr=hparams["lr"])


Told = Recipe(optimizer=told, schedule=lambda progress: 1.0)
Greedy = Recipe(optimizer=greedy, schedule=lambda progress: 1.0)


class Twice:
    """A gradient that is the mean of two passes over one batch, and counts them; its count is state."""

    def __init__(self, model: nn.Module, task: Task, weight: float) -> None:
        self.weight, self.passes = weight, 0

    def __call__(self, work: Work, batch: Batch) -> None:
        for _ in range(2):
            work.backward(batch, scale=self.weight)
            self.passes += 1

    def state_dict(self) -> dict[str, Any]:
        return {"passes": self.passes}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.passes = state["passes"]


Plain = Recipe(optimizer=greedy, schedule=lambda progress: 1.0)
Doubled = Recipe(optimizer=greedy, schedule=lambda progress: 1.0, gradient=Twice)


def entry(name: str, **fields: Any) -> SubmissionEntry:
    return submission(f"{__name__}:{name}", space={"lr": Fixed(0.1)}, **fields)


@pytest.mark.parametrize(("fraction", "updates"), [(None, 300), ("0.5", 200)])
def test_a_part_that_names_the_horizon_is_told_the_updates_planned(
    fraction: str | None, updates: int, tmp_path: Path
) -> None:
    """The share of the budget that a schedule plans for, in updates; 6400 examples in batches of 16 are 400."""
    overrides = {"batch_size": "16"} | ({"horizon_fraction": fraction} if fraction else {})
    spec = spec_of(entry("Told", needs=frozenset({"horizon"})), overrides=overrides)
    run_here(spec, tmp_path)
    assert HEARD["horizon"] == updates


def test_a_part_that_takes_whatever_comes_gets_hyperparameters_only(tmp_path: Path) -> None:
    run_here(spec_of(entry("Greedy"), smoke=True), tmp_path)
    assert set(HEARD["hparams"]) == {"lr", "batch_size"}


def test_a_gradient_stands_in_for_the_backward_pass(tmp_path: Path) -> None:
    """Half of the gradient twice is the gradient; each pass is on the record, and its state in the checkpoint."""
    both = submission(f"{__name__}:Doubled", space={"lr": Fixed(0.1), "weight": Fixed(0.5)})
    once = run_here(spec_of(entry("Plain"), smoke=True), tmp_path / "once")
    twice = run_here(spec_of(both, smoke=True), tmp_path / "twice")
    assert [p.metrics for p in once.points] == [p.metrics for p in twice.points]
    assert once.final_weights == twice.final_weights
    assert twice.counters.gradient_examples == 2 * once.counters.gradient_examples > 0
    broken = interrupted_run(spec_of(both, smoke=True), tmp_path / "broken", [1])
    assert outcome(broken) == outcome(twice)


def test_betas_of_a_bare_class_are_set_one_by_one() -> None:
    recipe = bare_optimizer(torch.optim.AdamW)
    assert callable(recipe.optimizer)
    weight = Parameter("w", nn.Parameter(torch.ones(1)), "matrix")
    made = recipe.optimizer([weight], lr=0.1, beta1=0.8, beta2=0.95, weight_decay=0.0)
    assert made.param_groups[0]["betas"] == (0.8, 0.95)
