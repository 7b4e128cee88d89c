"""The ruleset of a record is compared with the ruleset of the benchmark: a record cannot define how it is ranked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harness.contract.ruleset import Ruleset
from harness.errors import UsageError
from harness.planning.internal_rulesets import ENVELOPE_RULESET, INTERNAL_RULESETS
from harness.planning.rulesets import ruleset, rulesets
from harness.publishing.rendering import list_refusals
from harness.storage.layout import run_id
from harness.verification.rulesets import check_ruleset, find_unpublishable_ruleset
from tests.publishing.local_runs import group, publish_in, write_runs
from tests.verification.forging import change, honest, with_spec

EXTERNAL, FIXED_BUDGET = rulesets()["external"], rulesets()["fixed-budget"]


@pytest.mark.parametrize("own", [*rulesets().values(), *INTERNAL_RULESETS.values()])
def test_rulesets_of_the_benchmark_pass(own: Ruleset) -> None:
    assert check_ruleset(own).outcome == "passed"
    assert check_ruleset(change(own, summary="other words")).outcome == "passed"
    assert not find_unpublishable_ruleset(own)


@pytest.mark.parametrize(
    ("own", "changes"),
    [
        (EXTERNAL, {"trials": 1}),
        (EXTERNAL, {"studies": 1}),
        (EXTERNAL, {"tuning": "defaults"}),
        (EXTERNAL, {"budget_factor": 10.0}),
        (rulesets()["quick"], {"ranked": True}),
        (rulesets()["calibration"], {"ranked": True}),
        (FIXED_BUDGET, {"tuning_studies": 0}),
        (ENVELOPE_RULESET, {"ranked": True}),
    ],
)
def test_other_fields_are_caught(own: Ruleset, changes: dict[str, Any]) -> None:
    finding = check_ruleset(change(own, **changes))
    assert (finding.outcome, f"{next(iter(changes))} of {own.id} is" in finding.detail) == ("failed", True)


def test_other_numbers_of_seeds_in_a_calibration_pass() -> None:
    for own in (rulesets()["calibration"], ENVELOPE_RULESET):
        assert check_ruleset(change(own, studies=20, tuning_studies=2, trials=5)).outcome == "passed"


def test_what_cannot_be_compared_is_not_checked_and_not_published_as_ranked() -> None:
    mine = change(EXTERNAL, name="mine", ranked=False)
    assert check_ruleset(mine).outcome == "unchecked"
    assert not find_unpublishable_ruleset(mine)
    assert "cannot be ranked" in find_unpublishable_ruleset(change(mine, ranked=True))
    older = change(FIXED_BUDGET, version="1")
    assert (check_ruleset(older).outcome, check_ruleset(older).detail) == (
        "unchecked", "fixed-budget@1 is not installed; at hand: fixed-budget@2",
    )  # fmt: skip
    assert "cannot be compared with the installed fixed-budget@2" in find_unpublishable_ruleset(older)


def test_a_file_cannot_have_the_name_of_an_internal_ruleset(tmp_path: Path) -> None:
    file = tmp_path / "envelope.yaml"
    file.write_text("trials: 1\nstudies: 1\n")
    with pytest.raises(UsageError, match="envelope is a ruleset of the benchmark"):
        ruleset(str(file))


@pytest.mark.parametrize(
    ("forged", "reason"),
    [
        (change(EXTERNAL, trials=1, studies=1), "ruleset: trials of external@1 is 1 instead of 5"),
        (change(EXTERNAL, version="9", trials=1, studies=1), "cannot be compared with the installed external@1"),
        (change(EXTERNAL, name="mine", trials=1, studies=1), "mine@1 is not a ruleset of the benchmark"),
    ],
)
def test_a_study_of_one_trial_is_not_published(forged: Ruleset, reason: str, tmp_path: Path) -> None:
    record = with_spec(group()[0], ruleset=forged)
    write_runs(tmp_path / "runs", [change(record, run_id=run_id(record.spec))])
    (report,) = publish_in(tmp_path, "wsd").groups
    assert report.is_refused
    assert report.gap is None
    assert any(reason in text for text in list_refusals(report)), list_refusals(report)


def test_a_study_under_the_ruleset_of_a_user_is_published(tmp_path: Path) -> None:
    mine = change(EXTERNAL, name="mine", trials=1, studies=1, ranked=False)
    record = with_spec(honest(), ruleset=mine, study=0)
    write_runs(tmp_path / "runs", [change(record, run_id=run_id(record.spec))])
    assert publish_in(tmp_path, record.spec.submission.name, dry_run=True).groups[0].problems == ()
