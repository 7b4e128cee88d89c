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
