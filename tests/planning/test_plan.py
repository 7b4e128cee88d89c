"""Planning: settings, seeds and stops by ruleset, and everything a user can get wrong."""

from __future__ import annotations

import itertools
from pathlib import Path

import msgspec
import pytest

from harness.contract import hyperparameters
from harness.contract.entries import WorkloadEntry
from harness.contract.run import RunSpec
from harness.errors import UsageError
from harness.planning import phases, rulesets, seeds
from harness.planning.phases import SubmissionOnWorkload
from harness.planning.trials import PlanSettings, plan_trials
from harness.plugins.registry import load_registry
from tests import micro

REGISTRY = load_registry()


def planned(
    submission: str, ruleset: str, workload: WorkloadEntry = micro.ENTRY, **more: object
) -> tuple[RunSpec, ...]:
    settings = PlanSettings(ruleset=rulesets.ruleset(ruleset), **more)  # type: ignore[arg-type]
    return plan_trials(workload, REGISTRY.submission(submission), REGISTRY, settings)


def made(submissions: list[str], ruleset: str, *workloads: WorkloadEntry) -> phases.PhasedPlan:
    settings = PlanSettings(ruleset=rulesets.ruleset(ruleset))
    pairs = [
        SubmissionOnWorkload(submission=REGISTRY.submission(name), workload=workload, settings=settings)
        for workload in workloads or (micro.ENTRY,)
        for name in submissions
    ]
    return phases.plan_phases(pairs, REGISTRY, [REGISTRY.submission("adamw-cosine")])


# --- settings -----------------------------------------------------------------------------------


def test_external_draws_other_settings_for_every_trial_and_study() -> None:
    specs = planned("wsd", "external")
    assert [(s.study, s.trial) for s in specs] == list(itertools.product(range(3), range(5)))
    assert len({s.hparams["lr"] for s in specs}) == 15
    assert not any(s.overridden for s in specs)


def test_the_same_space_gives_the_same_settings() -> None:
    ours = [s.hparams for s in planned("wsd", "external")]
    assert ours == [s.hparams for s in planned("wsd", "external")]
    # One of more studies: the first ones stay what they were.
    assert ours == [s.hparams for s in planned("wsd", "external", studies=5)[:15]]


def test_a_submissions_own_points_come_before_its_space() -> None:
    entry = msgspec.structs.replace(REGISTRY.submission("wsd"), points=({"lr": 1e-3}, {"lr": 2e-3}))
    settings = PlanSettings(ruleset=rulesets.ruleset("external"))
    specs = plan_trials(micro.ENTRY, entry, REGISTRY, settings)
    assert [s.hparams["lr"] for s in specs] == [1e-3, 2e-3] * 3


def test_a_point_that_the_checks_refuse_is_passed_over() -> None:
    entry = msgspec.structs.replace(REGISTRY.submission("wsd"), checks=("lr < 0.005",))
    settings = PlanSettings(ruleset=rulesets.ruleset("external"))
    specs = plan_trials(micro.ENTRY, entry, REGISTRY, settings)
    assert len(specs) == 15
    assert all(float(s.hparams["lr"]) < 0.005 for s in specs)


def test_a_space_that_its_checks_refuse_altogether_is_said_so() -> None:
    entry = msgspec.structs.replace(REGISTRY.submission("wsd"), checks=("lr < 0.0",))
    with pytest.raises(UsageError, match="does not hold for lr="):
        plan_trials(micro.ENTRY, entry, REGISTRY, PlanSettings(ruleset=rulesets.ruleset("external")))


def test_a_check_that_cannot_be_computed_is_an_error_of_the_user() -> None:
    for check, values in (("1 / a < 2", {"a": 0}), ("mode < 1", {"mode": "cosine"})):
        with pytest.raises(UsageError, match="cannot be computed for"):
            hyperparameters.check_relation(check, values, {})
    hyperparameters.check_relation("steps(warmup) <= 2", {"warmup": 0.1}, {"horizon": None})  # the horizon is unknown


def test_self_tuning_has_half_as_much_budget_again() -> None:
    (spec, *_), (usual, *_) = planned("wsd", "self-tuning"), planned("wsd", "quick")
    ours, theirs = spec.workload.facts.budget, usual.workload.facts.budget
    assert (ours.horizon, ours.gradient_examples) == (1.5 * theirs.horizon, 1.5 * theirs.gradient_examples)
    assert ours.seconds["default"] == 1.5 * theirs.seconds["default"]
    (stream, *_) = planned("replay", "self-tuning", micro.STREAM_ENTRY)
    assert [stage.max_examples for stage in stream.workload.facts.stages] == [4800, 4800]


# --- seeds --------------------------------------------------------------------------------------


