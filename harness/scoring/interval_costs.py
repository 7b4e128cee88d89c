"""Estimates the cost in seconds of each interval between two evaluations.

The time to the target is the number of examples × the cost per example. The number of examples is a property of the
method and varies with the seed. The cost is a property of the method and the machine. A single measurement of the cost
also contains disturbances by other processes of the machine. The cost of an interval is therefore the median over all
runs of a submission with the same setting. The scored time of a run is the cost of the submission's construction plus
the costs of all intervals up to the hit.

The costs have an error, and the scored times of all runs of a submission contain the same error. Paired tests need
independent errors. These tests therefore use a run's own time: the scored time × the slowness of the run. The slowness
is the median of (seconds / cost) over the intervals of the run, where the seconds are divided by the slowdown of their
session. A short disturbance of the machine does not change this median. If the costs are means, the own time is instead
the sum of the divided seconds.

Source: Exploratory Data Analysis, Tukey 1977, chapter 11 (median polish)
"""

from __future__ import annotations

import math
import statistics
from array import array
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol, TypeAlias

from harness.contract.run import RunSpec
from harness.scoring.time_to_target import IntervalSeconds

#: Threshold for costs that depend on the seed. An arm is a set of runs with the same costs (see `Arm`). The excess of a
#: run is (its total seconds / total of the median costs of the same intervals) - 1. The excess of an arm is the median
#: over its runs. If it exceeds the reference's excess by more than this threshold, the costs of the arm are means
#: instead of medians, because different intervals are expensive in different runs.
SEED_DEPENDENT_EXCESS = 0.05
#: Maximum number of rounds of the median polish. It usually converges in two or three rounds.
_POLISH_ROUNDS = 20
#: Smallest number of runs with which the costs of an arm can be found to depend on the seed.
_MIN_RUNS = 5


class Arm(NamedTuple):
    """Key of an arm, a set of runs with the same costs.

    Args:
        submission: `name@version` of the submission.
        code_identity: hash of the submission's code (see `SubmissionRef.code_identity`).
        workload: `name@version` of the workload.
        hardware: hardware class.
        ranks: number of ranks, the training processes of a run on several devices.
        setting: names and values of the hyperparameters, sorted by name.
    """

    submission: str
    code_identity: str
    workload: str
    hardware: str
    ranks: int
    setting: tuple[tuple[str, str], ...]


#: Arm and index of an interval. Index 0 is the construction of the submission; index k is the interval that ends at
#: evaluation k.
_ArmInterval: TypeAlias = tuple[Arm, int]


class CostedRun(Protocol):
    """A run with the seconds of its intervals."""

    @property
    def spec(self) -> RunSpec: ...
    @property
    def intervals(self) -> IntervalSeconds | None: ...


def arm_of(spec: RunSpec) -> Arm:
    """Return the key of the arm that contains a run."""
    ref, facts = spec.submission, spec.workload.facts
    setting = tuple(sorted(zip(spec.hparams, map(str, spec.hparams.values()), strict=True)))
    return Arm(ref.id, ref.code_identity, facts.id, spec.hardware, spec.ranks, setting)


@dataclass(frozen=True, slots=True, kw_only=True)
class CostModel:
    """The costs of intervals in scored seconds.

    Args:
        costs: arm -> costs of its intervals. Index 0 is the construction, and index k is interval k.
        runs: arm -> number of runs from which its costs are estimated.
        by_mean: arms whose costs are means over runs, because the seed determines which intervals are expensive.
        slowdowns: (hardware class, session) -> log of (seconds in the session / seconds in a typical session).
        unlinked: sessions that share a workload with another session, but no arm. Their slowdown is unknown, so their
            seconds are not adjusted.
        sessions: number of sessions.
    """

    costs: Mapping[Arm, array[float]]
    runs: Mapping[Arm, int]
    by_mean: frozenset[Arm] = frozenset()
    slowdowns: Mapping[tuple[str, str], float] = field(default_factory=dict)
    unlinked: frozenset[str] = frozenset()
    sessions: int = 0
    # The results of `time_to`. Many runs of an arm end at the same evaluation.
    _times: dict[Arm, dict[int, float | None]] = field(
        default_factory=lambda: defaultdict(dict), init=False, repr=False, compare=False
    )

    def time_to(self, arm: Arm, index: int) -> float | None:
        """Return the cost in seconds from the start to evaluation `index`; None if a cost up to `index` is unknown."""
        times = self._times[arm]
        if index not in times:
            costs = self.costs.get(arm, ())
            times[index] = _round_to_12_digits(math.fsum(costs[: index + 1])) if index < len(costs) else None
        return times[index]

    def own_times_to(self, arm: Arm, intervals: IntervalSeconds, indices: Sequence[int]) -> tuple[float | None, ...]:
        """Return the seconds of one run from its start to each of the given evaluations, for paired tests.

        First, the measured seconds are divided by the slowdown of their session. The result is then the cost up to the
        evaluation × the slowness of the run. For arms in `by_mean`, it is the sum of the divided seconds. The result is
        None for an evaluation if the cost of an interval up to it is unknown.
        """
        times = [self.time_to(arm, index) for index in indices]
        adjusted = _adjust_to_session(arm.hardware, intervals, self.slowdowns)
        if arm in self.by_mean:
            totals = [math.fsum(adjusted[: index + 1]) for index in indices]
        else:
            slowness = _slowness(adjusted, self.costs.get(arm, ()))
            totals = [(time or 0.0) * slowness for time in times]
        return tuple(
            None if time is None else _round_to_12_digits(total) for time, total in zip(times, totals, strict=True)
        )


