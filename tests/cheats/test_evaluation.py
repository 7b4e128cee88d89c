"""Manipulated evaluations."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from harness.contract.run import Nonce
from tests import micro
from tests.cheats.pipeline import cost, gains_nothing, honest, is_rejected, linux, run
from tests.cheats.threats import threat
from tests.cheats.ways.held_out import Table
from tests.helpers import spec_of, submission
from workloads.lm.common import sequence_losses
from workloads.lm.tiny import LmTiny, entropy, held_out

#: The runs whose evaluations are tampered with: they end as honest runs do, or are rejected.


@threat(
    way="replaces `evaluate` of the workload",
    verdict="caught",
    by="rule `harness_code`; in addition, the metrics come from the evaluator, a process that never imports the "
    "submission, and `bench verify` evaluates saved weights",
)
def test_patched_workload(tmp_path: Path) -> None:
    is_rejected(run("evaluation:PatchesWorkload", tmp_path), "Micro.evaluate was replaced")


@threat(way="replaces torch's loss functions", verdict="made useless", by="the evaluator")
def test_patched_losses(tmp_path: Path) -> None:
    gains_nothing(run("evaluation:PatchesLosses", tmp_path))


@threat(way="returns perfect outputs from a hook on the model", verdict="made useless", by="the evaluator")
def test_hooked_outputs(tmp_path: Path) -> None:
    gains_nothing(run("evaluation:HooksOutputs", tmp_path))


@threat(
    way="sends invented evaluations and a hit to the supervisor",
    verdict="caught",
    by="the supervisor takes evaluations from the evaluator, and rejects a run whose worker reports another end than "
    "the evaluator",
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
    way="makes or reads the split `score` itself and trains on it, on a workload without fresh held-out data",
    verdict="out of reach",
    by="public data, or data from a seed in public code, cannot be hidden. `bench show` compares the hit with the "
    "split `audit`. A rerun on a workload with fresh held-out data removes the gain",
)
def test_training_on_the_split(tmp_path: Path) -> None:
    record = run("evaluation:TrainsOnSplit", tmp_path)
    assert record.status == "reached", record.reason
    assert record.points[-1].examples < cost(honest())


NONCE = Nonce(value="ab" * 32, source="local")


@threat(
    way="contains the held-out text of a generated workload, or a table of its n-grams",
    verdict="made useless",
    by="runs with a nonce, and reruns on fresh seeds, draw other held-out text. Such a table has almost no loss on the "
    "usual text, and a loss of more than twice the entropy on other text",
)
def test_table_of_held_out_text(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("BENCH_DATA", str(tmp_path))
    fresh = LmTiny()
    fresh.draw_held_out({"score": "5" * 64})
    usual_NT, fresh_NT = (held_out("score", work.sample("score"))[0][:40] for work in (LmTiny(), fresh))
    table = Table(usual_NT, 27)
    known, unknown = (float(sequence_losses(table, tokens_NT, 8).mean()) for tokens_NT in (usual_NT, fresh_NT))
    assert known < 0.5 * entropy()
    assert unknown > 2 * entropy()


@pytest.mark.slow
@linux
@threat(
    way="searches its memory for the nonce, or for the seeds from which its held-out data are drawn",
    verdict="made useless",
    by="the job of a worker contains neither, and the fork server from which it is forked never read them",
)
def test_search_for_seeds(tmp_path: Path) -> None:
    seeds = spec_of(submission("tests.cheats.ways.honest:Honest"), micro.REDRAWN_ENTRY, nonce=NONCE).held_out
    assert seeds is not None
    known, *secrets = (
        hashlib.sha256(text.encode()).hexdigest() for text in (seeds.feedback, seeds.score, seeds.audit, NONCE.value)
    )
    source = tmp_path / "searches.py"
    source.write_text(
        "from tests.cheats.ways.held_out import SearchesMemory\n"
        f"class Searches(SearchesMemory):\n    known, secrets = {known!r}, frozenset({secrets!r})\n"
    )
    record = run(f"{source}:Searches", tmp_path / "runs", micro.REDRAWN_ENTRY, nonce=NONCE)
    assert record.status in ("reached", "exhausted"), record.reason
    assert record.spec.held_out == seeds
    assert record.trust == "evaluated"
