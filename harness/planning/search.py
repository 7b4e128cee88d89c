"""Choose the settings that a search of hyperparameters tries: a whole space, or one hyperparameter of it."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from harness.contract import hyperparameters
from harness.contract.domains import Choice, Domain, Fixed, HParams, Integer, LogUniform, Scalar, Space, Uniform
from harness.errors import UsageError, unknown_name_error
from harness.planning.sampling import draw_points, quantile_of, round_to_six_digits, value_at

#: Ratio of neighbouring values around a default, for a search of one hyperparameter without a range.
STEP = 2.0
#: Number of refused points in a row after which the search of a space fails.
MAX_REFUSED = 200
#: Ratio of the ends of a range from which a hyperparameter without a search range is searched by its logarithm.
LOG_RATIO = 4.0


@dataclass(frozen=True, kw_only=True)
class Search:
    """The hyperparameters that a search varies.

    Args:
        domains: the searched hyperparameters with their ranges.
        defaults: default of each of them.
        only: name of the hyperparameter if the search varies only one; None for a search of the whole space.
        spaced_by_default: whether the values are multiples of the default, for want of a range.
    """

    domains: Space
    defaults: HParams
    only: str | None = None
    spaced_by_default: bool = False

    def values_of(self, point: HParams) -> HParams:
        """Return the values of all searched hyperparameters at a point, defaults included."""
        return {**self.defaults, **point}

    def candidates(self, trials: int) -> Iterator[HParams]:
        """Yield points to try. The empty point stands for the defaults.

        A search of a space begins with the defaults, then follows the quasi-random sequence of the space, which is
        endless. A search of one hyperparameter yields `trials` values in ascending order.
        """
        if self.only is None:
            yield {}
            yield from draw_points(self.domains)
            return
        for value in self._ladder(self.domains[self.only], trials):
            yield {self.only: value}

    def _ladder(self, domain: Domain, trials: int) -> Sequence[Scalar]:
        if isinstance(domain, Choice):
            return domain.values
        if self.spaced_by_default:
            assert self.only is not None
            middle = float(self.defaults[self.only])
            return [round_to_six_digits(middle * STEP ** (i - (trials - 1) // 2)) for i in range(trials)]
        shares = [0.5] if trials == 1 else [i / (trials - 1) for i in range(trials)]
        if isinstance(domain, Integer):
            return list(dict.fromkeys(domain.low + round(share * (domain.high - domain.low)) for share in shares))
        return [value_at(domain, share) for share in shares]

    def distance(self, a: HParams, b: HParams) -> float:
        """Return the Euclidean distance of two points, with every range scaled to 1."""
        first, second = self.values_of(a), self.values_of(b)
        return math.hypot(
            *(quantile_of(domain, first[n]) - quantile_of(domain, second[n]) for n, domain in self.domains.items())
        )


def choose_search(
    space: Space,
    *,
    only: str | None = None,
    ranges: Mapping[str, tuple[float, float]] | None = None,
    held: frozenset[str] = frozenset(),
    submission: str = "submission",
) -> Search:
    """Return the search of a space, or of one hyperparameter.

    Args:
        space: the submission's space.
        only: the hyperparameter that is searched alone; None for all hyperparameters that have a search range.
        ranges: lower and upper end by name, in place of the space's ranges.
        held: names that are not searched.
        submission: name of the submission, for messages.

    Raises:
        UsageError: a name does not exist, nothing can be searched, or a range is not allowed.
    """
    ranges = ranges or {}
    for name in (*([only] if only else ()), *ranges):
        if name not in space:
            raise unknown_name_error(f"hyperparameter of {submission}", name, space)
        if name in held:
            problem = f"{name} cannot be searched: runs to a fixed budget plan for their end"
            raise UsageError(problem, fix="search it with --by time, without --budget")
    for name in ranges:
        if only is not None and name != only:
            raise UsageError(f"--range {name} does not belong to --only {only}", fix=f"give --range {only}=LOW..HIGH")
    if only is not None:
        domains = {only: range_domain(only, space[only], ranges[only]) if only in ranges else space[only]}
    else:
        domains = {
            name: range_domain(name, domain, ranges[name]) if name in ranges else domain
            for name, domain in sorted(space.items())
            if name not in held and (name in ranges or not isinstance(domain, Fixed))
        }
    if not domains:
        raise UsageError(f"{submission} has no hyperparameter with a search range", fix="name one: --only NAME")
    spaced = only is not None and only not in ranges and isinstance(domains[only], LogUniform | Fixed)
    return Search(
        domains={name: _searchable(name, domain, spaced) for name, domain in domains.items()},
        defaults={name: hyperparameters.default(space[name]) for name in domains},
        only=only,
        spaced_by_default=spaced and not isinstance(domains[only or ""], Choice),
    )


def _searchable(name: str, domain: Domain, spaced: bool) -> Domain:
    """Return a domain with a range; that of a fixed hyperparameter is around its default."""
    if not isinstance(domain, Fixed):
        return domain
    if domain.values is not None:
        return Choice(domain.values, default=domain.default)
    if isinstance(domain.default, bool):
        return Choice((False, True), default=domain.default)
    if isinstance(domain.default, str) or not domain.default > 0:
        raise UsageError(
            f"{name} has the default {domain.default}, around which no values can be spaced",
            fix=f"give a range: --range {name}=LOW..HIGH"
            if not isinstance(domain.default, str)
            else f"give the values as a grid: bench run --set {name}=A,B",
        )
    return LogUniform(domain.default / STEP, domain.default * STEP, default=float(domain.default))


def range_domain(name: str, domain: Domain, ends: tuple[float, float]) -> Domain:
    """Return the domain of a hyperparameter over another range.

    Raises:
        UsageError: the hyperparameter has no range, or may not have one of the ends as a value.
    """
    low, high = ends
    if isinstance(domain, Choice) or (isinstance(domain, Fixed) and not _is_number(domain)):
        raise UsageError(f"{name} is not a number, so it has no range", fix=f"leave out --range {name}")
    for end in ends:
        hyperparameters.validate(name, end, domain)
    if isinstance(domain, Integer) or (isinstance(domain, Fixed) and isinstance(domain.default, int)):
        return Integer(int(low), int(high), limits=_integers(domain))
    logarithmic = isinstance(domain, LogUniform) or (isinstance(domain, Fixed) and low > 0 and high / low >= LOG_RATIO)
    if logarithmic and low <= 0:
        raise UsageError(f"--range {name}={low:g}..{high:g} must begin above 0", fix="its values are spaced by ratios")
    return LogUniform(low, high, limits=domain.limits) if logarithmic else Uniform(low, high, limits=domain.limits)


def _is_number(domain: Fixed) -> bool:
    return domain.values is None and not isinstance(domain.default, str | bool)


def _integers(domain: Integer | Fixed) -> tuple[int | None, int | None] | None:
    if domain.limits is None:
        return None
    low, high = domain.limits
    return (None if low is None else math.ceil(low), None if high is None else math.floor(high))


def parse_range(text: str) -> tuple[str, tuple[float, float]]:
    """Return the name and the ends of a range.

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
    """Return the points to try, and a message for each value of a single hyperparameter that is left out.

    Points of a space that `check` refuses are skipped without a message, as in rulesets that draw from the space.

    Args:
        search: what is searched.
        trials: number of points.
        check: raises a UsageError for a point that a workload refuses.

    Raises:
        UsageError: too many points are refused.
    """
    points: list[HParams] = []
    left_out: list[str] = []
    for point in search.candidates(trials):
        if len(points) == trials and not isinstance(search.domains.get(search.only or ""), Choice):
            break
        try:
            check(point)
            points.append(point)
        except UsageError as error:
            left_out.append(error.what)
            if search.only is None and len(left_out) > MAX_REFUSED:
                raise
    if not points:
        raise UsageError(
            f"no value of {search.only} can run: {left_out[0]}", fix=f"give --range {search.only}=LOW..HIGH"
        )
    return points, left_out if search.only is not None else []


