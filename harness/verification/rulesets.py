"""Compare the ruleset of a record with the ruleset of this name and version that comes with the benchmark."""

from __future__ import annotations

from typing import Final

from harness.contract.ruleset import Ruleset
from harness.planning.internal_rulesets import INTERNAL_RULESETS
from harness.planning.rulesets import rulesets
from harness.verification.findings import Finding, make_finding

#: Fields without an effect on runs and tables.
_TEXTS: Final = frozenset({"summary"})
#: Rulesets of `bench calibrate`, which no table ranks, and their fields that are options of this command. In records of
#: envelopes, the options were part of the ruleset only at first.
_CALIBRATIONS: Final = frozenset({"calibration", "envelope"})
_CALIBRATION_OPTIONS: Final = frozenset({"trials", "studies", "tuning_studies"})


def check_ruleset(ruleset: Ruleset) -> Finding:
    """Return the finding about the ruleset in a record. Rulesets of users and of other versions are not checked."""
    own = _benchmark_ruleset(ruleset.name)
    if own is None:
        return make_finding("ruleset", [], f"{ruleset.id} is not a ruleset of the benchmark")
    if own.version != ruleset.version:
        return make_finding("ruleset", [], f"{ruleset.id} is not installed; at hand: {own.id}")
    ignored = _TEXTS | (_CALIBRATION_OPTIONS if own.name in _CALIBRATIONS else frozenset())
    fields = [name for name in own.__struct_fields__ if name not in ignored]
    return make_finding(
        "ruleset",
        [
            f"{name} of {own.id} is {getattr(ruleset, name)} instead of {getattr(own, name)}"
            for name in fields
            if getattr(ruleset, name) != getattr(own, name)
        ],
    )


def find_unpublishable_ruleset(ruleset: Ruleset) -> str:
    """Return why records with a ruleset are not published, although it cannot be checked; empty if there is no reason.

    Records under the ruleset of a user are published, but are never ranked. A ruleset that is called like one of the
    benchmark, but cannot be compared with it, could share the table of that ruleset.
    """
    own = _benchmark_ruleset(ruleset.name)
    if own is None:
        return f"{ruleset.id} is not a ruleset of the benchmark, so its runs cannot be ranked" if ruleset.ranked else ""
    if own.version != ruleset.version:
        return f"{ruleset.id} cannot be compared with the installed {own.id}: publish with the AlgoRace of the runs"
    return ""


def _benchmark_ruleset(name: str) -> Ruleset | None:
    return rulesets().get(name) or INTERNAL_RULESETS.get(name)
