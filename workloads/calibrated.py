"""What calibrations found (`calibration/*.json`), put into a workload's facts."""

from __future__ import annotations

import msgspec

from harness.api import WorkloadFacts

#: Resolution beyond which a workload is coarse: run, but outside the anchored mean.
FINE = 0.02


def calibrated(
    facts: WorkloadFacts, *, easy: float, main: float, hard: float, resolution: float | None
) -> WorkloadFacts:
    """Facts with the levels of a calibration; tests hold them equal to its file.

    Args:
        facts: with one target, whose metric, direction and unit stay.
        easy, main, hard: the levels' values.
        resolution: one standard error of the score metric as a share of the examples to the target, if known.
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
    """Where the calibration of a workload is, as facts name it."""
    return f"calibration/{name.replace(':', '_')}.json"