@dataclass(frozen=True, kw_only=True)
class Edge:
    """A searched hyperparameter whose best value lies at an end of its range.

    Args:
        name: the hyperparameter.
        value: its best value.
        low, high: the range to search next.
    """

    name: str
    value: float
    low: float
    high: float

    @property
    def option(self) -> str:
        """The option that searches the wider range."""
        return f"--range {self.name}={self.low:g}..{self.high:g}"


def find_edges(search: Search, space: Space, winner: HParams, points: Sequence[HParams]) -> list[Edge]:
    """Return the hyperparameters whose value in `winner` has no tried neighbour on one side.

    In a search of one hyperparameter this is the smallest or largest value tried. In a search of a space it is a value
    that is nearer to an end of its range than half the mean distance of the points. Ends beyond which no value is
    allowed do not count.
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
    """Return the edge with a range that goes on beyond it; None where no other value is allowed."""
    assert not isinstance(domain, Choice | Fixed)
    assert not isinstance(declared, Choice)
    least, most = hyperparameters.override_limits(declared)
    if isinstance(domain, LogUniform):
        low, high = (value / 10, value * 3) if downward else (value / 3, value * 10)
    else:
        half = (domain.high - domain.low) / 2
        low, high = (value - half, value + half / 2) if downward else (value - half / 2, value + half)
    if isinstance(domain, Integer):
        low, high = math.floor(low), math.ceil(high)
    if isinstance(domain, LogUniform) and least <= 0:
        least = math.nextafter(0, 1)
    low, high = max(low, least), min(high, most)
    is_blocked = low >= value if downward else high <= value
    return None if is_blocked else Edge(name=name, value=value, low=float(f"{low:.3g}"), high=float(f"{high:.3g}"))


def find_neighbours(search: Search, winner: HParams, points: Sequence[HParams], count: int = 2) -> list[HParams]:
    """Return the tried points nearest to the winner: the next values on both sides, or the nearest in the space."""
    others = [point for point in points if point != winner]
    if search.only is None or isinstance(search.domains[search.only], Choice):
        return sorted(others, key=lambda point: search.distance(point, winner))[:count]
    name = search.only
    ordered = sorted(points, key=lambda point: float(search.values_of(point)[name]))
    index = ordered.index(winner)
    return list(itertools.chain(ordered[max(0, index - 1) : index], ordered[index + 1 : index + 2]))
