"""The envelope of a gate, which converts a metric to the budget at which the reference reaches that metric.

A gate compares two submissions A and B by pairs of runs. The compute multiplier of a pair is (reference's budget for
A's metric) / (reference's budget for B's metric).
"""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from collections.abc import Sequence
from itertools import pairwise

from harness.contract.envelope import EnvelopeHeader, ReferenceEnvelope
from harness.contract.record import Record
from harness.errors import UsageError
from harness.scoring.final_metric import final_metric, final_metric_name
from harness.scoring.knots import fit_knots

#: `HORIZON_MULTIPLES`: horizons of the reference as multiples of the gate budget. `SEEDS`: number of seeds at each
#: horizon.
HORIZON_MULTIPLES, SEEDS = (0.25, 0.5, 1.0, 2.0), 3


class GateEnvelope(EnvelopeHeader, frozen=True, kw_only=True):
    """The final metric of the reference as a function of its horizon, as stored in a file.

    `budget` is the gate budget; the horizons are multiples of it.

    Args:
        provisional: whether the envelope is provisional. A provisional envelope is fitted to runs with few horizons and
            seeds and with the reference's default setting. It can be replaced without a new version of the workload.
        horizons: horizons in examples, increasing.
        values: geometric mean over seeds of the metric at the end of each horizon.
        spreads: standard deviation over seeds of the log metric at each horizon; 0 for a single seed.
        runs: run IDs of all runs of the reference.
    """

    provisional: bool = True
    horizons: tuple[int, ...]
    values: tuple[float, ...]
    spreads: tuple[float, ...]
    runs: tuple[str, ...]

    def __post_init__(self) -> None:
        if not len(self.horizons) == len(self.values) == len(self.spreads) > 0:
            raise ValueError("horizons, values and spreads differ in length or are empty")
        if not all(0 < number < math.inf for number in (*self.horizons, *self.values)):
            raise ValueError("a horizon or value is not a positive number")
        if not all(shorter < longer for shorter, longer in pairwise(self.horizons)):
            raise ValueError("the horizons do not increase")

    def knots(self) -> list[tuple[float, float]]:
        """Return the knots: pairs (log metric, log budget) between which the envelope is linear.

        The log metrics are fitted by isotonic regression, so that a larger budget never has a worse metric. Horizons
        with equal fitted metrics are merged into one knot. Its log budget is the mean of their log budgets.
        """
        logs = [math.log(value) for value in self.values]
        knots = fit_knots(logs, [math.log(horizon) for horizon in self.horizons], self.goal)
        return [(knot.log_metric, knot.log_budget) for knot in knots]

    def log_budget(self, metric: float) -> float:
        """Return the log of the budget in examples at which the reference reaches a metric.

        Between two knots, the log budget is interpolated linearly in the log of the metric. Beyond the first and the
        last knot, it is extrapolated with the mean slope of the whole envelope. The slope of only the last segment
        would be less precise, because it depends on only two horizons.

        Raises:
            UsageError: the metric is not positive, or a larger budget does not improve the reference's metric.

        >>> curve = GateEnvelope(workload="w@1", metric="loss", goal="min", budget=100, reference="r@1", hardware="h",
        ...     torch="", horizons=(50, 100), values=(2.0, 1.0), spreads=(0.0, 0.0), runs=())
        >>> [round(math.exp(curve.log_budget(loss))) for loss in (2.0, 1.0, 0.5)]
        [50, 100, 200]
        """
        if not metric > 0:
            raise UsageError(
                f"{self.metric} is {metric!r}, but only a positive metric has a logarithm",
                fix="choose a workload with a positive metric",
            )
        knots = self.knots()
        if len(knots) < 2:
            raise UsageError(
                f"the reference's {self.metric} on {self.workload} does not improve with a larger budget",
                fix="give a larger --budget, or give --no-envelope to compare the metric itself",
            )
        log_metric, (first, last) = math.log(metric), (knots[0], knots[-1])
        for low, high in pairwise(knots):
            if min(low[0], high[0]) <= log_metric <= max(low[0], high[0]):
                return _evaluate_line(log_metric, low, high, low)
        nearest = min(first, last, key=lambda knot: abs(knot[0] - log_metric))
        return _evaluate_line(log_metric, first, last, nearest)

    def covers(self, metric: float) -> bool:
        """Whether a positive metric is within the range of the knots. If not, `log_budget` extrapolates."""
        ends = [log_metric for log_metric, _ in self.knots()]
        return min(ends) <= math.log(metric) <= max(ends)


def from_calibration(envelope: ReferenceEnvelope) -> GateEnvelope:
    """Return the curve of a calibrated envelope. The curve lacks the envelope's error, which a gate does not need."""
    logs = [[math.log(metric) for metric in horizon.metrics] for horizon in envelope.horizons]
    return GateEnvelope(
        workload=envelope.workload,
        metric=envelope.metric,
        goal=envelope.goal,
        budget=envelope.budget,
        reference=envelope.reference,
        hardware=envelope.hardware,
        torch=envelope.torch,
        provisional=False,
        horizons=tuple(horizon.examples for horizon in envelope.horizons),
        values=tuple(math.exp(statistics.fmean(row)) for row in logs),
        spreads=tuple(statistics.stdev(row) for row in logs),
        runs=tuple(run for horizon in envelope.horizons for run in horizon.runs),
    )


def _evaluate_line(x: float, low: tuple[float, float], high: tuple[float, float], start: tuple[float, float]) -> float:
    """Return y at x on the line through `start` that is parallel to the line through `low` and `high`."""
    return start[1] + (x - start[0]) * (high[1] - low[1]) / (high[0] - low[0])


def fit_envelope(records: Sequence[Record], budget: int) -> GateEnvelope:
    """Fit the envelope to runs of the reference. Each run used its whole horizon.

    Args:
        records: records of one reference on one workload; not empty.
        budget: gate budget in examples.

    Raises:
        UsageError: at most one horizon has a complete run, a metric is not positive, or a larger budget does not
            improve the metric.
    """
    spec = records[0].spec
    facts, target = spec.workload.facts, spec.workload.facts.targets[0]
    by_horizon: dict[int, list[float]] = defaultdict(list)
    for record in records:
        metric = final_metric(record).value
        if metric is not None:
            if not metric > 0:
                raise UsageError(
                    f"{facts.id}: the reference's {target.metric} is {metric!r}; an envelope needs positive metrics",
                    fix="give --no-envelope to compare the metric itself",
                )
            by_horizon[record.spec.workload.facts.budget.horizon].append(math.log(metric))
    if len(by_horizon) < 2:
        raise UsageError(
            f"the reference {spec.submission.id} finished at {len(by_horizon)} horizons on {facts.id}; two are needed",
            fix="read the logs of its runs, or give --no-envelope to compare the metric itself",
        )
    horizons = sorted(by_horizon)
    envelope = GateEnvelope(
        workload=facts.id,
        metric=final_metric_name(facts),
        goal=target.goal,
        budget=budget,
        reference=spec.submission.id,
        hardware=spec.hardware,
        torch=next((r.environment.torch for r in records if r.environment is not None), ""),
        horizons=tuple(horizons),
        values=tuple(math.exp(statistics.fmean(by_horizon[h])) for h in horizons),
        spreads=tuple(statistics.stdev(by_horizon[h]) if len(by_horizon[h]) > 1 else 0.0 for h in horizons),
        runs=tuple(record.run_id for record in records),
    )
    envelope.log_budget(envelope.values[0])  # Raises an error if a larger budget does not improve the metric.
    return envelope
