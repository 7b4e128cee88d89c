"""Test the results that records state by runs on fresh seeds. The test may be evaluated after every run.

A stated result is one of these:

* for runs to a target: the cost at which the runs reach the target
* for runs to a stop (a fixed number of examples): the metric at the stop

In this module, a cost is a number of examples or gradient-examples, whichever is larger (`Point.cost`).

Each run on a fresh seed has a difference: log(stated cost / cost of the run). The difference is negative if the
cost of the run is larger. A test judges the centre of the differences:

* The stated result is accepted when the test shows that the centre is above −log(1.1): the cost of runs on fresh seeds
  is less than 10 % above the stated cost.
* The stated result is refuted when the test shows that the centre is below −log(1.1).
* Until then, the outcome is undecided.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Final

import msgspec

from harness.contract.attestation import AttestationOutcome
from harness.contract.record import Record, is_complete
from harness.contract.run import Nonce, Point, RunSpec
from harness.contract.workload import Target
from harness.errors import UsageError
from harness.hardware import detect
from harness.planning.seeds import with_seeds
from harness.scoring.sequential.differences import mean_over_workloads
from harness.scoring.sequential.verdict import decide
from harness.scoring.stats import hodges_lehmann

#: Log of the largest factor by which runs on fresh seeds may be slower than an accepted result states.
TOLERANCE: Final = math.log(1.1)
#: Difference of a run that missed the target, diverged or failed.
MISS: Final = -math.inf


@dataclass(frozen=True, kw_only=True)
class StatedResult:
    """The result that records of one submission, one workload and equal settings state together.

    Args:
        records: the records; at least one.
    """

    records: tuple[Record, ...]

    @property
    def spec(self) -> RunSpec:
        """The specification of the first record."""
        return self.records[0].spec

    @property
    def workload(self) -> str:
        """`name@version` of the workload."""
        return self.spec.workload.facts.id

    @property
    def problem(self) -> str:
        """Why runs on fresh seeds cannot be compared with the stated result; empty if they can be compared."""
        record = self.records[0]
        if self.spec.stop is not None:
            if self.spec.workload.facts.stages:
                return "a run on a stream that ends at a stop can only be repeated exactly"
            if not is_complete(record.status):
                return f"the run is {record.status}"
            if (count := len(_whole_points(record))) < 2:
                return f"{count} of its evaluations after the start used the whole split, but a curve needs at least 2"
            return ""
        if math.isinf(self._log_cost()):
            return "the records state that the target was missed, so there is no result to verify"
        return ""

    def difference(self, fresh: Record) -> float:
        """Return the difference of a run on a fresh seed: positive if the run is better than the stated result.

        For runs to a target, it is log(stated cost / cost of the fresh run).

        Runs to a stop all have the same cost. Their final metrics are therefore converted to costs. The cost for a
        metric is the cost at which the first record's curve reaches this metric for the first time. If the curve never
        reaches the metric, the cost at the stop is used. The difference is
        log(cost for the fresh metric / cost for the stated metric).
        """
        if self.spec.stop is None:
            return self._log_cost() - math.log(fresh.points[fresh.hit].cost) if fresh.hit is not None else MISS
        if not is_complete(fresh.status):
            return MISS
        target, curve = self.spec.workload.facts.targets[0], _whole_points(self.records[0])
        fresh_metric, stated_metric = (run.points[-1].metrics[target.metric] for run in (fresh, self.records[0]))
        return _log_share_of_stop(curve, target, fresh_metric) - _log_share_of_stop(curve, target, stated_metric)

    def _log_cost(self) -> float:
        return median(
            math.log(record.points[record.hit].cost) if record.hit is not None else math.inf for record in self.records
        )

    def fresh_spec(self, nonce: Nonce, study: int, redrawing: Collection[str]) -> RunSpec:
        """Return the specification of a run on a fresh seed. A workload in `redrawing` also gets new held-out data.

        Args:
            nonce: the number from which all seeds are derived.
            study: index of the seed.
            redrawing: `name@version` of the workloads that draw their held-out data afresh.
        """
        spec = self.spec
        return with_seeds(
            msgspec.structs.replace(
                spec,
                nonce=nonce,
                root_seed=0,
                study=study,
                trial=0,
                purpose="rerun",
                hardware=detect.hardware_class(spec.device, spec.threads, spec.ranks),
            ),
            redraws_held_out=self.workload in redrawing,
        )


def _whole_points(record: Record) -> list[Point]:
    """Return the points whose evaluation used the whole split, without the point of the untrained model."""
    target = record.spec.workload.facts.targets[0]
    return [point for point in record.points if not point.screened and target.metric in point.metrics and point.cost]


def _log_share_of_stop(points: Sequence[Point], target: Target, value: float) -> float:
    """Return log(cost at which a curve first reaches a value / last cost of the curve).

    Between two points that each improve on all earlier points, log cost is interpolated linearly in the metric.
    """
    last = points[-1]
    best = None
    for point in points:
        metric = point.metrics[target.metric]
        if best is not None and not target.better(metric, best.metrics[target.metric]):
            continue
        if not target.better(value, metric):
            if best is None:
                break
            before = best.metrics[target.metric]
            share = (value - before) / (metric - before)
            log_cost = math.log(best.cost) + share * (math.log(point.cost) - math.log(best.cost))
            return min(0.0, log_cost - math.log(last.cost))
        best = point
    return 0.0 if best is not None else math.log(points[0].cost) - math.log(last.cost)


@dataclass(frozen=True, kw_only=True)
class FreshVerdict:
    """The outcome of runs on fresh seeds.

    Args:
        outcome: `accepted`, `refuted` or `undecided`.
        estimate: Hodges-Lehmann estimate of the centre of the differences; −inf if many runs missed.
        differences: workload -> difference of each seed.
    """

    outcome: AttestationOutcome
    estimate: float
    differences: Mapping[str, tuple[float, ...]]

    def detail(self) -> str:
        """Return the outcome in one line."""
        seeds = len(next(iter(self.differences.values())))
        workloads = ", ".join(
            f"{_ratio(hodges_lehmann(values))} the stated examples on {workload}"
            for workload, values in sorted(self.differences.items())
        )
        meaning = {
            "accepted": "fresh seeds are slower by less than 10 %, or not slower",
            "refuted": "fresh seeds are slower by more than 10 %",
            "undecided": "there were too few runs to decide whether fresh seeds are slower by more than 10 %",
        }[self.outcome]
        return f"{meaning}: {seeds} seeds need {workloads}"


def _ratio(difference: float) -> str:
    return "infinitely many times" if difference == MISS else f"{math.exp(-difference):.2f} times"


def judge_differences(differences: Mapping[str, Sequence[float]]) -> FreshVerdict:
    """Return the verdict on the stated results after some seeds.

    With several workloads, the differences of each seed are averaged over the workloads, and the means are tested. In
    addition, the stated results are accepted only if the estimate on every single workload is within the tolerance.

    Args:
        differences: workload -> difference of each seed. All workloads have the same order of seeds.
    """
    means = mean_over_workloads(differences)
    outcome: AttestationOutcome = "undecided"
    verdict = decide([value + TOLERANCE for value in means], min_effect=0.0)
    slow = [workload for workload, values in differences.items() if hodges_lehmann(values) < -TOLERANCE]
    if verdict.outcome == "better" and not slow:
        outcome = "accepted"
    elif verdict.outcome == "worse":
        outcome = "refuted"
    return FreshVerdict(
        outcome=outcome,
        estimate=hodges_lehmann(means),
        differences={workload: tuple(values) for workload, values in differences.items()},
    )


def group_results(records: Sequence[Record]) -> list[StatedResult]:
    """Return one stated result for each workload: that of the most frequent setting.

    Results that cannot be tested are left out.
    """
    by_workload: dict[str, dict[bytes, list[Record]]] = {}
    for record in records:
        spec = record.spec
        key = msgspec.json.encode((spec.hparams, spec.stop, spec.ruleset.name), order="sorted")
        by_workload.setdefault(spec.workload.facts.id, {}).setdefault(key, []).append(record)
    stated_results = []
    for _, groups in sorted(by_workload.items()):
        largest = max(groups.values(), key=lambda group: len(group))
        stated_results.append(StatedResult(records=tuple(largest)))
    return [stated for stated in stated_results if not stated.problem]


def draw_results(stated_results: Sequence[StatedResult], nonce: Nonce, count: int) -> list[StatedResult]:
    """Return at most `count` of the stated results.

    The nonce determines which, so nobody can know the choice in advance.

    Raises:
        UsageError: there is no stated result.
    """
    if not stated_results:
        raise UsageError("no record states a result that fresh seeds could verify", fix="run trials with bench run")

    def order_key(stated: StatedResult) -> bytes:
        text = f"{stated.spec.submission.source_hash}/{stated.workload}"
        return hashlib.sha256(bytes.fromhex(nonce.value) + text.encode()).digest()

    return sorted(stated_results, key=order_key)[:count]
