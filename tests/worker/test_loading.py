"""Importing a submission and its parts."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch

from harness.api import Parameter
from harness.contract.run import PartRef, SubmissionRef
from harness.errors import BenchError, PluginError
from harness.worker.loading import load_submission


def unready(parameters: Sequence[Parameter]) -> torch.optim.Optimizer:
    raise AssertionError("what could not be prepared is never called")


def _refuse() -> None:
    raise BenchError("unready needs a library", fix="install it")


setattr(unready, "prepare", _refuse)  # noqa: B010


def test_parts_are_prepared_when_they_are_loaded() -> None:
    part = PartRef(kind="optimizer", name="unready", load=f"{__name__}:unready")
    with pytest.raises(BenchError, match="unready needs a library"):
        load_submission(SubmissionRef(name="probe", version="1", parts=(part,)))


def not_a_submission() -> None: ...


def test_an_object_that_is_not_a_submission_is_refused() -> None:
    with pytest.raises(PluginError) as raised:
        load_submission(SubmissionRef(name="probe", version="1", load=f"{__name__}:not_a_submission"))
    assert str(raised.value).startswith(
        f"{__name__}:not_a_submission is not a submission: expected a Recipe, a class with step(), eval_weights() and "
        "state_dict(), or a torch optimizer class (set the entry's `load`"
    )
