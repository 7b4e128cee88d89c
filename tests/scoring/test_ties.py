"""Ranks: what the seeds tell apart, and that they speak for the order and not against it."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.scoring.ties import pairs_for_verdict, rank_ranges, rank_ties

#: Submission -> relative noise of its times, which alternates in sign.
NOISE = {"a": 0.0, "b": 0.01, "c": -0.02}
WORKLOADS = [f"w{i}" for i in range(6)]


def studies(times: list[float], n: int = 10) -> dict[str, dict[int, float]]:
    """The same seeds for everybody: study i is i % slower."""
    return {w: {i: t * (1 + i / 100) for i in range(n)} for w, t in zip(WORKLOADS, times, strict=True)}


def test_a_clear_order_is_told_apart() -> None:
    ties = rank_ties({"a": studies([1.0] * 6), "b": studies([1.1] * 6)}, order=["a", "b"], workloads=WORKLOADS)
    assert ties.tied == ()
    assert ties.ranks == {"a": (1, 1), "b": (2, 2)}


def test_seeds_that_say_the_opposite_do_not_support_the_order() -> None:
    """`a` is 5 % faster on five workloads and misses the sixth, so that its score is the lower one."""
    table = {"a": studies([0.95] * 5 + [math.inf]), "b": studies([1.0] * 6)}
    ties = rank_ties(table, order=["b", "a"], workloads=WORKLOADS)
    (verdict,) = ties.verdicts
    assert (verdict.a, verdict.b, verdict.verdict) == ("b", "a", "tied")
    assert verdict.p < 0.05
    assert verdict.contradicts_order
    assert ties.tied == (("b", "a"),)
    assert ties.ranks == {"b": (1, 2), "a": (1, 2)}
    assert rank_ties(table, order=["a", "b"], workloads=WORKLOADS).tied == ()


def test_too_few_pairs_are_undecided_and_enough_are_tied() -> None:
    """Three submissions are three comparisons, for which seven pairs are the fewest with a verdict."""
    assert pairs_for_verdict(3) == 7
    for pairs, expected in ((6, "undecided"), (7, "tied")):
        table = {name: {"w": {i: 1 + (-1) ** i * noise for i in range(pairs)}} for name, noise in NOISE.items()}
        verdicts = rank_ties(table, order=list(NOISE), workloads=["w"]).verdicts
        assert [verdict.verdict for verdict in verdicts] == [expected] * 3


def test_the_ratio_of_a_verdict() -> None:
    table = {"a": studies([1.0] * 6), "b": studies([1.25] * 6), "never": {}}
    ties = rank_ties(table, order=["a", "b", "never"], workloads=WORKLOADS)
    ratios = {(v.a, v.b): v.ratio for v in ties.verdicts}
    assert ratios["a", "b"] == pytest.approx(0.8)
    assert ratios["a", "never"] == 0, "no study of b hit"
    (alone,) = rank_ties({"a": {}, "b": {}}, order=["a", "b"], workloads=["w"]).verdicts
    assert math.isnan(alone.ratio)
    assert alone.verdict == "undecided"


@given(st.lists(st.lists(st.floats(0.5, 2.0), min_size=3, max_size=3), min_size=3, max_size=12))
def test_ranks_are_made_from_the_verdicts(rows: list[list[float]]) -> None:
    table = {name: {"w": {i: row[column] for i, row in enumerate(rows)}} for column, name in enumerate("abc")}
    ties = rank_ties(table, order=["a", "b", "c"], workloads=["w"])
    assert ties.ranks == rank_ranges(["a", "b", "c"], {(v.a, v.b) for v in ties.verdicts if v.verdict != "faster"})
    assert all(v.ratio < 1 for v in ties.verdicts if v.verdict == "faster")
