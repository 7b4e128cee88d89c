"""`bench cost`: alternating short runs, the ratio with its range, and refused calls."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness import cli
from harness.calibration.cost_runs import plan_cost_runs
from harness.contract.record import Session
from harness.contract.run import RunSpec
from harness.errors import UsageError
from harness.planning.internal_rulesets import COST_RULESET
from harness.planning.phases import SubmissionOnWorkload
from harness.planning.trials import PlanSettings
from harness.plugins.registry import load_registry
from harness.scoring.cost_ratio import cost_ratios
from tests.scoring.builders import record, spec


def plan(*names: str, repetitions: int = 3, intervals: int = 2, workload: str = "resnet-digits") -> tuple[RunSpec, ...]:
    registry = load_registry()
    settings = PlanSettings(ruleset=COST_RULESET, device="cpu")
    pairs = [
        SubmissionOnWorkload(submission=registry.submission(n), workload=registry.workload(workload), settings=settings)
        for n in names
    ]
    return plan_cost_runs(pairs, registry, repetitions=repetitions, intervals=intervals)


def test_runs_alternate_in_reversed_order_and_end_after_the_intervals() -> None:
    specs = plan("wsd", "adamw-cosine")
    assert [(s.submission.name, s.study) for s in specs] == [
        ("wsd", 0), ("adamw-cosine", 0), ("adamw-cosine", 1), ("wsd", 1), ("wsd", 2), ("adamw-cosine", 2),
    ]  # fmt: skip
    assert {s.stop for s in specs} == {2 * specs[0].workload.facts.eval_every}
    assert {s.purpose for s in specs} == {"cost"}
    assert specs[0].seeds == specs[1].seeds


def test_more_intervals_than_the_budget_has_are_refused() -> None:
    with pytest.raises(UsageError, match="allows at most 16"):
        plan("wsd", "adamw-cosine", intervals=1000)
    with pytest.raises(UsageError, match="cannot run on"):
        plan("replay", "adamw-cosine")


def test_ratio_is_per_example_and_without_the_construction() -> None:
    session = (Session(invocation="i", machine="m"),)
    runs = [
        record(spec(name, study=study), [2.0, 1.9, 1.8], seconds=seconds, sessions=session)
        for study in range(6)
        for name, seconds in (("a", 3.0 + study), ("b", 1.5 + study / 2))
    ]
    a, b = cost_ratios(runs, "b")
    assert (a.submission, a.n, b.ratio) == ("a@1", 6, 1.0)
    assert a.ratio == pytest.approx(2.0)
    assert a.spread.kind == "interval"
    assert a.seconds_per_example == pytest.approx(5.5 / 10)


def test_runs_of_different_sessions_are_no_pairs() -> None:
    runs = [record(spec(name), [2.0, 1.9], sessions=(Session(invocation=name, machine="m"),)) for name in ("a", "b")]
    with pytest.raises(UsageError, match=r"have no runs on .* in the same session and study"):
        cost_ratios(runs, "b")


def test_a_failed_run_has_no_cost() -> None:
    with pytest.raises(UsageError, match="crashed, so its cost is unknown"):
        cost_ratios([record(spec("a"), [2.0, 1.9], status="crashed")], "a")


@pytest.mark.slow
def test_the_command_prints_and_refuses(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    call = ["cost", "wsd,adamw-cosine", "-w", "resnet-digits", "--pairs", "2", "--intervals", "1"]
    assert cli.invoke([*call, "--json", "--runs", str(tmp_path)]) == 0
    rows = json.loads(capsys.readouterr().out)["costs"]
    assert [(row["submission"], row["pairs"]) for row in rows] == [("wsd@1", 2), ("adamw-cosine@1", 2)]
    assert rows[1]["ratio"] == 1.0
    assert cli.invoke(["cost", "wsd", "-w", "resnet-digits", "--runs", str(tmp_path)]) == 2
    assert "needs at least two submissions" in capsys.readouterr().err
    assert cli.invoke([*call, "--to", "other", "--runs", str(tmp_path)]) == 2
    assert "this submission is not among wsd, adamw-cosine" in capsys.readouterr().err
