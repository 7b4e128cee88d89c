"""A changed model: hooks and replaced `forward`."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.execution import supervisor, trial_processes, worker_process
from tests.cheats.pipeline import cost, gains_nothing, honest, is_rejected, run
from tests.cheats.threats import threat
from tests.helpers import run_here, spec_of, submission


@threat(
    way="replaces `forward` of an inner module or of its class, or the class of a module, or adds a module",
    verdict="caught",
    by="rule `model_architecture`",
)
@pytest.mark.parametrize("name", ["PatchesModule", "PatchesClass", "ChangesClass", "AddsModule"])
def test_changed_modules(name: str, tmp_path: Path) -> None:
    is_rejected(run(f"models:{name}", tmp_path, smoke=True), "the model was changed outside model_options")


@threat(
    way="adds the outputs of a second, larger model in a hook",
    verdict="made useless",
    by="the evaluator's model has no hooks: the weights must reach the target without them",
)
def test_helping_hook(tmp_path: Path) -> None:
    record = run("models:HelpsInHook", tmp_path)
    assert record.hit is None or cost(record) > cost(honest()), record.reason


@threat(
    way="multiplies the logits in a hook whenever the model is evaluated",
    verdict="made useless",
    by="the evaluator's model has no hooks, so the metrics are those of the honest run. Where the worker evaluates, "
    "the saved weights have other metrics, and the run is rejected. A hook in training passes is part of the training",
)
@pytest.mark.parametrize("name", ["SharpensLogits", "SharpensLogitsEverywhere"])
def test_scaled_logits(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gains_nothing(run(f"models:{name}", tmp_path))
    if name == "SharpensLogits":
        spec = spec_of(submission(f"tests.cheats.ways.models:{name}"))
        assert cost(run_here(spec, tmp_path / "here")) < cost(honest()), "it gains where nobody else evaluates"
        for module in (supervisor, trial_processes, worker_process):
            monkeypatch.setattr(module, "evaluates_outside", lambda spec: False)
        is_rejected(run(f"models:{name}", tmp_path / "worker"), "the saved weights do not have the reported metrics")


@threat(
    way="drops examples in a hook, which makes passes cheaper",
    verdict="made useless",
    by="dropped examples are counted like the others, and the run needs more examples",
)
def test_dropping_hook(tmp_path: Path) -> None:
    record = run("models:HalvesBatches", tmp_path)
    assert record.hit is None or cost(record) > cost(honest()), record.reason
