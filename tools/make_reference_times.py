"""Write workloads/reference_times.json, the examples to the target of tuned references, from `calibration/*.json`.

usage: python -m tools.make_reference_times        (a test fails if the file is stale)

The file contains the pools whose installed version, budget and target are those of the calibration. The anchor of the
calibration is the reference of anchored scores. Its runs on new seeds had the setting with the best tuning run.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from harness.calibration.results import Calibration
from harness.contract.reference_times import ReferenceTimes, ReferenceTimesFile
from harness.contract.workload import WorkloadFacts
from harness.plugins.package_files import REFERENCE_TIMES_FILE
from harness.plugins.registry import load_registry

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "calibration"
FILE = ROOT / "workloads" / REFERENCE_TIMES_FILE


def reference_times(calibration: Calibration, facts: WorkloadFacts) -> ReferenceTimes | None:
    """Return the times of the anchor of a calibration; None if the calibration is not that of the installed workload.

    Args:
        calibration: the calibration.
        facts: facts of the installed workload of the same name.
    """
    main = calibration.levels.get("main")
    setting = next(
        (s for s in calibration.settings if s.submission == calibration.anchor and s.value is not None), None
    )
    measured = (calibration.workload, calibration.horizon, None if main is None else main.value)
    if main is None or setting is None or measured != (facts.id, facts.budget.horizon, facts.targets[0].value):
        return None
    return ReferenceTimes(
        workload=facts.id,
        reference=calibration.anchor,
        hparams=setting.hparams,
        budget=facts.budget.horizon,
        targets=facts.targets,
        examples=main.examples,
    )


def content() -> bytes:
    """Return the up-to-date content of the file."""
    facts = {entry.name: entry.facts for entry in load_registry().workloads()}
    calibrations = [msgspec.json.decode(path.read_bytes(), type=Calibration) for path in sorted(FOLDER.glob("*.json"))]
    found = [reference_times(one, facts[one.workload.partition("@")[0]]) for one in calibrations]
    file = ReferenceTimesFile(workloads=tuple(times for times in found if times is not None))
    return msgspec.json.format(msgspec.json.encode(file, order="deterministic"), indent=1) + b"\n"


if __name__ == "__main__":
    FILE.write_bytes(content())
