"""Computes the targets of a pool workload from new seeds of tuned references."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

import msgspec

from harness.calibration.curves import cost_to_value, resolution, round_to_easier_side, value_reached
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
        The calibration with `levels`, `resolution` and `evaluations`. A level that too few runs reach is left out.
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
    main_examples = levels["main"].examples if "main" in levels else ()
    evaluations_to_target = [examples / facts.eval_every for examples in main_examples if examples is not None]
    return msgspec.structs.replace(
        base,
        metric=target.metric,
        goal=target.goal,
        levels=levels,
        resolution=resolution(anchor_runs, target, levels["main"].value) if "main" in levels else None,
        evaluations=statistics.median(evaluations_to_target) if evaluations_to_target else None,
    )


def _make_level(value: float, anchor_runs: Sequence[Record], target: Target, limit: float) -> Level:
    costs = [cost_to_value(record, target, value, limit) for record in anchor_runs]
    return Level(
        value=value,
        examples=tuple(None if cost is None else cost[0] for cost in costs),
        seconds=tuple(None if cost is None else round(cost[1], 3) for cost in costs),
    )