def fit_costs(
    runs: Iterable[CostedRun], references: Collection[str] = (), arms: Iterable[Arm] | None = None
) -> CostModel:
    """Estimate the costs of all intervals of a table.

    1. The seconds of each session are divided by the slowdown of the session. The slowdown compares the median seconds
       of intervals in the session with their median seconds in all sessions, for all arms that ran in this session and
       in others (ADR 31).
    2. The cost of interval k of an arm is the median of interval k over its runs, or the mean if the costs depend on
       the seed (see `SEED_DEPENDENT_EXCESS`). Interval k is compared only with interval k of other runs. The cost
       therefore contains periodic work, such as the update of a preconditioner in every tenth interval.

    Args:
        runs: runs of one ruleset; runs without interval seconds are ignored.
        references: names of the submissions that count as the reference.
        arms: the arm of each run; None to find it with `arm_of`.
    """
    measured: dict[Arm, list[IntervalSeconds]] = defaultdict(list)
    is_reference: dict[Arm, bool] = {}
    runs = list(runs)
    for run, arm in zip(runs, (arm_of(run.spec) for run in runs) if arms is None else arms, strict=True):
        if run.intervals is not None:
            measured[arm].append(run.intervals)
            is_reference.setdefault(arm, run.spec.submission.name in references)
    sessions_of = _sessions_by_workload(measured)
    slowdowns, unlinked = _find_slowdowns(measured, sessions_of)
    adjusted = {
        arm: [_adjust_to_session(arm.hardware, intervals, slowdowns) for intervals in runs_of_arm]
        for arm, runs_of_arm in measured.items()
    }
    costs = {arm: _by_interval(rows, statistics.median) for arm, rows in adjusted.items()}
    # An arm with one run is left out. Its excess is 0, because each median is the measurement itself.
    excess = {arm: _median_excess(rows, costs[arm]) for arm, rows in adjusted.items() if len(rows) > 1}
    noise = max((excess.get(arm, 0.0) for arm in adjusted if is_reference[arm]), default=0.0)
    by_mean = frozenset(
        arm
        for arm, value in excess.items()
        if len(adjusted[arm]) >= _MIN_RUNS and not is_reference[arm] and value - noise > SEED_DEPENDENT_EXCESS
    )
    return CostModel(
        costs=costs | {arm: _by_interval(adjusted[arm], statistics.fmean) for arm in by_mean},
        runs={arm: len(rows) for arm, rows in adjusted.items()},
        by_mean=by_mean,
        slowdowns=slowdowns,
        unlinked=unlinked,
        sessions=len({session for sessions in sessions_of.values() for session in sessions}),
    )


def _round_to_12_digits(seconds: float) -> float:
    """Return seconds rounded to 12 significant digits. Equal runs then have equal times and count as ties."""
    return float(f"{seconds:.12g}")


def _slowness(seconds: Sequence[float], costs: Sequence[float]) -> float:
    """Return the median of (seconds / cost) over intervals; 1 if there is no interval with a cost.

    Args:
        seconds: seconds of the run's intervals, divided by the slowdown of their session.
        costs: costs of the same intervals.
    """
    if seconds is costs or seconds == costs:  # The only run of its arm. Each ratio is exactly 1.
        return 1.0
    ratios = [own / cost for own, cost in zip(seconds, costs, strict=False) if own > 0 and cost > 0]
    return math.exp(_median_log(ratios)) if ratios else 1.0


def _median_log(ratios: Sequence[float]) -> float:
    """Return the median of the logs of positive ratios. Only the middle ratios are needed, since log is monotone."""
    ordered, half = sorted(ratios), len(ratios) // 2
    return statistics.median(map(math.log, ordered[half - (len(ordered) % 2 == 0) : half + 1]))


def _adjust_to_session(
    hardware: str, intervals: IntervalSeconds, slowdowns: Mapping[tuple[str, str], float]
) -> array[float]:
    """Return the seconds of each interval as they would be in a typical session."""
    if not slowdowns:
        return intervals.seconds
    divisors = {
        session: math.exp(slowdowns[hardware, session])
        for _, session in intervals.sessions
        if (hardware, session) in slowdowns
    }
    if not divisors:
        return intervals.seconds
    names = intervals.session_names()
    return array("d", [s / divisors.get(name, 1.0) for s, name in zip(intervals.seconds, names, strict=True)])


