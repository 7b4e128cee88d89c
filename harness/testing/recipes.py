"""Recipes for tests of workloads and of parts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from harness.contract.domains import LogUniform
from harness.contract.entries import SubmissionEntry
from harness.worker.protocols import Parameter
from harness.worker.recipe import Recipe


def _sgd(parameters: Sequence[Parameter], lr: float) -> torch.optim.Optimizer:
    return torch.optim.SGD([p.tensor for p in parameters], lr=lr, momentum=0.9)


def _adam(parameters: Sequence[Parameter], lr: float) -> torch.optim.Optimizer:
    return torch.optim.Adam([p.tensor for p in parameters], lr=lr)


def _keep_rate(progress: object) -> float:
    return 1.0


def make_recipe(**parts: Any) -> Recipe:
    """Return a recipe with the given parts. The default optimizer is SGD, and the default schedule is constant.

    Args:
        parts: fields of `Recipe`, such as `averaging=…`. If no optimizer is given, the hyperparameter `lr` is added to
            the `search_space`.

    >>> make_recipe(schedule=lambda progress: 0.5).search_space["lr"].default
    0.05
    """
    if "optimizer" not in parts:
        parts["search_space"] = {"lr": LogUniform(1e-3, 1.0, default=0.05), **parts.get("search_space", {})}
    return Recipe(**{"optimizer": _sgd, "schedule": _keep_rate, **parts})


SGD = make_recipe()
ADAM = make_recipe(optimizer=_adam, search_space={"lr": LogUniform(1e-4, 1e-1, default=2e-3)})
#: Two submissions without needs, with which workloads are tried.
PLAIN_SUBMISSIONS = tuple(
    SubmissionEntry(name=name, summary=name, load=f"{__name__}:{name.upper()}", space=recipe.search_space)
    for name, recipe in (("sgd", SGD), ("adam", ADAM))
)
