"""The page docs/threat-model.md names every test of a cheat, and every test has a verdict."""

from __future__ import annotations

from collections import Counter
from fractions import Fraction

from tools import make_threats


def test_the_page_is_not_stale() -> None:
    assert make_threats.PAGE.read_text() == make_threats.page(), "stale: run python -m tools.make_threats"


def test_every_kind_of_cheat_has_three_ways() -> None:
    ways = Counter(threat.kind for threat in make_threats.list_threats())
    assert len(ways) == 13
    assert min(ways.values()) >= 3, ways


def test_five_of_six_are_caught_or_useless() -> None:
    verdicts = Counter(threat.verdict for threat in make_threats.list_threats())
    assert set(verdicts) == set(make_threats.VERDICTS)
    assert Fraction(verdicts["out of reach"], verdicts.total()) <= Fraction(1, 6), verdicts
