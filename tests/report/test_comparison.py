"""`bench compare`, `bench diff` and `bench score`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.report import synthetic
from tests.report.conftest import Bench


@pytest.fixture
def eight(tmp_path: Path) -> Path:
    records = [r for r in synthetic.field(studies=8) if r.spec.hardware == "cpu-synthetic"]
    return synthetic.write(tmp_path / "runs", records)


def test_a_verdict_with_its_numbers(bench: Bench, eight: Path) -> None:
    done = bench("compare", "alpha", "beta", "--json")
    assert done.code == 0, done.err
    result = json.loads(done.out)
    assert result["overall"]["verdict"] == "faster"
    assert result["overall"]["n"] == 8
    assert result["overall"]["spread"]["kind"] == "interval"
    assert "alpha@1 is" in bench("compare", "alpha", "beta").out
    assert "faster (n=8)" in bench("compare", "alpha", "beta", "--workload", "hills").out


def test_the_gate(bench: Bench, eight: Path) -> None:
    assert bench("compare", "beta", "alpha", "--fail-if-slower-than", "1.05").code == 1
    assert bench("compare", "beta", "alpha", "--fail-if-slower-than", "3").code == 0
    assert bench("compare", "alpha", "beta", "--fail-if-slower-than", "1.05").code == 0
    assert bench("compare", "alpha", "beta", "--fail-if-slower-than", "0.5").code == 2


def test_under_six_pairs_and_against_itself_nothing_is_decided(bench: Bench, results: Path) -> None:
    done = bench("compare", "alpha", "beta", "--hardware", "cpu-synthetic", "--fail-if-slower-than", "1")
    assert done.code == 0
    assert "inconclusive (n=3)" in done.out
    assert "no partner" in done.out
    itself = json.loads(bench("compare", "alpha", "alpha", "--hardware", "cpu-synthetic", "--json").out)
    assert itself["overall"]["ratio"] == 1.0
    assert itself["overall"]["verdict"] == "inconclusive"


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["compare", "alpha", "beta"], "--hardware"),
        (["compare", "alpha", "bta"], "did you mean 'beta'"),
        (["compare", "alpha", "beta", "--workload", "hils"], "hills"),
        (["compare", "alpha", "beta", "--hardware", "moon"], "moon"),
        (["diff", "run-a", "run-b"], "begin with"),
        (["diff", "zzz", "run-b"], "no run 'zzz'"),
        (["score"], "--algoperf"),
    ],
)
def test_mistakes(bench: Bench, results: Path, arguments: list[str], word: str) -> None:
    done = bench(*arguments)
    assert done.code == 2
    assert word in done.err


def test_diff_by_path_and_prefix(bench: Bench, results: Path) -> None:
    path = results / "run-alpha-hills-1-0-cpu-synthetic"
    done = bench("diff", str(path), "beta-hills-1-0")
    assert done.code == 0, done.err
    assert "submission.name" in done.out
    assert "environment: no difference" in done.out
    assert "█" in done.out
    plain = json.loads(bench("diff", str(path / "record.json"), "beta-hills-1-0", "--json").out)
    assert plain["configuration"]["submission.name"] == ["alpha", "beta"]
    assert len(plain["curves"]["a"]) < len(plain["curves"]["b"])


def test_diff_of_a_run_without_points(bench: Bench, tmp_path: Path) -> None:
    dead = synthetic.record("beta", evaluations=0, status="crashed", reason="early", environment=None)
    synthetic.write(tmp_path / "runs", [synthetic.record("alpha"), dead])
    done = bench("diff", "run-alpha", "run-beta")
    assert done.code == 0, done.err
    assert "crashed" in done.out


def test_scores_of_published_logs(bench: Bench, tmp_path: Path) -> None:
    """Two made-up submissions; the published logs are scored in tests/scoring."""
    for name, score in (("one", 100.0), ("two", 300.0)):
        for study in range(2):
            trial = tmp_path / "logs" / name / f"study_{study}" / "ogbg_jax" / "trial_1"
            trial.mkdir(parents=True)
            rows = f"score,validation/mean_average_precision\n{score / 2},0.1\n{score + study},0.3\n"
            (trial / "eval_measurements.csv").write_text(rows)
    (tmp_path / "targets.json").write_text(
        '{"workloads": {"ogbg": {"target_metric_name": "mean_average_precision", "validation_target_value": 0.28}},'
        ' "base_workloads": ["ogbg"]}'
    )
    (tmp_path / "held.json").write_text("[]")
    common = ("score", "--algoperf", "logs", "--targets", "targets.json", "--held-out", "held.json")
    done = bench(*common, "--json")
    assert done.code == 0, done.err
    plain = json.loads(done.out)
    assert set(plain) >= {"schema", "scores", "time_to_target"}
    assert plain["time_to_target"]["two"] == {"ogbg": 300.5}
    shown = bench(*common, "--ruleset", "self-tuning")
    assert shown.code == 0
    assert "one" in shown.out
    alone = json.loads(bench(*common, "--without", "one", "--json").out)
    assert alone["scores"] == {"two": 1.0}
    assert bench(*common, "--without", "three").code == 2
    assert bench("score", "--algoperf", "nowhere").code == 1
