"""Put targets and resolution from a calibration (`calibration/*.json`) into a workload's facts."""

from __future__ import annotations

import msgspec

from harness.api import WorkloadFacts

#: Resolution above which a workload is coarse: it is run, but it does not count in the anchored score.
FINE = 0.02


def calibrated(
    facts: WorkloadFacts, *, easy: float, main: float, hard: float, resolution: float | None
) -> WorkloadFacts:
    """Return facts with the target levels of a calibration. Tests check that the values equal those in its file.

    Args:
        facts: facts with one target, of which only the value is replaced.
        easy, main, hard: target values of the three levels.
        resolution: standard error of the score metric as a fraction of the examples to the target; None if unknown.
    """
    (target,) = facts.targets
    values = {"easy": easy, "main": main, "hard": hard}
    levels = {level: (msgspec.structs.replace(target, value=value),) for level, value in values.items()}
    return msgspec.structs.replace(
        facts,
        targets=levels.pop("main"),
        levels=levels,
        resolution=resolution,
        coarse=resolution is None or resolution > FINE,
        reference=(calibration(facts.name),),
    )


def calibration(name: str) -> str:
    """Return the path of a workload's calibration, without suffix, as `WorkloadFacts.reference` names it."""
    return f"calibration/{name.replace(':', '_')}.json"
