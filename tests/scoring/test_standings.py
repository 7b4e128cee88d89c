"""The spread of anchored scores: that its intervals cover, and what it says of few studies and misses."""

from __future__ import annotations

import math
import random

import pytest

from harness.scoring.score import anchored_term
from harness.scoring.standings import anchored_spread


@pytest.mark.parametrize("studies", [6, 8, 16])
def test_the_interval_covers_the_true_score(studies: int) -> None:
    """Standard error of the coverage: 0.006. Joining workloads is conservative: 95 % become 97 to 99."""
    rng = random.Random(0)
    true = {"a": 8.0, "b": 12.0, "c": 20.0}
    reference = dict.fromkeys(true, 10.0)
    score = sum(anchored_term(t, 10.0) for t in true.values()) / 3
    covered = 0
    for _ in range(1500):
        seen = {w: {(0, k): t * math.exp(rng.gauss(0, 0.05)) for k in range(studies)} for w, t in true.items()}
        spread = anchored_spread(seen, reference, list(true))
        assert spread is not None
        assert spread.kind == "interval"
        covered += spread.low <= score <= spread.high
    assert 0.93 <= covered / 1500 <= 0.995


def test_few_studies_give_a_range_that_holds_the_score() -> None:
    seen = {"a": {(0, 0): 5.0, (0, 1): 10.0, (0, 2): math.inf}, "b": {(0, 0): 10.0}}
    spread = anchored_spread(seen, {"a": 10.0, "b": 10.0, "c": 10.0}, ["a", "b", "c"])
    assert spread is not None
    assert spread.kind == "range"
    assert spread.low == pytest.approx((0.0 + 0.4) / 3)
    assert spread.high == pytest.approx((0.6 + 0.4) / 3)
    assert anchored_spread({}, {"a": 1.0}, ["a"]) is None
