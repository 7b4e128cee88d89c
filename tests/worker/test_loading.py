"""Importing a submission and its parts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch
from torch import nn

from harness.api import Parameter, Recipe
from harness.contract.held_out import HeldOutSeeds
from harness.contract.run import PartRef, SubmissionRef
from harness.errors import BenchError, PluginError
from harness.worker.loading import load_submission, load_workload
from tests import micro
from tests.helpers import run_here, spec_of, submission


def unready(parameters: Sequence[Parameter]) -> torch.optim.Optimizer:
    raise AssertionError("what could not be prepared is never called")


def _refuse() -> None:
    raise BenchError("unready needs a library", fix="install it")


setattr(unready, "prepare", _refuse)  # noqa: B010


def test_parts_are_prepared_when_they_are_loaded() -> None:
    part = PartRef(kind="optimizer", name="unready", load=f"{__name__}:unready")
    with pytest.raises(BenchError, match="unready needs a library"):
        load_submission(SubmissionRef(name="probe", version="1", parts=(part,)))


def test_a_workload_that_cannot_draw_held_out_data_is_refused() -> None:
    seeds = HeldOutSeeds(feedback="1" * 64, score="", audit="")
    spec = msgspec.structs.replace(spec_of(submission("tests.submissions_for_tests:Base")), held_out=seeds)
    with pytest.raises(PluginError, match=r"has no method draw_held_out\(\)"):
        load_workload(spec)


def not_a_submission() -> None: ...


def test_an_object_that_is_not_a_submission_is_refused() -> None:
    with pytest.raises(PluginError) as raised:
        load_submission(SubmissionRef(name="probe", version="1", load=f"{__name__}:not_a_submission"))
    assert str(raised.value).startswith(
        f"{__name__}:not_a_submission is not a submission: expected a Recipe, a class with step(), eval_weights() and "
        "state_dict(), or a torch optimizer class (set the entry's `load`"
    )


def sgd(parameters: Sequence[Parameter], lr: float = 0.1) -> torch.optim.Optimizer:
    return torch.optim.SGD([p.tensor for p in parameters], lr=lr)


REPLAYING = Recipe(optimizer=sgd, schedule=lambda progress: 1.0, replay=lambda task: None)


def test_a_recipe_whose_entry_does_not_declare_its_needs_is_refused() -> None:
    ref = SubmissionRef(name="probe", version="1", load=f"{__name__}:REPLAYING")
    with pytest.raises(PluginError, match="needs replay, which the entry of probe@1 does not declare") as raised:
        load_submission(ref)
    assert raised.value.fix == "add needs={'replay'} to the entry"
    load_submission(msgspec.structs.replace(ref, needs=frozenset({"replay"})))


class OddKinds(micro.Micro):
    """A workload whose parameters have kinds that do not exist."""

    def parameter_kinds(self, model: nn.Module) -> dict[str, Any]:
        return {name: "matrx" if name.endswith("weight") else None for name, _ in model.named_parameters()}


def test_kinds_of_parameters_that_do_not_exist_are_refused(tmp_path: Path) -> None:
    entry = msgspec.structs.replace(micro.ENTRY, load=f"{__name__}:OddKinds")
    record = run_here(spec_of(submission("tests.submissions_for_tests:Base"), entry, smoke=True), tmp_path)
    assert record.status == "crashed"
    assert "assigns kinds to its parameters that do not exist: 'matrx', None" in record.reason
    assert not record.points
