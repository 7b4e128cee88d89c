"""Targets of a pool workload from fresh seeds of tuned references."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

import msgspec

from harness.calibration.curves import cost_to_value, resolution, round_to_easier_side, value_reached
from harness.calibration.results import Calibration, Level
from harness.contract.record import Record
from harness.contract.workload import Target, WorkloadFacts

#: Share of the fresh seeds that reach a target, and of the budget by which they do.
SEED_FRACTION, BUDGET_FRACTION = 0.9, 0.8
#: The easier target is what they reach by this share of the budget. The harder one is the best reference's value, or,
#: where that is the same or worse, the value that this share of the anchor's seeds reach.
EASY_BUDGET_FRACTION, HARD_SEED_FRACTION = 0.6, 0.5


def calibrate_pool(
    common: Calibration, facts: WorkloadFacts, best: Sequence[Record], anchor: Sequence[Record]
) -> Calibration:
    target, horizon = facts.targets[0], facts.budget.horizon
    values = {
        "easy": value_reached(anchor, target, SEED_FRACTION, EASY_BUDGET_FRACTION * horizon),
        "main": value_reached(anchor, target, SEED_FRACTION, BUDGET_FRACTION * horizon),
        "hard": value_reached(best, target, SEED_FRACTION, BUDGET_FRACTION * horizon),
    }
    main, hard = values["main"], values["hard"]
    if main is not None and (hard is None or not target.better(hard, main)):
        values["hard"] = value_reached(anchor, target, HARD_SEED_FRACTION, BUDGET_FRACTION * horizon)
    levels = {
        name: _make_level(round_to_easier_side(value, target), anchor, target, BUDGET_FRACTION * horizon)
        for name, value in values.items()
        if value is not None
    }
    hits = [n / facts.eval_every for n in levels["main"].examples if n is not None] if "main" in levels else []
    return msgspec.structs.replace(
        common,
        metric=target.metric,
        goal=target.goal,
        levels=levels,
        resolution=resolution(anchor, target, levels["main"].value) if "main" in levels else None,
        evaluations=statistics.median(hits) if hits else None,
    )


def _make_level(value: float, fresh: Sequence[Record], target: Target, limit: float) -> Level:
    hits = [cost_to_value(record, target, value, limit) for record in fresh]
    return Level(
        value=value,
        examples=tuple(None if hit is None else hit[0] for hit in hits),
        seconds=tuple(None if hit is None else round(hit[1], 3) for hit in hits),
    )
