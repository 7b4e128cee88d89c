"""The model, changed by hooks or patched forwards."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cheats.pipeline import cost, honest, is_rejected, run
from tests.cheats.threats import threat


@threat(
    way="replaces `forward` of an inner module or of its class, or the class of a module, or adds a module",
    verdict="caught",
    by="rule `model_architecture`",
)
@pytest.mark.parametrize("name", ["PatchesModule", "PatchesClass", "ChangesClass", "AddsModule"])
def test_changed_modules(name: str, tmp_path: Path) -> None:
    is_rejected(run(f"models:{name}", tmp_path, smoke=True), "the model was changed outside model_options")


@threat(
    way="adds the outputs of a larger model in a hook",
    verdict="made useless",
    by="the evaluator's model has no hooks: the weights must reach the target without them",
)
def test_helping_hook(tmp_path: Path) -> None:
    record = run("models:HelpsInHook", tmp_path)
    assert record.hit is None or cost(record) > cost(honest()), record.reason


@threat(
    way="makes passes cheaper by a hook that drops examples",
    verdict="made useless",
    by="dropped examples are counted, and the run needs more of them",
)
def test_dropping_hook(tmp_path: Path) -> None:
    record = run("models:HalvesBatches", tmp_path)
    assert record.hit is None or cost(record) > cost(honest()), record.reason
