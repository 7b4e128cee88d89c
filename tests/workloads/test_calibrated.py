"""Targets are what their calibrations say, and the calibrations are what their records say."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from harness import store
from harness.calibration import Calibration, calibrate, settings
from harness.plugins import load_registry

FOLDER = Path(__file__).resolve().parents[2] / "calibration"
FILES = sorted(FOLDER.glob("*.json"))
REGISTRY = load_registry()


def read(path: Path) -> Calibration:
    return msgspec.json.decode(path.read_bytes(), type=Calibration)


def test_there_are_calibrations() -> None:
    assert len(FILES) >= 5


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_targets_are_what_the_calibration_says(path: Path) -> None:
    made = read(path)
    facts = REGISTRY.workload(made.workload.partition("@")[0]).facts
    assert f"calibration/{path.name}" in facts.reference
    if made.stages:
        assert [stage.targets[0].value for stage in facts.stages] == [stage.value for stage in made.stages]
        return
    assert facts.targets[0].value == made.levels["main"].value
    assert facts.targets[0].metric == made.metric
    assert {name: targets[0].value for name, targets in facts.levels.items()} == {
        name: made.levels[name].value for name in ("easy", "hard")
    }
    assert facts.budget.horizon == made.horizon
    assert facts.resolution == made.resolution
    assert facts.coarse == made.coarse


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_records_say_so(path: Path) -> None:
    made = read(path)
    records, problems = store.read_all([FOLDER / "runs" / path.stem])
    assert not problems
    by_id = {record.run_id: record for record in records}
    fresh = [by_id[run] for run in made.runs]
    assert all(record.spec.purpose == "target" for record in fresh)
    best = [record for record in fresh if record.spec.submission.id == made.best]
    anchor = [record for record in fresh if record.spec.submission.id == made.anchor]
    again = calibrate(made.settings, best, anchor if made.anchor != made.best else ())
    assert again == made
    tuning = [record for record in records if record.spec.purpose == "tuning"]
    if tuning:  # a variant takes its base's setting
        assert settings(tuning) == made.settings
        assert {record.spec.root_seed for record in records} == {0}
        assert not {r.spec.seeds.model for r in tuning} & {r.spec.seeds.model for r in fresh}
