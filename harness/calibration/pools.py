"""Computes the targets of a pool workload from new seeds of tuned references."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence

import msgspec

from harness.calibration.curves import loosen_value, resolution, round_to_easier_side, value_reached, when_reached
from harness.calibration.results import Calibration, Level
from harness.contract.record import Record
from harness.contract.workload import Target, WorkloadFacts

#: Fraction of the new seeds that must reach a target.
SEED_FRACTION = 0.9
#: Fraction of the budget within which the seeds must reach the main target and the hard target.
BUDGET_FRACTION = 0.8
#: Fraction of the budget within which the seeds must reach the easy target.
EASY_BUDGET_FRACTION = 0.6
#: Fraction of the anchor's seeds that must reach the hard target if no other reference is better than the anchor.
HARD_SEED_FRACTION = 0.5


def calibrate_pool(
    base: Calibration, facts: WorkloadFacts, best_runs: Sequence[Record], anchor_runs: Sequence[Record]
) -> Calibration:
    """Compute the targets and the resolution of a pool workload.

    Args:
        base: calibration without targets.
        facts: facts of the workload.
        best_runs: runs of the best reference on new seeds.
        anchor_runs: runs of the anchor on new seeds.

    Returns:
        The calibration with `levels`, `resolution` and `evaluations`. A level is left out if too few runs have an
        evaluation.
    """
    target, horizon = facts.targets[0], facts.budget.horizon
    values = {
        "easy": value_reached(anchor_runs, target, SEED_FRACTION, EASY_BUDGET_FRACTION * horizon),
        "main": value_reached(anchor_runs, target, SEED_FRACTION, BUDGET_FRACTION * horizon),
        "hard": value_reached(best_runs, target, SEED_FRACTION, BUDGET_FRACTION * horizon),
    }
    main, hard = values["main"], values["hard"]
    if main is not None and (hard is None or not target.better(hard, main)):
        values["hard"] = value_reached(anchor_runs, target, HARD_SEED_FRACTION, BUDGET_FRACTION * horizon)
    levels = {
        name: _make_level(round_to_easier_side(value, target), anchor_runs, target, BUDGET_FRACTION * horizon)
        for name, value in values.items()
        if value is not None
    }
    return _replace_levels(msgspec.structs.replace(base, metric=target.metric, goal=target.goal), levels, anchor_runs)


def main_target_holds(calibration: Calibration, tolerance_factor: float, checks: Sequence[Record]) -> bool:
    """Return whether enough runs on further new seeds reach the main target after it is loosened by a factor."""
    target, limit = checks[0].spec.workload.facts.targets[0], BUDGET_FRACTION * calibration.horizon
    value = loosen_value(calibration.levels["main"].value, target, tolerance_factor)
    hits = sum(when_reached(record, target, value, limit) is not None for record in checks)
    return hits >= SEED_FRACTION * len(checks)


def loosen_levels(
    calibration: Calibration, tolerance_factor: float | None, anchor_runs: Sequence[Record], checks: Sequence[Record]
) -> Calibration:
    """Return a calibration with loosened targets.

    Args:
        calibration: calibration without a tolerance factor.
        tolerance_factor: factor by which the error of each level is multiplied; None if no factor suffices.
        anchor_runs: runs of the anchor from which the targets were computed.
        checks: runs of the anchor on further new seeds.
    """
    calibration = msgspec.structs.replace(
        calibration, slack=tolerance_factor, checks=tuple(record.run_id for record in checks)
    )
    if tolerance_factor is None:
        return calibration
    target, horizon = anchor_runs[0].spec.workload.facts.targets[0], calibration.horizon
    levels = {
        name: _make_level(
            loosen_value(level.value, target, tolerance_factor), anchor_runs, target, BUDGET_FRACTION * horizon
        )
        for name, level in calibration.levels.items()
    }
    return _replace_levels(calibration, levels, anchor_runs)


def _replace_levels(
    calibration: Calibration, levels: Mapping[str, Level], anchor_runs: Sequence[Record]
) -> Calibration:
    """Return the calibration with new levels, and with the resolution and the evaluations of the main level."""
    facts = anchor_runs[0].spec.workload.facts
    main_examples = levels["main"].examples if "main" in levels else ()
    evaluations_to_target = [examples / facts.eval_every for examples in main_examples if examples is not None]
    return msgspec.structs.replace(
        calibration,
        levels=dict(levels),
        resolution=resolution(anchor_runs, facts.targets[0], levels["main"].value) if "main" in levels else None,
        evaluations=statistics.median(evaluations_to_target) if evaluations_to_target else None,
    )


def _make_level(value: float, anchor_runs: Sequence[Record], target: Target, limit: float) -> Level:
    hits = [when_reached(record, target, value, limit) for record in anchor_runs]
    return Level(
        value=value,
        examples=tuple(None if hit is None else hit[0] for hit in hits),
        seconds=tuple(None if hit is None else round(hit[1], 3) for hit in hits),
    )
