"""Rulesets as data."""

from __future__ import annotations

from harness.errors import unknown
from harness.types import Ruleset

_RULESETS = (
    Ruleset(
        name="quick",
        version="1",
        summary="one trial at the submission's defaults, as many studies as you like; unranked",
        trials=1,
        studies=1,
    ),
    Ruleset(
        name="external",
        version="1",
        summary="five settings of the submission's search space per study, three studies",
        trials=5,
        studies=3,
        tuning="space",
        ranked=True,
    ),
    Ruleset(
        name="self-tuning",
        version="1",
        summary="one setting for everything, half as much budget again, three studies",
        trials=1,
        studies=3,
        budget_factor=1.5,
        ranked=True,
    ),
    Ruleset(
        name="fixed-stop",
        version="1",
        summary="a stop chosen on four tuning seeds, then eight fresh seeds run to it; their mean must meet the target",
        trials=1,
        studies=8,
        tuning_studies=4,
        stopping="chosen",
        ranked=True,
    ),
    Ruleset(
        name="anytime",
        version="1",
        summary="a hidden budget drawn for each study; the weights count at an eighth, a quarter, half and all of it",
        trials=1,
        studies=3,
        hides=frozenset({"horizon"}),
        stopping="drawn",
        ranked=True,
    ),
    Ruleset(
        name="calibration",
        version="1",
        summary="three learning rates of each reference family on a tuning seed, ten fresh seeds of the best",
        trials=3,
        studies=10,
        tuning_studies=1,
        tuning="rates",
        stopping="share",
        stop_share=0.8,
    ),
)


def rulesets() -> dict[str, Ruleset]:
    """Every ruleset by name."""
    return {ruleset.name: ruleset for ruleset in _RULESETS}


def ruleset(name: str) -> Ruleset:
    """One ruleset.

    Raises:
        UsageError: nobody defined it.
    """
    known = rulesets()
    if name not in known:
        raise unknown("ruleset", name, known)
    return known[name]
