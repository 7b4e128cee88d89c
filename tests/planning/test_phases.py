"""Rulesets with phases from end to end, on the small workload, in this process."""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from harness.calibration.envelopes import EnvelopeMaker
from harness.contract.domains import HParams
from harness.contract.record import Record
from harness.contract.run import Purpose, RunSpec
from harness.errors import UsageError
from harness.planning import phases, rulesets
from harness.planning.compose import compose
from harness.planning.internal_rulesets import ENVELOPE_RULESET
from harness.planning.phases import SubmissionOnWorkload
from harness.planning.seeds import expected_seeds
from harness.planning.trials import PlanSettings, plan_trials
from harness.plugins.registry import load_registry
from harness.report.stopping_tables import StoppingResults
from harness.scoring import anytime, fixed_stop, multipliers
from harness.storage.layout import run_id
from tests import micro
from tests.gating.builders import finish
from tests.helpers import run_here

REGISTRY = load_registry()


def made(submissions: list[str], ruleset: str, **options: Any) -> phases.PhasedPlan:
    settings = PlanSettings(ruleset=rulesets.ruleset(ruleset), overrides={}, **options)
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


def test_fixed_budget_plans_to_the_end_tunes_and_then_runs_fresh_seeds() -> None:
    plan_ = made(["adamw-cosine", "dog"], "fixed-budget")
    counts = Counter((spec.submission.name, spec.purpose) for spec in plan_)
    assert counts == {("adamw-cosine", "tuning"): 5, ("dog", "tuning"): 5}
    records = {run_id(spec): finish(spec, abs(math.log(float(spec.hparams.get("lr", 1)) / 0.02))) for spec in plan_}
    phase2 = plan_.phase2(records)
    assert plan_.pending == len(phase2) == 10
    assert all(spec.stop == micro.FACTS.budget.horizon for spec in (*plan_, *phase2))
    assert {spec.hparams.get("horizon_fraction", 1.0) for spec in (*plan_, *phase2)} == {1.0}
    assert {spec.hparams["lr"] for spec in phase2 if spec.submission.name == "adamw-cosine"} == {0.015}
    assert {spec.study for spec in phase2} == set(range(5))
    assert not {spec.seeds for spec in phase2} & {spec.seeds for spec in plan_}
    assert len({spec.seeds for spec in plan_}) == 1, "all learning rates of all submissions share the tuning seed"
    assert len({spec.seeds for spec in phase2}) == 5
    assert all(expected_seeds(spec) == spec.seeds for spec in (*plan_, *phase2))


def test_more_tuning_studies_add_seeds_for_every_learning_rate() -> None:
    one, three = made(["adamw-cosine"], "fixed-budget"), made(["adamw-cosine"], "fixed-budget", tuning_studies=3)
    assert (len(one), len(three)) == (5, 15)
    assert {run_id(spec) for spec in one} < {run_id(spec) for spec in three}, "the first study is the same"
    assert Counter((spec.study, spec.seeds) for spec in three).most_common()[0][1] == 5
    assert len({spec.seeds for spec in three}) == 3
    rates = sorted({float(spec.hparams["lr"]) for spec in three})
    # The second rate is best in the first study, and the fourth one in the mean of the three studies.
    losses = {0: [5.0, 1.0, 3.0, 2.0, 5.0], 1: [5.0, 4.0, 3.0, 1.0, 5.0], 2: [5.0, 4.0, 3.0, 1.0, 5.0]}
    records = {run_id(spec): finish(spec, losses[spec.study][rates.index(float(spec.hparams["lr"]))]) for spec in three}
    first = {key: record for key, record in records.items() if record.spec.study == 0}
    assert {spec.hparams["lr"] for spec in three.phase2(records)} == {rates[3]}
    assert {spec.hparams["lr"] for spec in one.phase2(first)} == {rates[1]}
    assert {spec.seeds for spec in one.phase2(first)} == {spec.seeds for spec in three.phase2(records)}


@pytest.mark.parametrize(
    ("ruleset", "studies", "problem"),
    [
        ("quick", 1, "quick has no tuning studies"),
        ("fixed-stop", 3, "number of tuning studies of fixed-stop is at least 4, not 3"),
        ("fixed-budget", 0, "number of tuning studies of fixed-budget is at least 1, not 0"),
    ],
)
def test_a_ruleset_bounds_the_number_of_tuning_studies(ruleset: str, studies: int, problem: str) -> None:
    with pytest.raises(UsageError, match=problem):
        PlanSettings(ruleset=rulesets.ruleset(ruleset), tuning_studies=studies)