def _by_interval(rows: Sequence[array[float]], average: Callable[[Sequence[float]], float]) -> array[float]:
    """Return the average of each interval over the runs that contain this interval."""
    if len(rows) == 1:
        return rows[0]
    longest = max(map(len, rows))
    return array("d", [average([row[k] for row in rows if k < len(row)]) for k in range(longest)])


def _median_excess(rows: Sequence[Sequence[float]], medians: Sequence[float]) -> float:
    """Return the median over runs of (total seconds / total of the medians of the same intervals) - 1.

    Args:
        rows: seconds of each interval, one list for each run.
        medians: median of each interval over the runs.
    """
    ratios = []
    for row in rows:
        expected = math.fsum(medians[: len(row)])
        if expected > 0:
            ratios.append(math.fsum(row) / expected - 1)
    return statistics.median(ratios) if ratios else 0.0


def _sessions_by_workload(measured: Mapping[Arm, Sequence[IntervalSeconds]]) -> dict[tuple[str, str], set[str]]:
    """Return (hardware class, workload) -> sessions."""
    sessions_of: dict[tuple[str, str], set[str]] = defaultdict(set)
    for arm, runs in measured.items():
        for intervals in runs:
            sessions_of[arm.hardware, arm.workload] |= _positive_sessions(intervals)
    return sessions_of


def _find_slowdowns(
    measured: Mapping[Arm, Sequence[IntervalSeconds]], sessions_of: Mapping[tuple[str, str], set[str]]
) -> tuple[dict[tuple[str, str], float], frozenset[str]]:
    """Return (hardware class, session) -> log slowdown, and the sessions whose slowdown is unknown.

    The slowdown of a session is needed only if one of its workloads was also measured in another session.
    """
    shared_of: dict[str, dict[_ArmInterval, dict[str, list[float]]]] = defaultdict(dict)
    for arm, runs in measured.items():
        # An arm with a single session says nothing about the slowdown of a session relative to others.
        if len({name for intervals in runs for name in _positive_sessions(intervals)}) > 1:
            shared_of[arm.hardware] |= _shared_intervals(arm, runs)
    slowdowns = {
        (hardware, session): value
        for hardware, shared in shared_of.items()
        for session, value in _polish_slowdowns(shared).items()
    }
    unlinked = {
        session
        for (hardware, _), sessions in sessions_of.items()
        if len(sessions) > 1
        for session in sessions
        if (hardware, session) not in slowdowns
    }
    return slowdowns, frozenset(unlinked)


def _positive_sessions(intervals: IntervalSeconds) -> set[str]:
    """Return the ids of the sessions in which an interval of more than 0 seconds was measured."""
    if len(intervals.sessions) == 1 and intervals.sessions[0][0] <= 0 and min(intervals.seconds, default=0.0) > 0:
        return {intervals.sessions[0][1]}
    return {name for name, seconds in zip(intervals.session_names(), intervals.seconds, strict=True) if seconds > 0}


def _shared_intervals(arm: Arm, runs: Iterable[IntervalSeconds]) -> dict[_ArmInterval, dict[str, list[float]]]:
    """Return interval -> session -> logs of the seconds, for intervals that were measured in several sessions."""
    logs_of: dict[_ArmInterval, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for intervals in runs:
        for k, (seconds, session) in enumerate(zip(intervals.seconds, intervals.session_names(), strict=True)):
            if seconds > 0:
                logs_of[arm, k][session].append(math.log(seconds))
    return {interval: by_session for interval, by_session in logs_of.items() if len(by_session) > 1}


def _polish_slowdowns(logs_of: Mapping[_ArmInterval, Mapping[str, Sequence[float]]]) -> dict[str, float]:
    """Return the log slowdown of each session that shares an arm and an interval with another session.

    The slowdowns are computed by Tukey's median polish. Each round computes the median of each interval over sessions,
    and then the median of each session over intervals. The rounds end when no slowdown changes any more.
    """
    medians = {
        interval: {session: statistics.median(logs) for session, logs in by_session.items()}
        for interval, by_session in logs_of.items()
    }
    intervals_of: dict[str, list[_ArmInterval]] = defaultdict(list)
    for interval, by_session in medians.items():
        for session in by_session:
            intervals_of[session].append(interval)
    slowdowns = dict.fromkeys(intervals_of, 0.0)
    for _ in range(_POLISH_ROUNDS):
        typical = {
            interval: statistics.median(value - slowdowns[session] for session, value in by_session.items())
            for interval, by_session in medians.items()
        }
        updated = {
            session: statistics.median(medians[interval][session] - typical[interval] for interval in shared)
            for session, shared in intervals_of.items()
        }
        # The typical session has the median slowdown, weighted by the number of intervals of each session. This choice
        # leaves most times unchanged.
        weighted = (updated[session] for session, shared in intervals_of.items() for _ in shared)
        middle = statistics.median_low(weighted) if updated else 0.0
        updated = {session: value - middle for session, value in updated.items()}
        change = max((abs(updated[session] - slowdowns[session]) for session in slowdowns), default=0.0)
        slowdowns = updated
        if change < 1e-12:
            break
    return slowdowns
