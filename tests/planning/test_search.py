"""Which settings a search tries, which neighbours the winner has, and when it lies at an edge."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.contract.domains import Choice, Fixed, HParams, Integer, LogUniform, Space, Uniform
from harness.errors import UsageError
from harness.planning.sampling import draw_points, quantile_of, value_at
from harness.planning.search import Search, choose_search, find_edges, find_neighbours, parse_range, select_points

SPACE: Space = {
    "lr": LogUniform(1e-4, 1e-2),
    "momentum": Uniform(0.8, 1.0),
    "layers": Integer(1, 4),
    "shape": Choice(("linear", "cosine")),
    "eps": Fixed(1e-8),
    "bias": Fixed(True),
    "name": Fixed("x"),
}


def accept(point: HParams) -> None:
    """A check that refuses nothing."""


def points(search: Search, trials: int) -> list[HParams]:
    return select_points(search, trials, accept)[0]


def test_a_space_is_searched_from_the_defaults_along_its_sequence() -> None:
    search = choose_search(SPACE)
    chosen = points(search, 5)
    sequence = draw_points({name: SPACE[name] for name in ("layers", "lr", "momentum", "shape")})
    assert chosen == [{}, *(next(sequence) for _ in range(4))]
    assert points(search, 9)[:5] == chosen, "more trials continue the search"
    assert search.values_of({}) == {"layers": 2, "lr": 0.001, "momentum": 0.9, "shape": "linear"}


SMALL: Space = {"layers": Integer(1, 2), "shape": Choice(("linear", "cosine"))}


def test_a_small_space_is_searched_completely_and_no_point_is_tried_twice() -> None:
    search = choose_search(SMALL)
    chosen = points(search, 8)
    assert chosen[0] == {}
    tried = [tuple(sorted(search.values_of(point).items())) for point in chosen]
    assert sorted(tried) == [
        (("layers", layers), ("shape", shape)) for layers in (1, 2) for shape in ("cosine", "linear")
    ]
    assert points(search, 3) == chosen[:3], "fewer trials are the first points"


@pytest.mark.parametrize("size", [1, 2, 30, 1000])
def test_every_point_of_a_discrete_space_is_found(size: int) -> None:
    space: Space = {"flag": Choice((False, True)), "number": Integer(1, size), "rate": Uniform(0.5, 0.5)}
    assert len(points(choose_search(space), 2 * size + 1)) == 2 * size


def test_a_space_in_which_every_point_is_refused_is_an_error() -> None:
    def refuse(point: HParams) -> None:
        raise UsageError(f"layers={point.get('layers', 1)} is not allowed here", fix="name another workload")

    with pytest.raises(UsageError, match="layers=1 is not allowed here"):
        select_points(choose_search(SMALL), 8, refuse)


def test_one_hyperparameter_is_searched_around_its_default_or_over_a_range() -> None:
    lone = choose_search(SPACE, only="lr")
    assert [point["lr"] for point in points(lone, 4)] == [0.0005, 0.001, 0.002, 0.004]
    ranged = choose_search(SPACE, only="lr", ranges={"lr": (1e-4, 1e-2)})
    assert [point["lr"] for point in points(ranged, 3)] == [1e-4, 1e-3, 1e-2]
    assert [point["layers"] for point in points(choose_search(SPACE, only="layers"), 9)] == [1, 2, 3, 4]
    assert [point["shape"] for point in points(choose_search(SPACE, only="shape"), 1)] == ["linear", "cosine"]
    assert [point["bias"] for point in points(choose_search(SPACE, only="bias"), 8)] == [False, True]
    assert [point["eps"] for point in points(choose_search(SPACE, only="eps"), 3)] == [5e-9, 1e-8, 2e-8]


@pytest.mark.parametrize(
    ("only", "expected"),
    [("lr", True), ("eps", True), ("bias", False), ("options", False), ("shape", False), ("layers", False)],
)
def test_only_numbers_are_tried_in_multiples_of_the_default(only: str, expected: bool) -> None:
    space = {**SPACE, "options": Fixed(2, values=(1, 2, 4))}
    assert choose_search(space, only=only).multiples_of_default is expected


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"only": "lrr"}, "did you mean 'lr'"),
        ({"only": "name"}, "no multiples of this default"),
        ({"only": "lr", "ranges": {"eps": (1e-9, 1e-7)}}, "--only lr excludes all other hyperparameters"),
        ({"only": "lr", "ranges": {"lr": (-1.0, 1.0)}}, "out of range"),
        ({"only": "shape", "ranges": {"shape": (0.0, 1.0)}}, "is not a number"),
        ({"only": "lr", "excluded": frozenset({"lr"})}, "cannot be searched"),
    ],
)
def test_what_cannot_be_searched_is_refused(arguments: dict[str, object], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        choose_search(SPACE, **arguments)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="no hyperparameter with a search range"):
        choose_search({"eps": Fixed(1e-8)})


@pytest.mark.parametrize("text", ["lr", "lr=1", "lr=2..1", "lr=a..b", "=1..2", "lr=1..inf"])
def test_a_malformed_range_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match=r"NAME=LOW\.\.HIGH"):
        parse_range(text)


def test_refused_points_of_a_space_are_skipped_and_single_values_reported() -> None:
    def refuse_large(point: HParams) -> None:
        if float(point.get("lr", 0)) > 1e-3:
            raise UsageError(f"lr={point['lr']} is too large")

    space_points, left_out = select_points(choose_search(SPACE), 6, refuse_large)
    assert len(space_points) == 6
    assert left_out == []
    lone, left_out = select_points(choose_search(SPACE, only="lr"), 4, refuse_large)
    assert [point["lr"] for point in lone] == [0.0005, 0.001]
    assert left_out == ["lr=0.002 is too large", "lr=0.004 is too large"]


@given(st.floats(0, 0.999))
def test_a_quantile_is_that_of_its_value(u: float) -> None:
    for domain in (LogUniform(1e-4, 1e-2), Uniform(0.8, 1.0)):
        assert quantile_of(domain, value_at(domain, u)) == pytest.approx(u, abs=1e-4)


def test_a_winner_at_the_edge_is_told_where_to_go_on() -> None:
    search = choose_search(SPACE, only="lr")
    tried = points(search, 4)
    (edge,) = find_edges(search, SPACE, {"lr": 0.004}, tried)
    assert edge.option == "--range lr=0.00133..0.04"
    (edge,) = find_edges(search, SPACE, {"lr": 0.0005}, tried)
    assert edge.option == "--range lr=5e-05..0.0015"
    assert find_edges(search, SPACE, {"lr": 0.001}, tried) == []


def test_an_end_beyond_which_no_value_is_allowed_is_no_edge() -> None:
    search = choose_search(SPACE, only="momentum")
    tried = points(search, 3)
    assert find_edges(search, SPACE, {"momentum": max(float(point["momentum"]) for point in tried)}, tried) == []


def test_neighbours_are_the_next_values_on_both_sides() -> None:
    search = choose_search(SPACE, only="lr")
    tried = points(search, 4)
    assert find_neighbours(search, tried[1], tried) == [tried[0], tried[2]]
    assert find_neighbours(search, tried[3], tried) == [tried[2]]
    whole = choose_search({"lr": SPACE["lr"], "momentum": SPACE["momentum"]})
    near: HParams = {"lr": 1.1e-3, "momentum": 0.9}
    far: HParams = {"lr": 9e-3, "momentum": 0.99}
    assert find_neighbours(whole, {}, [far, {}, near]) == [near, far]
