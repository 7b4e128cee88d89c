"""From the runs of paired seeds to a gate's verdict: what each pair says, which runs broke, how many more it takes."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal

from harness.contract.record import Record, is_complete
from harness.errors import BenchError, UsageError
from harness.scoring.gate_envelope import GateEnvelope
from harness.scoring.sequential.differences import mean_over_workloads, pair_log_multipliers
from harness.scoring.sequential.evidence import fewest_deciding_pairs
from harness.scoring.sequential.forecast import forecast_pairs
from harness.scoring.sequential.workloads import WorkloadsVerdict, decide_workloads

Side = Literal["A", "B"]
#: Pairs with equal weights that make two submissions identical: one could be a run that never left its start.
IDENTICAL_PAIRS = 2
#: What the reason of a run says whose submission was edited between planning and start.
EDITED = "was edited after its trials had been planned"
#: Pairs after which it is an error that both sides broke every time.
BROKEN_PAIRS = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class GateRun:
    """One run of a pair.

    Args:
        side: `A` or `B`.
        submission: its name.
        workload: its name.
        study: number of the seed.
        metric: of the weights at the end; None where the run broke.
        goal: which side of the metric is good.
        status, reason: how the run ended; for a broken one why it counts as such.
        weights: SHA-256 of the final weights, or an empty string.
        constant: whether the metric was the same at every evaluation.
        seconds: wall seconds from start to end.
        run_id: the run.
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
    run_id: str

    @property
    def broke(self) -> bool:
        """Whether it has no metric to compare."""
        return self.metric is None


#: One seed: by workload the run of A and the run of B.
GatePair = Mapping[str, tuple[GateRun, GateRun]]


def judge_run(record: Record, side: Side) -> GateRun:
    """What a gate takes from a record.

    Raises:
        BenchError: the run was interrupted.
        UsageError: a metric to be minimised that is not positive: its logarithm does not exist; or a run that broke
            because its submission was edited, which is not its owner's fault.
    """
    spec = record.spec
    facts, target = spec.workload.facts, spec.workload.facts.targets[0]
    if record.status == "interrupted":
        raise BenchError(f"{record.run_id} was interrupted", fix="give the same command again to go on")
    if record.status == "crashed" and EDITED in record.reason:
        raise UsageError(
            f"{record.run_id} broke because {spec.submission.name} was edited while it started",
            fix="--retry-failed runs it again",
        )
    # A screened metric differs from that of the whole split by chance, so it says nothing about a constant metric.
    values = [point.metrics.get(target.metric, math.nan) for point in record.points if not point.screened]
    metric, reason = values[-1] if values else math.nan, record.reason
    broke = not is_complete(record.status) or not math.isfinite(metric)
    if not broke and facts.stages and record.points[-1].stage + 1 < len(facts.stages):
        broke, reason = True, f"ended in stage {record.points[-1].stage + 1} of {len(facts.stages)}: {reason}"
    if not broke and metric <= 0:
        if target.goal == "min":
            raise UsageError(
                f"{target.metric} on {facts.name} is {metric:g}; a gate compares logarithms of positive metrics",
                fix="gate on a workload whose metric is positive",
            )
        broke, reason = True, f"{target.metric} is {metric:g}"
    return GateRun(
        side=side,
        submission=spec.submission.name,
        workload=facts.name,
        study=spec.study,
        metric=None if broke else metric,
        goal=target.goal,
        status=record.status,
        reason=reason,
        weights=record.final_weights,
        constant=len(values) > 1 and len(set(values)) == 1,
        seconds=_wall_seconds(record),
        run_id=record.run_id,
    )


def _wall_seconds(record: Record) -> float:
    if record.started and record.finished:
        began, ended = datetime.fromisoformat(record.started), datetime.fromisoformat(record.finished)
        return (ended - began).total_seconds()
    return record.counters.seconds + record.usage.evaluation_seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class GateLook:
    """What the pairs so far say.

    Args:
        verdict: over the workloads.
        differences: workload -> one per pair.
        broken: the runs that broke, in the order of the pairs.
        outside: runs whose metric lies outside the envelope, so that their multiplier is extrapolated.
        pairs_needed: further pairs by the present estimate and spread; 0 where the gate is over, None for unknown.
    """

    verdict: WorkloadsVerdict
    differences: Mapping[str, tuple[float, ...]]
    broken: tuple[GateRun, ...]
    outside: int
    pairs_needed: int | None

    @property
    def pairs(self) -> int:
        """Pairs seen."""
        return self.verdict.overall.pairs

    @property
    def over(self) -> bool:
        """Whether no further pair can change how the gate ends."""
        return self.verdict.overall.decided or self.pairs_needed == 0