def test_seeds_pair_between_submissions_and_never_meet_between_purposes() -> None:
    assert [s.seeds for s in planned("wsd", "external")] == [s.seeds for s in planned("d2z", "external")]
    seen: set[int] = set()
    for purpose in ("score", "tuning", "target", "envelope"):
        for study, trial in itertools.product(range(20), range(5)):
            drawn = seeds.derive_seeds(0, "w", study, trial, purpose)
            values = {drawn.model, drawn.data, drawn.submission, drawn.replay}
            assert not values & seen
            seen |= values


# --- stops --------------------------------------------------------------------------------------


def test_calibration_stops_at_a_share_of_the_horizon() -> None:
    (spec, *_) = planned("wsd", "calibration")
    assert spec.stop == 5120
    assert [round(float(s.hparams["lr"]), 6) for s in planned("wsd", "calibration")[:3]] == [0.001667, 0.005, 0.015]


def test_anytime_draws_one_budget_per_study_for_all_and_hides_it() -> None:
    ours, theirs = planned("adamw-constant", "anytime"), planned("schedule-free-adamw", "anytime")
    assert [s.stop for s in ours] == [s.stop for s in theirs] == [s.workload.facts.budget.horizon for s in ours]
    assert len({s.stop for s in ours}) > 1
    for spec in ours:
        assert spec.stop is not None
        assert 0.4 * 6400 <= spec.stop <= 2.1 * 6400
        assert spec.stop % (8 * 64) == 0, "an eighth of it is an evaluation"


def test_anytime_leaves_out_who_needs_the_horizon_but_for_the_references_envelope() -> None:
    both = made(["wsd", "adamw-cosine", "adamw-constant"], "anytime")
    assert [line.split(":")[1].strip() for line in both.skipped] == ["wsd on micro", "adamw-cosine on micro"]
    assert all("the horizon, which the ruleset hides" in line for line in both.skipped)
    envelope = [s for s in both.phase1 if s.purpose == "envelope"]
    assert sorted({s.workload.facts.budget.horizon for s in envelope}) == [384, 768, 1600, 3200, 6400, 12800]
    assert {s.submission.name for s in envelope} == {"adamw-cosine"}
    assert all(s.hparams["horizon_fraction"] == 1.0 for s in envelope)
    assert [s.submission.name for s in both.phase1 if s.purpose == "score"] == ["adamw-constant"] * 3


def test_a_stream_has_no_stop_to_choose() -> None:
    both = made(["replay"], "fixed-stop", micro.STREAM_ENTRY, micro.ENTRY)
    assert any("are not defined for streams" in line for line in both.skipped)


def test_fixed_stop_tunes_first() -> None:
    both = made(["wsd", "d2z"], "fixed-stop")
    assert [(s.submission.name, s.purpose, s.study) for s in both.phase1[:3]] == [
        ("wsd", "tuning", 0),
        ("d2z", "tuning", 0),
        ("wsd", "tuning", 1),
    ]
    assert {s.stop for s in both.phase1} == {6400}, "the whole budget, target or not"
    assert (len(both.phase1), both.pending) == (8, 16)


# --- rulesets as data ---------------------------------------------------------------------------


def test_a_ruleset_of_ones_own_never_ranks(tmp_path: Path) -> None:
    path = tmp_path / "two-of-us.yaml"
    path.write_text("summary: two trials\ntrials: 2\nstudies: 1\ntuning: space\nranked: true\n")
    own = rulesets.ruleset(str(path))
    assert (own.name, own.trials, own.ranked) == ("two-of-us", 2, False)


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("trials: 1\nstudies: 1\nbugdet_factor: 2\n", "bugdet_factor"),
        ("trials: one\nstudies: 1\n", "trials"),
        ("trials: 0\nstudies: 1\n", "trials is out of range"),
        ("trials: 1\nstudies: 1\nstopping: never\n", "stopping"),
        ("trials: 1\nstudies: 1\nstopping: chosen\n", "tuning_studies"),
        ("trials: 2\nstudies: 1\nstopping: drawn\n", "requires trials: 1"),
        ("- a list\n", "must be a mapping"),
        ("trials: [", "not YAML"),
    ],
)
def test_a_bad_ruleset_is_named(text: str, word: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(UsageError, match=word) as caught:
        rulesets.ruleset(str(path))
    assert str(path) in caught.value.what


def test_a_file_cannot_pass_for_a_ruleset_of_the_benchmark(tmp_path: Path) -> None:
    path = tmp_path / "external.yaml"
    path.write_text("trials: 1\nstudies: 1\n")
    with pytest.raises(UsageError, match="external is a ruleset of the benchmark"):
        rulesets.ruleset(str(path))
