"""Choose the settings that a hyperparameter search tries.

A search varies all hyperparameters of a search space, or one of them. A point contains values of the searched
hyperparameters. Hyperparameters that a point does not contain have their defaults.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from harness.contract import hyperparameters
from harness.contract.domains import Choice, Domain, Fixed, HParams, Integer, LogUniform, Scalar, Space, Uniform
from harness.errors import UsageError, unknown_name_error
from harness.planning.sampling import draw_points, quantile_of, round_to_six_digits, value_at

#: Ratio of neighbouring values in a search of one hyperparameter, if these values are multiples of the default.
STEP = 2.0
#: Maximum number of refused points in a search of a space. One more is an error.
MAX_REFUSED = 200
#: A search of a space ends when its sequence repeats points in a row, this number of times for each known point. A
#: discrete space has then no further points, except with a negligible probability.
REPETITIONS_PER_POINT = 20
#: Smallest ratio of upper end to lower end at which a requested range of a fixed hyperparameter is searched
#: logarithmically. A fixed hyperparameter has no declared range that would decide this.
LOG_RATIO = 4.0


@dataclass(frozen=True, kw_only=True)
class Search:
    """The hyperparameters that a search varies.

    Args:
        domains: the searched hyperparameters with the domains in which they are searched.
        defaults: the default of each searched hyperparameter.
        only: name of the only searched hyperparameter; None for a search of the whole space.
        multiples_of_default: whether the values to try are multiples of the default, such as 0.5, 1 and 2 times the
            default. True in a search of one hyperparameter that is log-uniform or a fixed number, without a requested
            range.
    """

    domains: Space
    defaults: HParams
    only: str | None = None
    multiples_of_default: bool = False

    def values_of(self, point: HParams) -> HParams:
        """Return the values of all searched hyperparameters at a point, including those that are defaults."""
        return {**self.defaults, **point}

    def candidates(self, trials: int) -> Iterator[HParams]:
        """Yield points to try. The empty point means that all hyperparameters have their defaults.

        A search of a space yields the defaults and then the points of a quasi-random sequence, each point once. It ends
        if the space has no further points. A search of one hyperparameter yields at most `trials` values in ascending
        order, or all values of a choice.
        """
        if self.only is None:
            yield {}
            yield from self._other_points()
            return
        for value in self._values_of_one(self.domains[self.only], trials):
            yield {self.only: value}

    def _other_points(self) -> Iterator[HParams]:
        """Yield the points of the space in the order of its sequence, without the defaults and without repetitions."""
        known = {tuple(self.defaults.values())}
        repetitions = 0
        for point in draw_points(self.domains):
            values = tuple(point[name] for name in self.defaults)
            repetitions = repetitions + 1 if values in known else 0
            if repetitions > REPETITIONS_PER_POINT * len(known):
                return
            if not repetitions:
                known.add(values)
                yield point

    def _values_of_one(self, domain: Domain, trials: int) -> Sequence[Scalar]:
        """Return the values to try in a search of one hyperparameter."""
        if isinstance(domain, Choice):
            return domain.values
        if self.multiples_of_default:
            assert self.only is not None
            default = float(self.defaults[self.only])
            return [round_to_six_digits(default * STEP ** (i - (trials - 1) // 2)) for i in range(trials)]
        quantiles = [0.5] if trials == 1 else [i / (trials - 1) for i in range(trials)]
        if isinstance(domain, Integer):
            return list(dict.fromkeys(domain.low + round(q * (domain.high - domain.low)) for q in quantiles))
        return [value_at(domain, q) for q in quantiles]

    def distance(self, a: HParams, b: HParams) -> float:
        """Return the Euclidean distance between two points, with every range scaled to length 1."""
        first, second = self.values_of(a), self.values_of(b)
        return math.hypot(
            *(quantile_of(domain, first[n]) - quantile_of(domain, second[n]) for n, domain in self.domains.items())
        )


def choose_search(
    space: Space,
    *,
    only: str | None = None,
    ranges: Mapping[str, tuple[float, float]] | None = None,
    excluded: frozenset[str] = frozenset(),
    submission: str = "submission",
) -> Search:
    """Return the search of a whole space or of one hyperparameter.

    Args:
        space: the search space of the submission.
        only: name of the hyperparameter, if one is searched; None for all hyperparameters with a range or a choice.
        ranges: lower and upper end of a range, by name of the hyperparameter. It replaces the range in the space.
        excluded: names of hyperparameters that may not be searched.
        submission: name of the submission, for messages.

    Raises:
        UsageError: a name does not exist, nothing can be searched, or a range is not allowed.
    """
    ranges = ranges or {}
    for name in (*([only] if only else ()), *ranges):
        if name not in space:
            raise unknown_name_error(f"hyperparameter of {submission}", name, space)
        if name in excluded:
            problem = (
                f"{name} cannot be searched here, because the schedule of a run to a fixed budget ends at the budget"
            )
            raise UsageError(problem, fix="use --by time without --budget")
    for name in ranges:
        if only is not None and name != only:
            raise UsageError(
                f"--range {name} cannot be used, because --only {only} excludes all other hyperparameters",
                fix=f"give --range {only}=LOW..HIGH",
            )
    if only is not None:
        domains = {only: range_domain(only, space[only], ranges[only]) if only in ranges else space[only]}
    else:
        domains = {
            name: range_domain(name, domain, ranges[name]) if name in ranges else domain
            for name, domain in sorted(space.items())
            if name not in excluded and (name in ranges or not isinstance(domain, Fixed))
        }
    if not domains:
        raise UsageError(
            f"{submission} has no hyperparameter with a search range", fix="name a hyperparameter with --only NAME"
        )
    searched = {name: _domain_with_range(name, domain) for name, domain in domains.items()}
    return Search(
        domains=searched,
        defaults={name: hyperparameters.default(space[name]) for name in domains},
        only=only,
        multiples_of_default=only is not None and only not in ranges and isinstance(searched[only], LogUniform),
    )


def _domain_with_range(name: str, domain: Domain) -> Domain:
    """Return a domain that can be searched.

    A fixed number gets a range around its default. A fixed Boolean, or a hyperparameter with a list of values, gets a
    choice.

    Raises:
        UsageError: the default is text, or a number that is not positive.
    """
    if not isinstance(domain, Fixed):
        return domain
    if domain.values is not None:
        return Choice(domain.values, default=domain.default)
    if isinstance(domain.default, bool):
        return Choice((False, True), default=domain.default)
    if isinstance(domain.default, str) or not domain.default > 0:
        raise UsageError(
            f"{name} has the default {domain.default}, and no multiples of this default can be tried",
            fix=f"give a range: --range {name}=LOW..HIGH"
            if not isinstance(domain.default, str)
            else f"give the values as a grid: bench run --set {name}=A,B",
        )
    return LogUniform(domain.default / STEP, domain.default * STEP, default=float(domain.default))


def range_domain(name: str, domain: Domain, ends: tuple[float, float]) -> Domain:
    """Return the domain of a hyperparameter with a new range.

    Args:
        name: name of the hyperparameter, for messages.
        domain: the declared domain.
        ends: lower and upper end of the new range.

    Raises:
        UsageError: the hyperparameter has a list of values or is not a number, or an end is not an allowed value.
    """
    low, high = ends
    if isinstance(domain, Choice) or (isinstance(domain, Fixed) and not _is_number(domain)):
        raise UsageError(
            f"{name} has a list of values or is not a number, so it has no range", fix=f"leave out --range {name}"
        )
    for end in ends:
        hyperparameters.validate(name, end, domain)
    if isinstance(domain, Integer) or (isinstance(domain, Fixed) and isinstance(domain.default, int)):
        return Integer(int(low), int(high), limits=_integer_limits(domain))
    is_logarithmic = isinstance(domain, LogUniform) or (
        isinstance(domain, Fixed) and low > 0 and high / low >= LOG_RATIO
    )
    if is_logarithmic and low <= 0:
        raise UsageError(
            f"--range {name}={low:g}..{high:g}: the range must begin above 0, because it is searched logarithmically",
            fix="give a lower end above 0",
        )
    return LogUniform(low, high, limits=domain.limits) if is_logarithmic else Uniform(low, high, limits=domain.limits)


def _is_number(domain: Fixed) -> bool:
    return domain.values is None and not isinstance(domain.default, str | bool)


def _integer_limits(domain: Integer | Fixed) -> tuple[int | None, int | None] | None:
    """Return the limits of a domain, rounded inwards to integers; None for a limit that does not exist."""
    if domain.limits is None:
        return None
    low, high = domain.limits
    return (None if low is None else math.ceil(low), None if high is None else math.floor(high))


def parse_range(text: str) -> tuple[str, tuple[float, float]]:
    """Return the name of the hyperparameter and the two ends of its range.

    Raises:
        UsageError: the text is not of the form `NAME=LOW..HIGH`.

    >>> parse_range("lr=1e-4..1e-2")
    ('lr', (0.0001, 0.01))
    """
    name, _, ends = text.partition("=")
    low, _, high = ends.partition("..")
    try:
        bounds = float(low), float(high)
    except ValueError:
        bounds = (math.nan, math.nan)
    if not name.strip() or not bounds[0] < bounds[1] or not math.isfinite(bounds[0] + bounds[1]):
        raise UsageError(f"--range {text} must be of the form NAME=LOW..HIGH", fix="write for example lr=1e-4..1e-2")
    return name.strip(), bounds


def select_points(search: Search, trials: int, check: Callable[[HParams], None]) -> tuple[list[HParams], list[str]]:
    """Return the points to try.

    Points that `check` refuses are left out. A search of one hyperparameter returns a message for each refused point. A
    search of a space returns no messages, because it replaces refused points by further points.

    Args:
        search: the search.
        trials: number of points. A space with fewer points gives all its points.
        check: function that raises a UsageError for a point that is not allowed on a workload.

    Returns:
        The points, and the messages about the points that were left out.

    Raises:
        UsageError: all points, or too many points, are refused.
    """
    points: list[HParams] = []
    refusals: list[UsageError] = []
    for point in search.candidates(trials):
        if len(points) == trials and not isinstance(search.domains.get(search.only or ""), Choice):
            break
        try:
            check(point)
            points.append(point)
        except UsageError as error:
            refusals.append(error)
            if search.only is None and len(refusals) > MAX_REFUSED:
                raise
    if search.only is None:
        if not points:
            raise refusals[0]
        return points, []
    if not points:
        raise UsageError(
            f"every value of {search.only} is refused: {refusals[0].what}", fix=f"give --range {search.only}=LOW..HIGH"
        )
    return points, [error.what for error in refusals]


@dataclass(frozen=True, kw_only=True)
class Edge:
    """A searched hyperparameter whose best value lies at an end of the searched range.

    Args:
        name: the hyperparameter.
        value: its best value.
        low, high: ends of the range to search next.
    """

    name: str
    value: float
    low: float
    high: float

    @property
    def option(self) -> str:
        """The command-line option with which the next search covers the range from `low` to `high`."""
        return f"--range {self.name}={self.low:g}..{self.high:g}"


def find_edges(search: Search, space: Space, winner: HParams, points: Sequence[HParams]) -> list[Edge]:
    """Return the searched hyperparameters whose value in `winner` lies at an end of the searched range.

    In a search of one hyperparameter, a value lies at an end if it is the smallest or largest value that was tried. In
    a search of a space with n points, a value lies at an end if its quantile is within min(0.05, 1/(2n)) of 0 or 1. An
    end is ignored if the declared space allows no value beyond it.

    Args:
        search: the search.
        space: the declared space, which determines the allowed values.
        winner: the best point.
        points: all points that were tried.
    """
    edges = []
    best, tried = search.values_of(winner), [search.values_of(point) for point in points]
    for name, domain in search.domains.items():
        if isinstance(domain, Choice | Fixed) or len(tried) < 2:
            continue
        value, values = float(best[name]), [float(point[name]) for point in tried]
        if search.only is not None:
            at_low, at_high = value == min(values), value == max(values)
        else:
            margin = min(0.05, 0.5 / len(tried))
            at_low = quantile_of(domain, value) < margin
            at_high = quantile_of(domain, value) > 1 - margin
        if at_low or at_high:
            edge = _widen(name, domain, space[name], value, at_low)
            if edge is not None:
                edges.append(edge)
    return edges


def _widen(name: str, domain: Domain, declared: Domain, value: float, downward: bool) -> Edge | None:
    """Return the edge with a range that extends beyond `value`, or None if no value beyond `value` is allowed."""
    assert not isinstance(domain, Choice | Fixed)
    assert not isinstance(declared, Choice)
    smallest, largest = hyperparameters.override_limits(declared)
    if isinstance(domain, LogUniform):
        low, high = (value / 10, value * 3) if downward else (value / 3, value * 10)
    else:
        half_width = (domain.high - domain.low) / 2
        low, high = (
            (value - half_width, value + half_width / 2) if downward else (value - half_width / 2, value + half_width)
        )
    if isinstance(domain, Integer):
        low, high = math.floor(low), math.ceil(high)
    if isinstance(domain, LogUniform) and smallest <= 0:
        smallest = math.nextafter(0, 1)
    low, high = max(low, smallest), min(high, largest)
    is_blocked = low >= value if downward else high <= value
    return None if is_blocked else Edge(name=name, value=value, low=float(f"{low:.3g}"), high=float(f"{high:.3g}"))


def find_neighbours(search: Search, winner: HParams, points: Sequence[HParams], count: int = 2) -> list[HParams]:
    """Return the tried points that are nearest to the winner.

    In a search of one numeric hyperparameter, these are the points with the next smaller and the next larger value. In
    other searches, these are the `count` points with the smallest distance.
    """
    others = [point for point in points if point != winner]
    if search.only is None or isinstance(search.domains[search.only], Choice):
        return sorted(others, key=lambda point: search.distance(point, winner))[:count]
    name = search.only
    ordered = sorted(points, key=lambda point: float(search.values_of(point)[name]))
    index = ordered.index(winner)
    return list(itertools.chain(ordered[max(0, index - 1) : index], ordered[index + 1 : index + 2]))
