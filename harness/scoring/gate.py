"""Computes the verdict of a gate from the records of its pairs, and forecasts the number of further pairs.

A gate compares two submissions A and B by pairs of short runs. Both runs of a pair have the same seed.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal

from harness.contract.record import Record
from harness.errors import BenchError, UsageError
from harness.scoring.final_metric import final_metric
from harness.scoring.gate_envelope import GateEnvelope
from harness.scoring.power_costs import run_cost
from harness.scoring.sequential.differences import mean_over_workloads, pair_log_multipliers
from harness.scoring.sequential.evidence import fewest_deciding_pairs
from harness.scoring.sequential.forecast import forecast_pairs
from harness.scoring.sequential.verdict import GateVerdict
from harness.scoring.sequential.workloads import WorkloadsVerdict, decide_workloads

Side = Literal["A", "B"]
#: Quantity that a gate compares. `examples`: the compute multiplier of A over B. `time`: the time multiplier, which is
#: (compute multiplier of A over B) / (A's cost per example / B's cost per example).
GateAxis = Literal["examples", "time"]
#: Smallest number of pairs for the outcome `identical`. In each pair, A and B must have equal final weights and equal
#: metrics.
IDENTICAL_PAIRS = 2
#: Text in the reason of a run that crashed because its submission was edited between planning and start.
EDITED = "was edited after its trials had been planned"
#: Smallest number of pairs after which a gate ends with an error because both runs of every pair broke down.
BROKEN_PAIRS = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class GateRun:
    """One run of a pair.

    Args:
        side: `A` or `B`.
        submission: name of the submission.
        workload: name of the workload.
        study: number of the pair, from which the seed is derived.
        metric: primary metric at the last evaluation; None if the run broke down.
        goal: direction of the metric, `min` or `max`.
        status: final status of the run.
        reason: reason for the status; for a run that broke down, the reason why it counts as broken down.
        weights: SHA-256 of the final weights; empty if unknown.
        constant: whether the metric was equal at all evaluations.
        seconds: wall seconds of all sessions of the run.
        cost: scored seconds per example, without the construction of the submission; None where unknown.
        run_id: run ID of the record.
    """

    side: Side
    submission: str
    workload: str
    study: int
    metric: float | None
    goal: str
    status: str
    reason: str
    weights: str
    constant: bool
    seconds: float
    cost: float | None = None
    run_id: str

    @property
    def broke(self) -> bool:
        """Whether the run broke down. Such a run has no metric to compare."""
        return self.metric is None


#: The runs of one seed: workload -> (run of A, run of B).
GatePair = Mapping[str, tuple[GateRun, GateRun]]


def judge_run(record: Record, side: Side) -> GateRun:
    """Extract the result of a gate's run from its record.

    A run counts as broken down in four cases:

    - It did not complete.
    - Its last metric is absent or not finite.
    - It did not reach the last stage of a stream.
    - Its metric is to be maximised and is not positive.

    Raises:
        BenchError: the run was interrupted.
        UsageError: the metric is to be minimised and is not positive, so it has no logarithm; or the run crashed
            because its code was edited, which must not count as a breakdown.
    """
    spec = record.spec
    facts, target = spec.workload.facts, spec.workload.facts.targets[0]
    if record.status == "interrupted":
        raise BenchError(f"{record.run_id} was interrupted", fix="repeat the command to continue")
    if record.status == "crashed" and EDITED in record.reason:
        raise UsageError(
            f"{record.run_id} crashed because its code was edited before the run started",
            fix="repeat the command with --retry-failed",
        )
    # Screened metrics vary by chance even if the metric on the whole split is constant, so they are left out.
    values = [point.metrics.get(target.metric, math.nan) for point in record.points if not point.screened]
    metric, reason = final_metric(record)
    if metric is not None and metric <= 0:
        if target.goal == "min":
            raise UsageError(
                f"{target.metric} on {facts.name} is {metric:g}; a gate compares logarithms of positive metrics",
                fix=f"choose workloads without {facts.name}",
            )
        metric, reason = None, f"{target.metric} is {metric:g}"
    return GateRun(
        side=side,
        submission=spec.submission.name,
        workload=facts.name,
        study=spec.study,
        metric=metric,
        goal=target.goal,
        status=record.status,
        reason=reason,
        weights=record.final_weights,
        constant=len(values) > 1 and len(set(values)) == 1,
        seconds=_wall_seconds(record),
        cost=_cost_per_example(record),
        run_id=record.run_id,
    )


def _cost_per_example(record: Record) -> float | None:
    if len(record.points) < 2:
        return None
    first, last, clock = record.points[0], record.points[-1], record.spec.clock
    seconds, examples = last.scored(clock) - first.scored(clock), last.cost - first.cost
    return seconds / examples if seconds > 0 and examples > 0 else None


def _wall_seconds(record: Record) -> float:
    """Return the wall seconds of all sessions of a run, without the time between them."""
    if record.ledger is not None:
        return run_cost(record).wall
    if record.started and record.finished:
        started, finished = datetime.fromisoformat(record.started), datetime.fromisoformat(record.finished)
        return (finished - started).total_seconds()
    return record.counters.seconds + record.usage.evaluation_seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class GateLook:
    """A look at a gate: the verdict on the pairs so far, with the values from which it was computed.

    Args:
        verdict: verdict over the workloads.
        differences: workload -> log of the compared multiplier of A over B for each pair (see `GateAxis`). Without
            envelopes, log metrics are compared instead of log budgets.
        broken: runs that broke down, in the order of the pairs.
        outside: number of runs whose metric is outside the envelope. Their multipliers are extrapolated.
        pairs_needed: forecast of the number of further pairs; 0 if no further pair can change the outcome, None if the
            number is unknown.
    """

    verdict: WorkloadsVerdict
    differences: Mapping[str, tuple[float, ...]]
    broken: tuple[GateRun, ...]
    outside: int
    pairs_needed: int | None

    @property
    def pairs(self) -> int:
        """Number of pairs so far."""
        return self.verdict.overall.pairs

    @property
    def is_over(self) -> bool:
        """Whether no further pair can change the outcome of the gate."""
        return self.verdict.overall.decided or self.pairs_needed == 0


def judge_pairs(
    pairs: Sequence[GatePair],
    envelopes: Mapping[str, GateEnvelope],
    *,
    alpha: float,
    min_effect: float,
    by: GateAxis = "examples",
) -> GateLook:
    """Compute the verdict after a number of pairs.

    With several workloads, the outcome `better` also requires a smallest number of pairs. With fewer pairs, no test
    could show that A is worse on one of the workloads.

    Args:
        pairs: pairs in the order of their seeds.
        envelopes: workload -> envelope. If a workload has no envelope, log metrics are compared on all workloads,
            because multipliers and metrics have no common unit.
        alpha: probability of a false outcome `better` or `worse`.
        min_effect: smallest effect that is relevant, as a log ratio.
        by: `examples` to compare compute multipliers, or `time` to compare time multipliers (see `GateAxis`).

    Raises:
        UsageError: there are no pairs, or both runs of each pair broke down on a workload (after `BROKEN_PAIRS` pairs).
            Also if, on a workload, no run changed the metric and A and B have equal metrics in each pair.
    """
    if not pairs:
        raise UsageError("there is no pair, so a gate has no verdict", fix="run at least one pair")
    names = list(pairs[0])
    _check_informative(pairs, names)
    used_envelopes = envelopes if all(name in envelopes for name in names) else {}
    differences = {name: _differences([pair[name] for pair in pairs], used_envelopes.get(name), by) for name in names}
    runs = [run for pair in pairs for two_runs in pair.values() for run in two_runs]
    # By time, runs with equal weights may still differ in their cost.
    identical = (
        len(pairs) >= IDENTICAL_PAIRS
        and not any(difference for row in differences.values() for difference in row)
        and all(
            a.weights and a.weights == b.weights and a.metric == b.metric for pair in pairs for a, b in pair.values()
        )
    )
    verdict = decide_workloads(differences, alpha=alpha, min_effect=min_effect, identical=identical)
    pairs_needed: int | None = 0
    if not verdict.overall.decided:
        pairs_needed = forecast_pairs(mean_over_workloads(differences), alpha=alpha, min_effect=min_effect)
    missing_pairs = fewest_deciding_pairs(alpha / len(names)) - len(pairs)
    if verdict.overall.outcome == "better" and missing_pairs > 0:
        # Holm's correction lowers the error level of a single workload. At that level, the pairs so far could not show
        # that A is worse on this workload.
        overall = replace(
            verdict.overall, outcome="undecided", note="too few pairs to test whether A is worse on a workload"
        )
        verdict, pairs_needed = replace(verdict, overall=overall), missing_pairs
    return GateLook(
        verdict=verdict,
        differences={name: tuple(values) for name, values in differences.items()},
        broken=tuple(run for run in runs if run.broke),
        outside=sum(_is_outside(run, used_envelopes) for run in runs),
        pairs_needed=pairs_needed,
    )


def look_without_pairs(workloads: Iterable[str], *, alpha: float, min_effect: float) -> GateLook:
    """Return the look at a gate without pairs, whose verdict is `undecided`. For the arguments, see `judge_pairs`."""
    verdict = GateVerdict(
        outcome="undecided",
        pairs=0,
        ties=0,
        broken_a=0,
        broken_b=0,
        estimate=math.nan,
        low=-math.inf,
        high=math.inf,
        e_better=1.0,
        e_worse=1.0,
        alpha=alpha,
        min_effect=min_effect,
    )
    names = list(workloads)
    return GateLook(
        verdict=WorkloadsVerdict(
            overall=verdict, workloads=dict.fromkeys(names, verdict), p_worse=dict.fromkeys(names, 1.0), worse=()
        ),
        differences=dict.fromkeys(names, ()),
        broken=(),
        outside=0,
        pairs_needed=None,
    )


def _differences(runs: Iterable[tuple[GateRun, GateRun]], envelope: GateEnvelope | None, by: GateAxis) -> list[float]:
    sides = list(zip(*runs, strict=True))
    a, b = (
        [_log_budget_or_metric(run, envelope) - (_log_cost(run) if by == "time" else 0.0) for run in side]
        for side in sides
    )
    return pair_log_multipliers(a, b)


def median_cost_ratio(pairs: Sequence[GatePair]) -> float | None:
    """Return the median over pairs of the cost ratio of a pair; None if the costs of every pair are unknown.

    The cost ratio of a pair is A's cost per example divided by B's cost per example. With several workloads, the cost
    ratio is the geometric mean over the workloads. Pairs in which a cost is unknown are left out.
    """
    logs = []
    for pair in pairs:
        costs = [(a.cost, b.cost) for a, b in pair.values()]
        if all(a is not None and b is not None for a, b in costs):
            logs.append(statistics.fmean(math.log(a / b) for a, b in costs if a is not None and b is not None))
    return math.exp(statistics.median(logs)) if logs else None


def _log_cost(run: GateRun) -> float:
    """Return the log of the cost per example; 0 for a run that broke down and has no cost."""
    if run.cost is None:
        if run.broke:
            return 0.0
        raise UsageError(f"{run.run_id} has no cost per example", fix="leave out --by time")
    return math.log(run.cost)


def _log_budget_or_metric(run: GateRun, envelope: GateEnvelope | None) -> float:
    """Return the log of the budget at which the reference reaches the run's metric; −inf for a run that broke down.

    A's value minus B's value is the log of the compute multiplier. Without an envelope, the result is the log of the
    metric, negated for a metric to be minimised. Higher values are therefore always better.
    """
    if run.metric is None:
        return -math.inf
    if envelope is not None:
        return envelope.log_budget(run.metric)
    return math.log(run.metric) if run.goal == "max" else -math.log(run.metric)


def _is_outside(run: GateRun, envelopes: Mapping[str, GateEnvelope]) -> bool:
    envelope = envelopes.get(run.workload)
    return envelope is not None and run.metric is not None and not envelope.covers(run.metric)


def _check_informative(pairs: Sequence[GatePair], names: Iterable[str]) -> None:
    """Raise a UsageError if the pairs say nothing about a workload (for the cases, see `judge_pairs`)."""
    for name in names:
        run_pairs = [pair[name] for pair in pairs]
        if all(a.constant and b.constant and a.metric == b.metric for a, b in run_pairs) and not any(
            run.broke for two_runs in run_pairs for run in two_runs
        ):
            raise UsageError(
                f"the metric on {name} is constant in every run and equal in both runs of each pair, so A and B do not "
                "differ",
                fix=f"leave {name} out of -w, or correct its evaluation",
            )
        if len(run_pairs) >= BROKEN_PAIRS and all(a.broke and b.broke for a, b in run_pairs):
            a, b = run_pairs[-1]
            raise UsageError(
                f"A and B both broke down on {name} in all {len(pairs)} pairs (A: {a.reason}; B: {b.reason})",
                fix=f"read the logs of runs {a.run_id} and {b.run_id}, or leave {name} out of -w",
            )
