"""The envelope of a gate: from a metric at the gate budget to the budget at which the reference reaches that metric."""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from collections.abc import Sequence
from itertools import groupby, pairwise

from harness.contract.base import Data
from harness.contract.record import Record, is_complete
from harness.contract.workload import Goal
from harness.errors import UsageError

#: Horizons of the reference in gate budgets, and its seeds at each.
SHARES, SEEDS = (0.25, 0.5, 1.0, 2.0), 3


class GateEnvelope(Data, frozen=True, kw_only=True):
    """What the reference reaches by budget, on seeds of its own.

    Args:
        workload: `name@version` of the runs.
        metric, goal: the primary target's.
        budget: the gate budget in examples that the horizons surround.
        reference: `name@version`.
        hardware, torch: of the runs.
        provisional: from few horizons and seeds of the reference's defaults; not a part of the workload's version.
        horizons: increasing, in examples.
        values: geometric mean over seeds of the metric at the end of each horizon.
        spreads: standard deviation over seeds of the log metric; 0 for a single seed.
        runs: run_ids of all of them.
    """

    schema: int = 1
    workload: str
    metric: str
    goal: Goal
    budget: int
    reference: str
    hardware: str
    torch: str
    provisional: bool = True
    horizons: tuple[int, ...]
    values: tuple[float, ...]
    spreads: tuple[float, ...]
    runs: tuple[str, ...]

    def knots(self) -> list[tuple[float, float]]:
        """(log metric, log budget), the budget strictly increasing as the metric gets better.

        Horizons that do not get better are pooled (isotonic regression), and pooled ones are one knot.
        """
        from scipy.optimize import isotonic_regression

        logs = [math.log(value) for value in self.values]
        fitted = isotonic_regression(logs, increasing=self.goal == "max").x.tolist()
        pairs = zip(fitted, map(math.log, self.horizons), strict=True)
        return [
            (value, statistics.fmean(log_budget for _, log_budget in group))
            for value, group in groupby(pairs, key=lambda pair: pair[0])
        ]

    def log_budget(self, metric: float) -> float:
        """Log of the budget at which the reference reaches a metric: linear in its log between the knots.

        Beyond the knots the line continues with the mean slope of the whole envelope, since the slope of one end rests
        on two horizons.

        Raises:
            UsageError: the metric is not positive, or the reference gets no better with a longer budget.

        >>> curve = GateEnvelope(workload="w@1", metric="loss", goal="min", budget=100, reference="r@1", hardware="h",
        ...     torch="", horizons=(50, 100), values=(2.0, 1.0), spreads=(0.0, 0.0), runs=())
        >>> [round(math.exp(curve.log_budget(loss))) for loss in (2.0, 1.0, 0.5)]
        [50, 100, 200]
        """
        if not metric > 0:
            raise UsageError(f"{self.metric} is {metric!r}, which has no logarithm", fix="compare positive metrics")
        knots = self.knots()
        if len(knots) < 2:
            raise UsageError(
                f"the reference's {self.metric} on {self.workload} gets no better with a longer budget",
                fix="give a larger --budget, or --no-envelope to compare the metric itself",
            )
        wanted, (first, last) = math.log(metric), (knots[0], knots[-1])
        for low, high in pairwise(knots):
            if min(low[0], high[0]) <= wanted <= max(low[0], high[0]):
                return _on_line(wanted, low, high, low)
        nearest = min(first, last, key=lambda knot: abs(knot[0] - wanted))
        return _on_line(wanted, first, last, nearest)

    def covers(self, metric: float) -> bool:
        """Whether a metric lies between those at the shortest and the longest horizon."""
        return min(self.values) <= metric <= max(self.values)


def _on_line(wanted: float, low: tuple[float, float], high: tuple[float, float], start: tuple[float, float]) -> float:
    """At `wanted` on the line through `start` with the slope from `low` to `high`."""
    return start[1] + (wanted - start[0]) * (high[1] - low[1]) / (high[0] - low[0])


def fit_envelope(records: Sequence[Record], budget: int) -> GateEnvelope:
    """The envelope of the reference's runs, each planned to end at its own horizon.

    Args:
        records: of one reference on one workload.
        budget: the gate budget in examples.

    Raises:
        UsageError: fewer than two horizons with a run that finished, a metric that is not positive, or one that gets
            no better with a longer budget.
    """
    spec = records[0].spec
    facts, target = spec.workload.facts, spec.workload.facts.targets[0]
    by_horizon: dict[int, list[float]] = defaultdict(list)
    for record in records:
        if is_complete(record.status) and record.points and target.metric in record.points[-1].metrics:
            metric = record.points[-1].metrics[target.metric]
            if not metric > 0:
                raise UsageError(
                    f"{facts.id}: {target.metric} of the reference is {metric!r}, which has no logarithm",
                    fix="--no-envelope compares the metric itself",
                )
            by_horizon[record.spec.workload.facts.budget.horizon].append(math.log(metric))
    if len(by_horizon) < 2:
        raise UsageError(
            f"the reference {spec.submission.id} finished at {len(by_horizon)} horizons on {facts.id}",
            fix="see its runs, or --no-envelope to compare the metric itself",
        )
    horizons = sorted(by_horizon)
    envelope = GateEnvelope(
        workload=facts.id,
        metric=target.metric,
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
    envelope.log_budget(envelope.values[0])
    return envelope
