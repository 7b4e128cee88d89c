"""Settings by fingerprint."""

from __future__ import annotations

from pathlib import Path

from tests import micro
from tests.cheats.pipeline import cost, honest, run
from tests.cheats.threats import threat
from tests.cheats.ways.fingerprints import WIDE, fingerprint
from tests.helpers import outcome, spec_of, submission


@threat(
    way="recognises a workload by the shapes of its parameters, and uses settings tuned to it",
    verdict="made useless",
    by="variants: on a workload that differs in a detail, the run equals the honest one. On the known workload the "
    "gain stays, also in a rerun",
)
def test_shapes(tmp_path: Path) -> None:
    assert cost(run("fingerprints:ByShapes", tmp_path)) < cost(honest())
    assert outcome(run("fingerprints:ByShapes", tmp_path, WIDE)) == outcome(honest(WIDE))


@threat(
    way="recognises a workload by its budget, and uses settings tuned to it",
    verdict="made useless",
    by="variants, as above",
)
def test_horizon(tmp_path: Path) -> None:
    assert outcome(run("fingerprints:ByHorizon", tmp_path, WIDE)) == outcome(honest(WIDE))


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
