"""A changed model or workload: hooks, replaced `forward`, replaced losses."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.execution import supervisor, trial_processes, worker_process
from tests import micro
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
    way="replaces `loss` of the workload by a loss over fewer examples: in its class or in a subclass, in the object, "
    "or in the objects of the harness that compute passes",
    verdict="caught",
    by="rule `harness_code`",
)
@pytest.mark.parametrize(
    ("name", "replaced"),
    [
        ("ReplacesLossOfClass", "Micro.loss was"),
        ("AddsToSubclass", "MicroStream.loss was"),
        ("ReplacesLossOfInstance", "Micro.loss of an object"),
        ("ReplacesBoundLoss", "WholeBatchPasses._loss of an object"),
        ("ReplacesPasses", "CountedWork._passes of an object"),
        ("ChangesClass", "the class of an object"),
    ],
)
def test_replaced_loss(name: str, replaced: str, tmp_path: Path) -> None:
    entry = micro.STREAM_ENTRY if name == "AddsToSubclass" else micro.ENTRY
    is_rejected(run(f"workloads:{name}", tmp_path, entry, smoke=True), replaced)


@threat(
    way="replaces a function or an imported module in the workload's module, or hides a builtin function there",
    verdict="caught",
    by="rule `harness_code`",
)
@pytest.mark.parametrize(
    ("name", "replaced"), [("ReplacesHelper", "points"), ("ReplacesImportedModule", "F"), ("HidesBuiltin", "float")]
)
def test_replaced_helpers(name: str, replaced: str, tmp_path: Path) -> None:
    is_rejected(run(f"workloads:{name}", tmp_path, smoke=True), f"tests.micro.{replaced} was replaced")


@threat(
    way="replaces `loss` of the workload while it is imported, and restores it in its constructor",
    verdict="caught",
    by="rule `harness_code`, which is also checked before the run is built",
)
def test_restored_loss(tmp_path: Path) -> None:
    is_rejected(run("workloads:ReplacesDuringImport", tmp_path, smoke=True), "Micro.loss was replaced")


@threat(
    way="swaps the code of the workload's loss around each pass, and restores it before the step returns",
    verdict="caught",
    by="rule `harness_code`, which also compares the code that computes passes, during random passes",
)
def test_swapped_loss(tmp_path: Path) -> None:
    # The probability that no comparison falls into one of more than a hundred passes is below 1e-13.
    is_rejected(run("workloads:SwapsWithinSteps", tmp_path), "Micro.loss was replaced")


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
