"""Estimates what each interval between two evaluations costs, from all runs of one submission and setting.

log time = log examples + log cost per example. The number of examples to the target is a property of the method, and
varies with the seed. The cost is a property of method and machine, and a single measurement of it also contains what
else the machine did. So the scored time of a run is not its own measurement: it is the cost of the construction and of
each interval up to the hit, where each cost is the median over all runs of the submission with that setting.

All runs of a submission share the error of its costs. So paired tests use times that differ from run to run: the scored
time × the run's slowness, the median over its intervals of measured seconds over cost. The errors of these times are
independent, and a short disturbance of the machine does not change them.

Source: Exploratory Data Analysis, Tukey 1977, chapter 11 (median polish)
"""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias

from harness.contract.run import RunSpec
from harness.scoring.time_to_target import IntervalSeconds

#: Identity of the runs that share costs: submission with its source, workload, hardware class, ranks and setting.
Arm: TypeAlias = tuple[Hashable, ...]
#: Index 0 is the construction of the submission; index k is the interval that ends at point k.
_Cell: TypeAlias = tuple[Arm, int]

#: Excess of the median total over the total of medians, as a fraction and beyond the reference's excess, from which on
#: the expensive intervals of a submission are taken to depend on the seed. Then its costs are means.
SEED_DEPENDENT_EXCESS = 0.05
#: Largest number of rounds of the median polish; it converges in two or three.
_POLISH_ROUNDS = 20
#: Smallest number of runs from which seed-dependent costs can be told from noise.
_MIN_RUNS = 5


class CostedRun(Protocol):
    """A run with its interval seconds; the point at which it met its targets is `result.index`."""

    @property
    def run_id(self) -> str: ...
    @property
    def spec(self) -> RunSpec: ...
    @property
    def intervals(self) -> IntervalSeconds | None: ...


def arm_of(spec: RunSpec) -> Arm:
    """Return the identity of the runs with which a run shares its costs."""
    ref, facts = spec.submission, spec.workload.facts
    setting = tuple(sorted((name, str(value)) for name, value in spec.hparams.items()))
    return (ref.id, ref.source_hash, facts.id, spec.hardware, spec.ranks, setting)


@dataclass(frozen=True, slots=True, kw_only=True)
class CostModel:
    """The costs of intervals in scored seconds.

    Args:
        costs: arm -> cost of the construction (index 0) and of each interval.
        runs: arm -> number of runs from which its costs are estimated.
        by_mean: arms whose costs are means over runs, since their expensive intervals depend on the seed.
        speeds: (hardware class, session) -> log of the session's seconds over those of a typical session.
        unlinked: sessions without a run that links them to other sessions; their speed is taken to be typical.
    """

    costs: Mapping[Arm, Sequence[float]]
    runs: Mapping[Arm, int]
    by_mean: frozenset[Arm] = frozenset()
    speeds: Mapping[tuple[str, str], float] = field(default_factory=dict)
    unlinked: frozenset[str] = frozenset()

    def time_to(self, spec: RunSpec, index: int) -> float | None:
        """Return the cost in seconds from the start to point `index`; None for an arm without costs that far."""
        costs = self.costs.get(arm_of(spec), ())
        return math.fsum(costs[: index + 1]) if index < len(costs) else None

    def own_time_to(self, spec: RunSpec, intervals: IntervalSeconds, index: int) -> float | None:
        """Return the seconds of one run from its start to point `index`, for paired tests.

        They are the cost to that point × the slowness of this run. Where the expensive intervals of a submission depend
        on the seed, they are the run's seconds as measured. In both cases they are divided by the session's speed.
        """
        cost = self.time_to(spec, index)
        if cost is None:
            return None
        adjusted = _adjust_to_speed(spec, intervals, self.speeds)
        arm = arm_of(spec)
        if arm in self.by_mean:
            return _without_rounding(math.fsum(adjusted[: index + 1]))
        slowness = [
            math.log(seconds / typical)
            for seconds, typical in zip(adjusted, self.costs[arm], strict=False)
            if seconds > 0 and typical > 0
        ]
        return _without_rounding(cost * math.exp(statistics.median(slowness)) if slowness else cost)


