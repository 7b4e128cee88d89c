"""The spread of anchored scores: that its intervals cover, and what it says of few studies and misses."""

from __future__ import annotations

import math
import random

import pytest

from harness.scoring.anchored_spread import anchored_spread
from harness.scoring.scores import anchored_term


@pytest.mark.slow
@pytest.mark.parametrize("workloads", [1, 3, 8])
@pytest.mark.parametrize("studies", [6, 8, 13, 30])
def test_the_interval_covers_the_true_score(studies: int, workloads: int) -> None:
    """95 % intervals cover at least 93 % and, from eight studies, at most 97 %; standard error of a coverage: 0.005."""
    rng = random.Random(7)
    true = {f"w{i}": 6.0 + 2.0 * i for i in range(workloads)}
    noise = {w: 0.02 * (1 + i) for i, w in enumerate(true)}
    reference = dict.fromkeys(true, 10.0)
    score = sum(anchored_term(t, 10.0) for t in true.values()) / workloads
    covered = 0
    for _ in range(2000):
        times = {w: {("0", k): t * math.exp(rng.gauss(0, noise[w])) for k in range(studies)} for w, t in true.items()}
        spread = anchored_spread(times, reference, list(true))
        assert spread is not None
        assert spread.kind == "interval"
        covered += spread.low <= score <= spread.high
    assert 0.93 <= covered / 2000 <= (0.97 if studies >= 8 else 0.98)


def test_equal_times_leave_no_width() -> None:
    times = {w: {("0", k): 10.0 for k in range(8)} for w in "ab"}
    spread = anchored_spread(times, {"a": 10.0, "b": 10.0}, ["a", "b"])
    assert spread is not None
    assert spread.low == spread.high == pytest.approx(0.4)


def test_few_studies_give_a_range_that_holds_the_score() -> None:
    times = {"a": {("0", 0): 5.0, ("0", 1): 10.0, ("0", 2): math.inf}, "b": {("0", 0): 10.0}}
    spread = anchored_spread(times, {"a": 10.0, "b": 10.0, "c": 10.0}, ["a", "b", "c"])
    assert spread is not None
    assert spread.kind == "range"
    assert spread.low == pytest.approx((0.0 + 0.4) / 3)
    assert spread.high == pytest.approx((0.6 + 0.4) / 3)
    assert anchored_spread({}, {"a": 1.0}, ["a"]) is None
