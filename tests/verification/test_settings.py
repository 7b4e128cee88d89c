"""The hyperparameters of a record follow from its ruleset, or the record says that the user set them."""

from __future__ import annotations

from typing import Any

import pytest

import harness
from harness.contract.domains import HParams
from harness.contract.record import Record
from harness.contract.run import RunSpec
from harness.planning.internal_rulesets import ENVELOPE_RULESET
from harness.planning.rulesets import rulesets
from harness.verification.findings import Finding
from harness.verification.settings import SettingsChecker
from tests.verification.forging import change, honest, registry, with_spec


def plan(ruleset: str, submission: str = "wsd", **options: Any) -> list[RunSpec]:
    return list(
        harness.plan(
            submission, "resnet-digits", ruleset=ruleset, registry=registry(), require_machine=False, **options
        )
    )


def planned_record(ruleset: str = "quick") -> Record:
    """A record of a submission that is installed with the source of the record."""
    return with_spec(
        honest(), **{name: getattr(plan(ruleset)[0], name) for name in ("submission", "workload", "hparams", "ruleset")}
    )


def check(spec: RunSpec) -> Finding:
    return SettingsChecker(registry()).check(spec)


def problem(spec: RunSpec, **changes: Any) -> str:
    finding = check(change(spec, **changes))
    return finding.detail if finding.outcome == "failed" else ""


@pytest.mark.parametrize("ruleset", sorted(rulesets()))
def test_what_is_planned_passes(ruleset: str) -> None:
    checker = SettingsChecker(registry())
    plans = [plan(ruleset), plan(ruleset, overrides={"beta1": 0.8}), plan(ruleset, "adamw+rex")]
    for specs in plans:
        assert len(specs)
        for spec in specs:
            assert checker.check(spec).outcome == "passed", (spec.hparams, checker.check(spec))


def test_a_hidden_override_is_caught() -> None:
    (spec,) = plan("quick")
    tuned = {**spec.hparams, "lr": float(spec.hparams["lr"]) * 1.3}
    assert "lr is" in problem(spec, hparams=tuned)
    assert not problem(spec, hparams=tuned, overridden=("lr",))


@pytest.mark.parametrize("overridden", [(), ("lr", "batch_size")])
@pytest.mark.parametrize("purpose", ["score", "envelope", "gate"])
@pytest.mark.parametrize(
    "values", [{"lr": -1e300}, {"lr": 0.0}, {"batch_size": 1}, {"lr": "fast"}, {"lr": True}, {"nothing": 1.0}]
)
def test_impossible_values_are_caught(values: HParams, purpose: str, overridden: tuple[str, ...]) -> None:
    (spec,) = plan("quick")
    assert problem(spec, hparams={**spec.hparams, **values}, purpose=purpose, overridden=overridden)


def test_missing_values_are_caught() -> None:
    (spec,) = plan("quick")
    for purpose in ("score", "envelope"):
        assert "missing" in problem(spec, hparams={}, purpose=purpose)
    assert "which no hyperparameter is" in problem(spec, overridden=("nothing",))


def test_other_purposes_may_have_other_settings() -> None:
    """Envelopes and gates choose settings by other rules, but not impossible ones."""
    (spec,) = plan("quick")
    tuned = {**spec.hparams, "lr": float(spec.hparams["lr"]) * 1.3}
    assert not problem(spec, hparams=tuned, purpose="envelope", ruleset=ENVELOPE_RULESET)
    assert not problem(spec, hparams=tuned, purpose="score", ruleset=change(spec.ruleset, name="mine"))


def test_the_trials_of_a_study_are_those_of_the_plan() -> None:
    specs = plan("external")
    assert len({spec.hparams["lr"] for spec in specs}) > 5
    first, second = specs[0], specs[1]
    assert problem(first, hparams=second.hparams)
    assert problem(first, study=first.study + 1)
    assert "is not planned: a study of external@1 has 5 trials" in problem(first, trial=5)
    assert "is not planned" in problem(first, trial=-1)
    assert "is in no plan" in problem(first, study=10**30)
    assert "is in no plan" in problem(first, study=-1)
    # The number of trials is that of the benchmark's ruleset, so that a record cannot exhaust the memory.
    assert "is not planned" in problem(first, trial=10**4, ruleset=change(first.ruleset, trials=10**5))


def test_a_scored_run_of_fixed_budget_has_a_setting_of_the_tuning_runs() -> None:
    tuning = plan("fixed-budget")
    assert len({spec.hparams["lr"] for spec in tuning}) == 5
    for spec in tuning:
        assert not problem(spec, purpose="score", trial=0)
    scored = change(tuning[0], purpose="score")
    other = {**scored.hparams, "lr": float(scored.hparams["lr"]) * 1.3}
    assert "lr is" in problem(scored, hparams=other)
    assert "there is one trial per study" in problem(scored, trial=1)
    assert problem(tuning[0], trial=1)


def test_nothing_is_compared_without_the_source_of_the_record() -> None:
    (spec,) = plan("quick")
    part = change(spec.submission.parts[0], load="os:system")
    others = (
        {"source_hash": "0" * 64},
        {"source_hash": ""},
        {"name": "not-installed"},
        {"version": "99"},
        {"parts": (part, *spec.submission.parts[1:])},
    )
    for changes in others:
        finding = check(change(spec, submission=change(spec.submission, **changes)))
        assert (finding.outcome, "is not installed with the source" in finding.detail) == ("unchecked", True)
    assert SettingsChecker(None).check(spec).outcome == "unchecked"
