"""Targets are what their calibrations say, and the calibrations are what their records say."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from harness.calibration.pools import SEED_FRACTION, loosen_levels, main_target_holds
from harness.calibration.results import Calibration
from harness.calibration.rule import calibrate, rank_settings
from harness.calibration.streams import add_tolerance, loosen_targets
from harness.contract.workload import WorkloadFacts
from harness.plugins.registry import load_registry
from harness.storage.records import read_all
from tools import make_calibration

FOLDER = Path(__file__).resolve().parents[2] / "calibration"
FILES = sorted(FOLDER.glob("*.json"))
REGISTRY = load_registry()


def read(path: Path) -> Calibration:
    return msgspec.json.decode(path.read_bytes(), type=Calibration)


def test_the_page_is_not_stale() -> None:
    committed = make_calibration.PAGE.read_text()
    assert committed == make_calibration.page(), "stale: run python -m tools.make_calibration and commit the page"


def test_there_are_calibrations() -> None:
    assert len(FILES) >= 5


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_targets_are_what_the_calibration_says(path: Path) -> None:
    made = read(path)
    facts = REGISTRY.workload(made.workload.partition("@")[0]).facts
    assert f"calibration/{path.name}" in facts.reference
    if made.stages:
        assert made.slack is not None
        assert facts.stages == loosen_targets(made, facts.stages, made.slack)
        _check_resolution(made, facts)
        return
    assert facts.targets[0].value == made.levels["main"].value
    assert facts.targets[0].metric == made.metric
    assert {name: targets[0].value for name, targets in facts.levels.items()} == {
        name: made.levels[name].value for name in ("easy", "hard")
    }
    assert facts.budget.horizon == made.horizon
    _check_resolution(made, facts)


def _check_resolution(made: Calibration, facts: WorkloadFacts) -> None:
    assert made.resolution is not None
    assert made.resolution == facts.resolution
    assert facts.coarse == made.coarse


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_records_say_so(path: Path) -> None:
    made = read(path)
    found, problems = read_all([FOLDER / "runs" / path.stem])
    assert not problems
    # The folder also has the records of the envelope, which have a ruleset of their own.
    records = [record for record in found if record.spec.ruleset.name == "calibration"]
    by_id = {record.run_id: record for record in records}
    fresh = [by_id[run] for run in made.runs]
    assert all(record.spec.purpose == "target" for record in fresh)
    best = [record for record in fresh if record.spec.submission.id == made.best]
    anchor = [record for record in fresh if record.spec.submission.id == made.anchor]
    again = calibrate(made.settings, best, anchor if made.anchor != made.best else ())
    checks = [by_id[run] for run in made.checks]
    if made.stages:
        assert add_tolerance(again, made.slack, checks) == made
    else:
        assert loosen_levels(again, made.slack, anchor or best, checks) == made
    if made.stages:
        assert all(record.status == "reached" for record in checks) or len(checks) >= 10
        assert sum(record.status == "reached" for record in checks) >= SEED_FRACTION * len(checks)
        for record in checks:
            facts = record.spec.workload.facts
            assert facts.stages == loosen_targets(made, facts.stages, made.slack or 0)
    elif checks:
        assert main_target_holds(made, 1.0, checks), "the levels are loosened already"
    assert not {r.spec.seeds.model for r in checks} & {r.spec.seeds.model for r in fresh}
    tuning = [record for record in records if record.spec.purpose == "tuning"]
    if tuning:  # a variant takes its base's setting
        assert rank_settings(tuning) == made.settings
        assert {record.spec.root_seed for record in records} == {0}
        assert not {r.spec.seeds.model for r in tuning} & {r.spec.seeds.model for r in fresh}
