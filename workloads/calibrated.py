"""Put the targets and the resolution from a calibration (`calibration/*.json`) into a workload's facts."""

from __future__ import annotations

import msgspec

from harness.api import WorkloadFacts, is_coarse


def calibrated(
    facts: WorkloadFacts,
    *,
    easy: float,
    main: float,
    hard: float,
    resolution: float | None,
    evaluations: float | None,
) -> WorkloadFacts:
    """Return the facts with the target values and the resolution of a calibration.

    A test checks that the targets and the resolution equal the values in the calibration's file, and that the workload
    is coarse exactly if the file says so.

    Args:
        facts: facts with exactly one target. The metric and the goal of this target are kept.
        easy, main, hard: target values of the three levels.
        resolution: (standard error of the metric on the split `score`, converted to examples) / (the reference's
            examples to the target); None if unknown.
        evaluations: median number of evaluations before the reference's hit; None if unknown.
    """
    (target,) = facts.targets
    values = {"easy": easy, "main": main, "hard": hard}
    levels = {level: (msgspec.structs.replace(target, value=value),) for level, value in values.items()}
    return msgspec.structs.replace(
        facts,
        targets=levels.pop("main"),
        levels=levels,
        resolution=resolution,
        coarse=is_coarse(resolution, evaluations),
        reference=(calibration(facts.name),),
    )


def calibration(name: str) -> str:
    """Return the path of the calibration of the workload `name`, as it is stored in `WorkloadFacts.reference`."""
    return f"calibration/{name.replace(':', '_')}.json"
