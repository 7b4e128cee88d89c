"""Rulesets with phases from end to end, on the small workload, in this process."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.planning import phases, rulesets
from harness.planning.phases import SubmissionOnWorkload
from harness.planning.trials import PlanSettings
from harness.plugins.registry import load_registry
from harness.scoring import anytime, fixed_stop
from tests import micro
from tests.helpers import run_here

REGISTRY = load_registry()


def made(submissions: list[str], ruleset: str) -> phases.PhasedPlan:
    settings = PlanSettings(ruleset=rulesets.ruleset(ruleset), overrides={})
    pairs = [
        SubmissionOnWorkload(submission=REGISTRY.submission(name), workload=micro.ENTRY, settings=settings)
        for name in submissions
    ]
    return phases.plan_phases(pairs, REGISTRY, [REGISTRY.submission("adamw-cosine")])


@pytest.mark.slow
def test_fixed_stop_chooses_then_claims(tmp_path: Path) -> None:
    plan_ = made(["adamw-cosine"], "fixed-stop")
    tuning = [run_here(spec, tmp_path) for spec in plan_.phase1]
    assert all(record.points[-1].examples == 6400 for record in tuning), "no run stops at its hit"
    phase2 = plan_.phase2({record.run_id: record for record in tuning})
    (stop,) = {spec.stop for spec in phase2}
    assert stop is not None
    assert stop == fixed_stop.choose_stop(tuning, 8) <= 6400
    assert not {spec.seeds for spec in phase2} & {spec.seeds for spec in plan_.phase1}
    fresh = [run_here(spec, tmp_path) for spec in phase2]
    assert all(record.points[-1].examples == stop for record in fresh)
    (claim,) = fixed_stop.claims([*tuning, *fresh])
    assert (claim.n, claim.stop) == (8, stop)
    assert claim.met == (claim.p < 0.01)
    # Given again, the same trials come out: what is finished is found.
    assert plan_.phase2({record.run_id: record for record in tuning}) == phase2


@pytest.mark.slow
def test_anytime_from_envelope_to_score(tmp_path: Path) -> None:
    plan_ = made(["wsd", "schedule-free-adamw"], "anytime")
    assert ["needs the horizon" in line for line in plan_.skipped] == [True]
    records = [run_here(spec, tmp_path) for spec in plan_.phase1]
    assert all(record.status in ("reached", "exhausted") for record in records)
    for record in records:
        assert record.points[-1].examples == record.spec.stop
    (score,) = anytime.scores(records)
    assert score.submission.startswith("schedule-free-adamw")
    assert len(score.studies) == 3
    assert 0 < score.score < 16
