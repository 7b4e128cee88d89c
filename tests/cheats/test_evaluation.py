"""Manipulated evaluations."""

from __future__ import annotations

from pathlib import Path

from tests.cheats.pipeline import cost, gains_nothing, honest, is_rejected, linux, run
from tests.cheats.threats import threat

#: The runs whose evaluations are tampered with: they end as honest runs do, or are rejected.


@threat(
    way="replaces `evaluate` of the workload",
    verdict="made useless",
    by="the evaluator, a process that never imports the submission; `bench verify` evaluates saved weights",
)
def test_patched_workload(tmp_path: Path) -> None:
    gains_nothing(run("evaluation:PatchesWorkload", tmp_path))


@threat(way="replaces torch's loss functions", verdict="made useless", by="the evaluator")
def test_patched_losses(tmp_path: Path) -> None:
    gains_nothing(run("evaluation:PatchesLosses", tmp_path))


@threat(way="returns perfect outputs from a hook on the model", verdict="made useless", by="the evaluator")
def test_hooked_outputs(tmp_path: Path) -> None:
    gains_nothing(run("evaluation:HooksOutputs", tmp_path))


@threat(
    way="sends invented evaluations and a hit to the supervisor",
    verdict="caught",
    by="the supervisor takes evaluations from the evaluator, and rejects a worker that reports another end",
)
def test_written_events(tmp_path: Path) -> None:
    is_rejected(run("evaluation:WritesEvents", tmp_path), "")


@linux
@threat(
    way="reads the memory of the supervisor and the evaluator",
    verdict="made useless",
    by="the sandbox; the evaluator cannot be traced by a debugger",
)
def test_memory(tmp_path: Path) -> None:
    gains_nothing(run("evaluation:ReadsEvaluator", tmp_path))


@threat(
    way="makes or reads the split `score` itself and trains on it",
    verdict="out of reach",
    by="public data, or data from a seed in public code, cannot be hidden. `bench show` compares the hit with the "
    "split `audit`. A rerun with other data, or on another workload, removes the gain",
)
def test_training_on_the_split(tmp_path: Path) -> None:
    record = run("evaluation:TrainsOnSplit", tmp_path)
    assert record.status == "reached", record.reason
    assert record.points[-1].examples < cost(honest())
