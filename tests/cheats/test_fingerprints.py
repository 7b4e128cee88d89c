"""Settings for a workload that the submission recognises."""

from __future__ import annotations

from pathlib import Path

from harness.planning.rulesets import ruleset
from tests import micro
from tests.cheats.pipeline import cost, honest, run
from tests.cheats.threats import threat
from tests.cheats.ways.fingerprints import WIDE, fingerprint
from tests.helpers import outcome, spec_of, submission


@threat(
    way="recognises a workload by the shapes of its parameters, and uses settings tuned to it",
    verdict="out of reach",
    by="the model cannot be hidden. A rerun on the same workload repeats the gain. On a variant or another workload "
    "the run equals the honest one, but no score of AlgoRace requires runs on variants. Reading the source shows it",
)
def test_shapes(tmp_path: Path) -> None:
    assert cost(run("fingerprints:ByShapes", tmp_path)) < cost(honest())
    assert outcome(run("fingerprints:ByShapes", tmp_path, WIDE)) == outcome(honest(WIDE))


@threat(
    way="recognises a workload by its budget, and uses settings tuned to it",
    verdict="out of reach",
    by="a ruleset can hide the budget, but the shapes of the parameters still show the workload. Reruns and variants "
    "have the same effect as in the previous row",
)
def test_horizon(tmp_path: Path) -> None:
    assert cost(run("fingerprints:ByHorizon", tmp_path)) < cost(honest())
    assert outcome(run("fingerprints:ByHorizon", tmp_path, WIDE)) == outcome(honest(WIDE))


@threat(
    way="reads the workload's name, its target and a hidden budget from the harness's objects on the stack",
    verdict="out of reach",
    by="the worker needs these objects, and a submission runs in the worker. The objects contain no metrics and no "
    "data of `score`, and do not say whether the target is met. Reruns and variants have the same effect as in the "
    "first row. Reading the source shows it",
)
def test_hidden_budget(tmp_path: Path) -> None:
    record = run("fingerprints:ByBudgetOfTheJob", tmp_path, ruleset=ruleset("anytime"))
    assert record.spec.workload.facts.budget.horizon != micro.FACTS.budget.horizon, "the ruleset draws it"
    log = next(tmp_path.glob("run-*/worker.log")).read_text()
    assert f"found: micro {record.spec.workload.facts.budget.horizon}" in log


@threat(
    way="recognises a run by its initial weights, and uses settings tuned to its seed",
    verdict="made useless",
    by="fresh seeds: `--nonce beacon`, `bench rerun`",
)
def test_seeds(tmp_path: Path) -> None:
    seeds = spec_of(submission("tests.cheats.ways.fingerprints:BySeed")).seeds
    source = tmp_path / "by_seed.py"
    source.write_text(
        "from tests.cheats.ways.fingerprints import BySeed\n"
        f"class Mined(BySeed):\n    known = frozenset({{{fingerprint(micro.Micro().build_model(seeds.model))!r}}})\n"
    )
    assert cost(run(f"{source}:Mined", tmp_path / "runs")) < cost(honest())
    fresh = run(f"{source}:Mined", tmp_path / "runs", seed=1)
    assert outcome(fresh) == outcome(run("honest:Honest", tmp_path / "runs", seed=1))