def judge_pairs(
    pairs: Sequence[GatePair], envelopes: Mapping[str, GateEnvelope], *, alpha: float, min_effect: float
) -> GateLook:
    """The verdict after these pairs.

    Args:
        pairs: in the order of their seeds.
        envelopes: by workload; where there is none for some workload, log metrics are compared on all of them, since
            multipliers and metrics have no common mean.
        alpha: error of `better` and `worse` together.
        min_effect: log ratio from which an effect counts.

    Over several workloads `better` waits until there are pairs enough to show that one of them is worse.

    Raises:
        UsageError: no pairs, a metric that never changes, or a workload on which both sides broke every time.
    """
    if not pairs:
        raise UsageError("no pair to decide from", fix="run at least one pair")
    names = list(pairs[0])
    _check_informative(pairs, names)
    usable = envelopes if all(name in envelopes for name in names) else {}
    differences = {name: _differences([pair[name] for pair in pairs], usable.get(name)) for name in names}
    runs = [run for pair in pairs for both in pair.values() for run in both]
    identical = len(pairs) >= IDENTICAL_PAIRS and all(
        a.weights and a.weights == b.weights and a.metric == b.metric for pair in pairs for a, b in pair.values()
    )
    verdict = decide_workloads(differences, alpha=alpha, min_effect=min_effect, identical=identical)
    needed: int | None = 0
    if not verdict.overall.decided:
        needed = forecast_pairs(mean_over_workloads(differences), alpha=alpha, min_effect=min_effect)
    missing = fewest_deciding_pairs(alpha / len(names)) - len(pairs)
    if verdict.overall.outcome == "better" and missing > 0:
        # So few pairs could not have shown after Holm that a workload is worse.
        overall = replace(verdict.overall, outcome="undecided", note="too few pairs to see whether a workload is worse")
        verdict, needed = replace(verdict, overall=overall), missing
    return GateLook(
        verdict=verdict,
        differences={name: tuple(values) for name, values in differences.items()},
        broken=tuple(run for run in runs if run.broke),
        outside=sum(_is_outside(run, usable) for run in runs),
        pairs_needed=needed,
    )


def _differences(runs: Iterable[tuple[GateRun, GateRun]], envelope: GateEnvelope | None) -> list[float]:
    sides = list(zip(*runs, strict=True))
    a, b = ([_log_multiplier(run, envelope) for run in side] for side in sides)
    return pair_log_multipliers(a, b)


def _log_multiplier(run: GateRun, envelope: GateEnvelope | None) -> float:
    """Up to a constant of the workload, which the difference cancels; −inf for a run that broke."""
    if run.metric is None:
        return -math.inf
    if envelope is not None:
        return envelope.log_budget(run.metric)
    return math.log(run.metric) if run.goal == "max" else -math.log(run.metric)


def _is_outside(run: GateRun, envelopes: Mapping[str, GateEnvelope]) -> bool:
    envelope = envelopes.get(run.workload)
    return envelope is not None and run.metric is not None and not envelope.covers(run.metric)


def _check_informative(pairs: Sequence[GatePair], names: Iterable[str]) -> None:
    for name in names:
        both = [pair[name] for pair in pairs]
        if all(a.constant and b.constant and a.metric == b.metric for a, b in both) and not any(
            run.broke for a_b in both for run in a_b
        ):
            raise UsageError(
                f"the metric on {name} is {both[0][0].metric:g} at every evaluation of every run, so nothing differs",
                fix=f"leave {name} out of -w, or correct its evaluation",
            )
        if len(both) >= BROKEN_PAIRS and all(a.broke and b.broke for a, b in both):
            a, b = both[-1]
            raise UsageError(
                f"A and B both broke on {name} in all {len(both)} pairs (A: {a.reason}; B: {b.reason})",
                fix=f"leave {name} out of -w, or find out why: runs {a.run_id} and {b.run_id}",
            )
