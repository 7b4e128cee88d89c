"""The rulesets of commands that do not ask for one: envelopes, gates, searches and measurements of costs.

Users cannot choose these rulesets, and no table ranks their runs.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from harness.contract.ruleset import Ruleset

#: The ruleset of the runs of envelopes.
ENVELOPE_RULESET: Final = Ruleset(
    name="envelope",
    version="1",
    summary="runs of the reference at several horizons; see `bench calibrate --envelope`",
    trials=3,
    studies=5,
    tuning_studies=1,
    tuning="rates",
    stopping="budget",
)
#: The ruleset of a gate's runs. There is no tuning, and each pair has its own seed.
GATE_RULESET: Final = Ruleset(
    name="gate", version="1", summary="pairs of runs to a gate budget; see `bench gate`", trials=1, studies=1
)
#: The ruleset of the runs of a search. The runs use tuning seeds and are never ranked.
TUNE_RULESET: Final = Ruleset(
    name="tune", version="1", summary="settings of a search; see `bench tune`", trials=1, studies=1
)
#: The ruleset of the cost runs. They use the default hyperparameters and end after a few evaluations. Their schedules
#: are planned for the whole horizon.
COST_RULESET: Final = Ruleset(
    name="cost",
    version="1",
    summary="short runs that measure the cost per example; see `bench cost`",
    trials=1,
    studies=1,
)
#: The internal rulesets by name.
INTERNAL_RULESETS: Final[Mapping[str, Ruleset]] = MappingProxyType(
    {ruleset.name: ruleset for ruleset in (ENVELOPE_RULESET, GATE_RULESET, TUNE_RULESET, COST_RULESET)}
)
