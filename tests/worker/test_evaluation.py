"""Evaluation: of which weights, and that it leaves everything else as it was."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from harness.errors import PluginError
from harness.worker.evaluation import evaluate_split
from tests import micro
from tests.helpers import run_here, spec_of, submission


def entry(name: str, **fields: Any) -> Any:
    return submission(f"tests.submissions_for_tests:{name}", **fields)


def test_evaluation_sees_the_weights_the_submission_offers(tmp_path: Path) -> None:
    """A moving average lags: after equal steps its metrics differ, while training itself is untouched."""
    plain = run_here(spec_of(entry("Base"), smoke=True), tmp_path)
    averaged = run_here(spec_of(entry("Averaged"), smoke=True), tmp_path)
    assert plain.points[-1].train_loss == averaged.points[-1].train_loss
    assert plain.points[-1].metrics != averaged.points[-1].metrics


def test_feedback_is_only_for_those_who_ask(tmp_path: Path) -> None:
    record = run_here(spec_of(entry("WantsFeedback", needs=frozenset({"feedback"})), smoke=True), tmp_path)
    assert record.status == "exhausted", record.reason
    record = run_here(spec_of(entry("WantsFeedback"), smoke=True), tmp_path / "other")
    assert record.status == "crashed"


def test_feedback_is_on_the_weights_that_are_scored(tmp_path: Path) -> None:
    record = run_here(spec_of(entry("ZeroWhenEvaluated", needs=frozenset({"feedback"})), smoke=True), tmp_path)
    assert record.status == "exhausted", record.reason
    assert record.points[-1].metrics["loss"] == pytest.approx(1.0986, abs=1e-3)


class Disturbs(micro.Micro):
    """Its evaluation draws random numbers from every source."""

    def evaluate(self, model: torch.nn.Module, split: Any, stage: int | None = None) -> dict[str, float]:
        assert not model.training
        assert not torch.is_grad_enabled()
        torch.rand(3)
        np.random.rand(3)
        return super().evaluate(model, split, stage)


def test_an_evaluation_needs_no_run_and_changes_nothing() -> None:
    workload: Any = Disturbs()
    model = workload.build_model(0, dropout=0.5).train()
    model[0].eval()
    torch.manual_seed(1)
    np.random.seed(1)
    expected = torch.rand(1), np.random.rand()
    torch.manual_seed(1)
    np.random.seed(1)
    metrics = evaluate_split(workload, model, "score")
    assert evaluate_split(workload, model, "score") == metrics, "dropout is off"
    assert (torch.rand(1), np.random.rand()) == expected
    assert [module.training for module in model] == [False, True, True, True]
    assert model.training
    assert torch.is_grad_enabled()
    assert evaluate_split(workload, model, "feedback") != metrics


def test_the_metric_of_a_target_must_be_reported() -> None:
    class Silent(micro.Micro):
        def evaluate(self, model: torch.nn.Module, split: Any, stage: int | None = None) -> dict[str, float]:
            return {"accuracy": 1.0}

    workload: Any = Silent()
    with pytest.raises(
        PluginError, match=r"must return the target metric 'loss' on the split score, .* only \['accuracy'\]"
    ):
        evaluate_split(workload, workload.build_model(0), "score")
