"""Points of a search space: known values, even coverage, and the same for everybody."""

from __future__ import annotations

import itertools
import math

import pytest
from scipy.stats import qmc

from harness.contract.domains import Choice, Fixed, Integer, LogUniform, Space, Uniform
from harness.planning import sampling

SPACE: Space = {
    "lr": LogUniform(1e-4, 1e-2),
    "warmup": Uniform(0.0, 0.2),
    "depth": Integer(1, 3),
    "shape": Choice(("linear", "cosine")),
    "eps": Fixed(1e-8),
}


def first(space: Space, n: int) -> list[dict[str, object]]:
    return [dict(point) for point in itertools.islice(sampling.draw_points(space), n)]


def test_known_points() -> None:
    # What everybody with this space tries; a change of them is a new version of every ruleset that draws.
    space: Space = {"lr": LogUniform(1e-4, 1e-2), "warmup": Uniform(0.0, 0.2)}
    row = qmc.Halton(2, scramble=True, rng=sampling.SEED).random(2)
    expected = [(1e-4 * 100**u, 0.2 * v) for u, v in row]
    found = [(point["lr"], point["warmup"]) for point in first(space, 2)]
    assert found == [(pytest.approx(a, rel=1e-5), pytest.approx(b, rel=1e-5)) for a, b in expected]
    assert found == [(KNOWN[0][0], KNOWN[0][1]), (KNOWN[1][0], KNOWN[1][1])]


KNOWN = [(0.00487435, 0.143588), (0.000487435, 0.0102548)]


def test_the_order_in_which_a_space_is_written_does_not_matter() -> None:
    assert first(SPACE, 20) == first(dict(reversed(SPACE.items())), 20)


def test_points_are_spread_evenly() -> None:
    # A (scrambled) Halton sequence in base 2 and 3 puts one of its first b^k points in every 1/b^k of its axis.
    points = list(itertools.islice(sampling.draw_points({"a": Uniform(0.0, 8.0), "b": Uniform(0.0, 9.0)}), 9))
    assert sorted(int(float(p["a"])) for p in points[:8]) == list(range(8))
    assert sorted(int(float(p["b"])) for p in points[:9]) == list(range(9))


def test_points_lie_in_their_domains_and_leave_what_is_fixed() -> None:
    for point in first(SPACE, 200):
        assert set(point) == {"lr", "warmup", "depth", "shape"}
        assert 1e-4 <= float(str(point["lr"])) <= 1e-2
        assert point["depth"] in (1, 2, 3)
        assert point["shape"] in ("linear", "cosine")


def test_a_space_with_nothing_to_search_has_one_point() -> None:
    assert first({"eps": Fixed(1.0)}, 2) == [{}, {}]


def test_rates_are_a_factor_apart() -> None:
    for a, b in itertools.pairwise(sampling.learning_rates(5e-3, 5)):
        assert math.isclose(b / a, sampling.RATE_FACTOR, rel_tol=1e-5)
