"""What a recipe hands to its parts beside hyperparameters, and when a part may import."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from harness.api import Fixed, Parameter, Recipe, SubmissionEntry
from harness.errors import BenchError
from harness.types import PartRef, SubmissionRef
from harness.worker.host import load_submission
from tests.helpers import run_here, spec_of, submission

HEARD: dict[str, Any] = {}


def told(parameters: Sequence[Parameter], lr: float, horizon: int | None) -> torch.optim.Optimizer:
    HEARD["horizon"] = horizon
    return torch.optim.SGD([p.tensor for p in parameters], lr=lr)


def greedy(parameters: Sequence[Parameter], **hparams: Any) -> torch.optim.Optimizer:
    HEARD["hparams"] = hparams
    return torch.optim.SGD([p.tensor for p in parameters], lr=hparams["lr"])


def unready(parameters: Sequence[Parameter]) -> torch.optim.Optimizer:
    raise AssertionError("what could not be prepared is never called")


def _refuse() -> None:
    raise BenchError("unready needs a library", fix="install it")


setattr(unready, "prepare", _refuse)  # noqa: B010

Told = Recipe(optimizer=told, schedule=lambda progress: 1.0)
Greedy = Recipe(optimizer=greedy, schedule=lambda progress: 1.0)


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


def test_parts_are_prepared_when_they_are_loaded() -> None:
    part = PartRef(kind="optimizer", name="unready", load=f"{__name__}:unready")
    with pytest.raises(BenchError, match="unready needs a library"):
        load_submission(SubmissionRef(name="probe", version="1", parts=(part,)))
