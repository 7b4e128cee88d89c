"""Evaded counters."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cheats.pipeline import cost, honest, is_rejected, run
from tests.cheats.threats import threat


@threat(
    way="assigns to the counters of `work`",
    verdict="caught",
    by="rule `unchanged_counters`, which keeps its own counts",
)
def test_reset_counters(tmp_path: Path) -> None:
    is_rejected(run("counters:ResetsCounters", tmp_path), "instead of")


@threat(way="replaces the method of `work` that counts", verdict="caught", by="rule `harness_code`")
def test_replaced_backward(tmp_path: Path) -> None:
    is_rejected(run("counters:ReplacesBackward", tmp_path), "backward of an object was replaced")


@threat(way="computes all gradients without counted passes", verdict="caught", by="rule `uncounted_training`")
def test_uncounted_training(tmp_path: Path) -> None:
    is_rejected(run("counters:TrainsUncounted", tmp_path), "no forward or backward pass was counted")


@threat(
    way="computes all gradients without counted passes, and makes counted passes in `eval_weights`, or raises the "
    "counter of passes until it is compared",
    verdict="caught",
    by="rule `uncounted_training`, which counts the passes in steps itself",
)
@pytest.mark.parametrize("name", ["PassesInEvalWeights", "InventsPasses"])
def test_pretended_passes(name: str, tmp_path: Path) -> None:
    is_rejected(run(f"counters:{name}", tmp_path), "no forward or backward pass was counted in a step")


@threat(
    way="trains a deep copy of the model",
    verdict="made useless",
    by="copies of the model carry the hook that counts",
)
def test_copies(tmp_path: Path) -> None:
    record = run("counters:CallsCopies", tmp_path)
    assert record.counters.gradient_examples >= 3 * record.counters.examples, record.reason


@threat(
    way="takes data from the harness, and makes passes over them with its own code instead of the model, in addition "
    "to one counted pass per step",
    verdict="out of reach",
    by="the examples and passes of its own code are not counted, which is a gain in tables by examples. Their time is "
    "scored. A rerun repeats the gain; reading the source shows it",
)
def test_mostly_uncounted_training(tmp_path: Path) -> None:
    record = run("counters:TrainsMostlyUncounted", tmp_path)
    assert record.status == "reached", record.reason
    assert cost(record) < cost(honest())