def fit_costs(runs: Iterable[CostedRun], references: Collection[str] = ()) -> CostModel:
    """Estimate the costs of all intervals of a table.

    First, the seconds of each session are divided by the session's speed: the median over the intervals of the
    reference in it, relative to the reference's median over all sessions. Without a run of the reference in a session,
    all submissions that also ran in other sessions take its place. Then the cost of interval k of a submission is the
    median over its runs of interval k. Interval k of one run is never compared with another interval, so that periodic
    work, such as a preconditioner every tenth interval, is part of the cost.

    Args:
        runs: runs of one ruleset; those without interval seconds are ignored.
        references: names of the submissions that may be the reference.
    """
    measured = [(run.spec, run.intervals) for run in runs if run.intervals is not None]
    is_reference = {arm_of(spec): spec.submission.name in references for spec, _ in measured}
    speeds, unlinked = _session_speeds(measured, is_reference)
    adjusted: dict[Arm, list[list[float]]] = defaultdict(list)
    for spec, intervals in measured:
        adjusted[arm_of(spec)].append(_adjust_to_speed(spec, intervals, speeds))
    medians = {arm: _by_interval(rows, statistics.median) for arm, rows in adjusted.items()}
    excess = {arm: _median_excess(rows, medians[arm]) for arm, rows in adjusted.items()}
    noise = max((value for arm, value in excess.items() if is_reference[arm]), default=0.0)
    by_mean = frozenset(
        arm
        for arm, value in excess.items()
        if len(adjusted[arm]) >= _MIN_RUNS and not is_reference[arm] and value - noise > SEED_DEPENDENT_EXCESS
    )
    return CostModel(
        costs={
            arm: _by_interval(adjusted[arm], statistics.fmean) if arm in by_mean else medians[arm] for arm in medians
        },
        runs={arm: len(rows) for arm, rows in adjusted.items()},
        by_mean=by_mean,
        speeds=speeds,
        unlinked=unlinked,
    )


def _without_rounding(seconds: float) -> float:
    """Return seconds with 12 significant digits, so that equal runs have equal times and count as ties."""
    return float(f"{seconds:.12g}")


def _adjust_to_speed(spec: RunSpec, intervals: IntervalSeconds, speeds: Mapping[tuple[str, str], float]) -> list[float]:
    """Return the seconds of each interval as they would be in a typical session."""
    return [
        seconds / math.exp(speeds.get((spec.hardware, intervals.session(k)), 0.0))
        for k, seconds in enumerate(intervals.seconds)
    ]


def _by_interval(rows: Sequence[Sequence[float]], average: Callable[[Sequence[float]], float]) -> list[float]:
    """Return the average of each interval over the runs that have it."""
    longest = max(map(len, rows))
    return [average([row[k] for row in rows if k < len(row)]) for k in range(longest)]


def _median_excess(rows: Sequence[Sequence[float]], medians: Sequence[float]) -> float:
    """Return the median over runs of (total seconds / total of the medians of the same intervals) - 1."""
    ratios = []
    for row in rows:
        expected = math.fsum(medians[: len(row)])
        if expected > 0:
            ratios.append(math.fsum(row) / expected - 1)
    return statistics.median(ratios) if ratios else 0.0


def _session_speeds(
    measured: Sequence[tuple[RunSpec, IntervalSeconds]], is_reference: Mapping[Arm, bool]
) -> tuple[dict[tuple[str, str], float], frozenset[str]]:
    """Return the log speed of each session of each hardware class, and the sessions that nothing links to others."""
    samples: dict[str, dict[_Cell, dict[str, list[float]]]] = defaultdict(
        lambda: defaultdict(lambda: defaultdict(list))
    )
    for spec, intervals in measured:
        arm = arm_of(spec)
        for k, seconds in enumerate(intervals.seconds):
            if seconds > 0:
                samples[spec.hardware][arm, k][intervals.session(k)].append(math.log(seconds))
    speeds: dict[tuple[str, str], float] = {}
    unlinked: set[str] = set()
    for hardware, cells in samples.items():
        sessions = {session for by_session in cells.values() for session in by_session}
        if len(sessions) < 2:
            continue
        linking = {cell: by_session for cell, by_session in cells.items() if len(by_session) > 1}
        for session, speed in _solve_speeds(linking, is_reference).items():
            speeds[hardware, session] = speed
        unlinked |= {session for session in sessions if (hardware, session) not in speeds}
    return speeds, frozenset(unlinked)


def _solve_speeds(
    cells: Mapping[_Cell, Mapping[str, Sequence[float]]], is_reference: Mapping[Arm, bool]
) -> dict[str, float]:
    """Return the log speed of each session that shares an interval with another one.

    Alternates between the median of each interval over sessions and the median of each session over intervals (Tukey's
    median polish), until the speeds do not change.
    """
    medians = {
        cell: {session: statistics.median(logs) for session, logs in by_session.items()}
        for cell, by_session in cells.items()
    }
    of_session: dict[str, list[_Cell]] = defaultdict(list)
    for cell, by_session in medians.items():
        for session in by_session:
            of_session[session].append(cell)
    for session, shared in of_session.items():
        own = [cell for cell in shared if is_reference[cell[0]]]
        of_session[session] = own or shared
    speeds = dict.fromkeys(of_session, 0.0)
    for _ in range(_POLISH_ROUNDS):
        typical = {
            cell: statistics.median(value - speeds[session] for session, value in by_session.items())
            for cell, by_session in medians.items()
        }
        updated = {
            session: statistics.median(medians[cell][session] - typical[cell] for cell in shared)
            for session, shared in of_session.items()
        }
        # The typical session is the one of the median interval, so that most times stay as measured.
        weighted = (updated[session] for session, shared in of_session.items() for _ in shared)
        middle = statistics.median_low(weighted) if updated else 0.0
        updated = {session: speed - middle for session, speed in updated.items()}
        change = max((abs(updated[session] - speeds[session]) for session in speeds), default=0.0)
        speeds = updated
        if change < 1e-12:
            break
    return speeds