@pytest.mark.parametrize(("name", "seeds"), [("calibration", 3), ("fixed-stop", 4)])
def test_tuning_trials_have_their_own_seeds_unless_the_ruleset_shares_them(name: str, seeds: int) -> None:
    settings = PlanSettings(ruleset=rulesets.ruleset(name))
    trials = plan_trials(
        micro.ENTRY,
        REGISTRY.submission("adamw-cosine"),
        REGISTRY,
        settings,
        purpose="tuning",
        studies=settings.ruleset.tuning_studies,
    )
    assert len({spec.seeds for spec in trials}) == len(trials) == seeds
    shared = dataclasses.replace(settings, ruleset=msgspec.structs.replace(settings.ruleset, common_tuning_seeds=True))
    scored = plan_trials(micro.ENTRY, REGISTRY.submission("adamw-cosine"), REGISTRY, shared)
    assert len({spec.seeds for spec in scored}) == len(scored), "scored trials never share their seeds"


def test_fixed_budget_runs_on_streams_and_refuses_another_end_of_the_schedule() -> None:
    settings = PlanSettings(ruleset=rulesets.ruleset("fixed-budget"))
    entry = REGISTRY.submission("replay")
    pair = SubmissionOnWorkload(submission=entry, workload=micro.STREAM_ENTRY, settings=settings)
    assert {spec.stop for spec in phases.plan_phases([pair], REGISTRY, [])} == {6400}
    settings = dataclasses.replace(settings, overrides={"horizon_fraction": 0.5})
    pair = SubmissionOnWorkload(submission=REGISTRY.submission("wsd"), workload=micro.ENTRY, settings=settings)
    with pytest.raises(UsageError, match="horizon_fraction is 1 in every run of fixed-budget"):
        phases.plan_phases([pair], REGISTRY, [])


@pytest.mark.slow
def test_fixed_budget_from_envelope_to_table(tmp_path: Path) -> None:
    """A partial table: two submissions on one small workload, with real runs."""
    reference = REGISTRY.submission("adamw-cosine")
    ruleset = msgspec.structs.replace(ENVELOPE_RULESET, trials=1, studies=2)
    budget = msgspec.structs.replace(micro.FACTS.budget, horizon=1600)
    workload = msgspec.structs.replace(micro.ENTRY, facts=msgspec.structs.replace(micro.FACTS, budget=budget))

    def plan(purpose: Purpose, studies: int, point: HParams, first_study: int, horizon: int) -> Sequence[RunSpec]:
        return plan_trials(
            workload,
            reference,
            REGISTRY,
            PlanSettings(ruleset=ruleset),
            purpose=purpose,
            studies=studies,
            points=[point],
            first_study=first_study,
            horizon=horizon,
        )

    def run(specs: Sequence[RunSpec]) -> list[Record]:
        return [run_here(spec, tmp_path) for spec in specs]

    envelope = EnvelopeMaker(workload, reference, compose(reference, REGISTRY), plan, run, ruleset=ruleset).make()
    small = msgspec.structs.replace(rulesets.ruleset("fixed-budget"), trials=3, studies=2)
    pairs = [
        SubmissionOnWorkload(
            submission=REGISTRY.submission(name), workload=workload, settings=PlanSettings(ruleset=small)
        )
        for name in ("adamw-cosine", "sgd-nesterov")
    ]
    plan_ = phases.plan_phases(pairs, REGISTRY, [])
    tuning = run(tuple(plan_))
    scored = run(plan_.phase2({record.run_id: record for record in tuning}))
    assert all(record.points[-1].examples == 1600 for record in scored)
    (board,) = multipliers.score_boards([*tuning, *scored], {envelope.workload: envelope})
    assert {cell.n for cell in board.cells} == {2}
    for cell in board.cells:
        assert cell.compute is not None, cell.remark
        assert cell.tuning is not None
        assert cell.tuning.trials == 3
    ranking, on_workload = StoppingResults([*tuning, *scored], {envelope.workload: envelope}).grids()
    assert len(ranking.rows) == len(on_workload.rows) == 2
