"""Ranks: what the seeds tell apart, and that they speak for the order and not against it."""

from __future__ import annotations

import math

from harness.scoring.ties import rank_ties

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
    assert ties.p_values["b", "a"] < 0.05
    assert ties.tied == (("b", "a"),)
    assert ties.ranks == {"b": (1, 2), "a": (1, 2)}
    assert rank_ties(table, order=["a", "b"], workloads=WORKLOADS).tied == ()
