"""Compute the power of a workload from runs of all arms on shared seeds: the row of `bench power`."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from harness.contract.power import OrderAgreement, PowerBudget, PowerCost, PowerRow
from harness.contract.workload import Goal
from harness.errors import UsageError
from harness.scoring.gate_envelope import GateEnvelope
from harness.scoring.power_model import Separation, count_false_separations, separate_pairs

#: A pair is hard if the multipliers of its arms differ by at most this factor.
HARD_FACTOR = 1.1


@dataclass(frozen=True, slots=True, kw_only=True)
class PowerRun:
    """One run of an arm on a seed.

    Args:
        arm: name of the submission.
        seed: index of the seed; equal for all arms that share the seed.
        metric: primary metric at the end of the budget, positive; None if the run broke.
        hit: number of examples to the target; None for a miss.
        cost: the time that the run used.
    """

    arm: str
    seed: int
    metric: float | None
    hit: int | None
    cost: PowerCost


@dataclass(frozen=True, slots=True, kw_only=True)
class PowerPlanned:
    """What was run: the facts of a row that do not depend on the outcome.

    Args:
        workload: `name@version` of the workload.
        budget_name: name of the budget.
        budget: budget in examples.
        metric: name of the primary metric.
        goal: direction of the primary metric.
        arms: names of all arms of the design.
        broken: the arms without runs on the seeds, because they broke with every setting that was tried.
        seeds: number of seeds in the design.
        hardware: hardware class of the runs.
        torch: version of torch.
        notes: remarks on the runs for readers of the row.
    """

    workload: str
    budget_name: PowerBudget
    budget: int
    metric: str
    goal: Goal
    arms: tuple[str, ...]
    broken: tuple[str, ...] = ()
    seeds: int
    hardware: str
    torch: str
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PowerTable:
    """The runs of all arms on those seeds on which every arm has a run, and the model fitted to them.

    Args:
        runs: arm -> its runs in the order of the seeds, without the arms that broke with every setting.
        seeds: number of seeds.
        values: arm -> the values that the model compares, in the order of the seeds; None if the run broke.
        separation: the fitted model.
    """

    runs: Mapping[str, Sequence[PowerRun]]
    seeds: int
    values: Mapping[str, Sequence[float | None]]
    separation: Separation


def power_table(planned: PowerPlanned, runs: Sequence[PowerRun], envelope: GateEnvelope | None) -> PowerTable:
    """Fit the model to the seeds on which every arm has a run.

    Args:
        planned: what was run.
        runs: all runs at this budget, in any order. A seed on which an arm lacks its run is left out.
        envelope: envelope of the reference, which converts a metric to log M. Without it, the log of the metric is
            compared, with the sign of `goal`, so that higher is better. One slope between the two would scale all
            differences and the error alike, so the same pairs would be separated.

    Raises:
        UsageError: fewer than two seeds are complete, or fewer than two arms have no broken run.
    """
    running = [arm for arm in planned.arms if arm not in planned.broken]
    by_arm = {arm: {run.seed: run for run in runs if run.arm == arm} for arm in running}
    seeds = sorted(set.intersection(*(set(row) for row in by_arm.values()))) if by_arm else []
    if len(seeds) < 2:
        raise UsageError(
            f"{planned.workload} at {planned.budget:,} examples: all arms have a run on {len(seeds)} seeds",
            fix="run the study until all arms have a run on two seeds",
        )
    complete = {arm: [row[seed] for seed in seeds] for arm, row in by_arm.items()}
    value = _log_multiplier(envelope, planned) if envelope else _signed_log_metric(planned.goal)
    values: dict[str, list[float | None]] = {arm: [None] * len(seeds) for arm in planned.broken}
    for arm, row in complete.items():
        values[arm] = [None if run.metric is None else value(run.metric) for run in row]
    return PowerTable(runs=complete, seeds=len(seeds), values=values, separation=separate_pairs(values))


def _log_multiplier(envelope: GateEnvelope, planned: PowerPlanned) -> Callable[[float], float]:
    return lambda metric: envelope.log_budget(metric) - math.log(planned.budget)


def _signed_log_metric(goal: Goal) -> Callable[[float], float]:
    return lambda metric: math.log(metric) if goal == "max" else -math.log(metric)


def power_row(
    planned: PowerPlanned,
    runs: Sequence[PowerRun],
    envelope: GateEnvelope | None = None,
    order: OrderAgreement | None = None,
    permutations: int = 10_000,
) -> PowerRow:
    """Return the power of a workload at one budget.

    Args:
        planned: what was run.
        runs: all runs at this budget.
        envelope: see `power_table`.
        order: agreement with the order at the full budget; None if it is unknown.
        permutations: number of permutations of the labels.

    Raises:
        UsageError: see `power_table`.
    """
    table = power_table(planned, runs, envelope)
    model, used = table.separation, [run for row in table.runs.values() for run in row]
    metrics = [run.metric for run in used if run.metric is not None]
    false = count_false_separations(table.values, permutations)
    hard = _hard_pairs(model) if envelope else None
    return PowerRow(
        workload=planned.workload,
        budget_name=planned.budget_name,
        budget=planned.budget,
        metric=planned.metric,
        goal=planned.goal,
        scale="log M" if envelope else "log metric",
        outside=statistics.fmean(not envelope.covers(metric) for metric in metrics) if envelope else 0.0,
        arms=planned.arms,
        left_out=model.left_out,
        seeds=table.seeds,
        planned_seeds=planned.seeds,
        pairs=len(model.p_values),
        separated=len(model.separated),
        hard=None if hard is None else len(hard),
        hard_separated=None if hard is None else len(hard & set(model.separated)),
        core_hours=math.fsum(run.cost.total for run in used) / 3600,
        cost=_mean_cost([run.cost for run in used]),
        spread_metric=_log_spread([[run.metric for run in row] for row in table.runs.values()]) or 0.0,
        spread_multiplier=model.spread if envelope else None,
        spread_target=_log_spread([[run.hit for run in row] for row in table.runs.values()]),
        hits=sum(run.hit is not None for run in used),
        residual=model.residual,
        correlation=model.correlation,
        range_over_spread=model.range_over_spread,
        false_rate=false.rate,
        false_low=false.low,
        false_high=false.high,
        permutations=false.permutations,
        agreement=order,
        notes=planned.notes,
        hardware=planned.hardware,
        torch=planned.torch,
    )


def _hard_pairs(model: Separation) -> set[tuple[str, str]]:
    """Return the pairs whose estimated multipliers differ by at most 10 %."""
    differences = {pair: model.difference(pair) for pair in model.p_values}
    return {pair for pair, d in differences.items() if d is not None and abs(d) <= math.log(HARD_FACTOR)}


def _mean_cost(costs: Sequence[PowerCost]) -> PowerCost:
    return PowerCost(
        training=statistics.fmean(cost.training for cost in costs),
        evaluation=statistics.fmean(cost.evaluation for cost in costs),
        start=statistics.fmean(cost.start for cost in costs),
        wall=statistics.fmean(cost.wall for cost in costs),
    )


def _log_spread(rows: Sequence[Sequence[float | None]]) -> float | None:
    """Return the standard deviation of the logs within rows, pooled over rows with two values; None without such rows.

    Misses and broken runs have no logarithm and are left out.
    """
    logs = [[math.log(value) for value in row if value is not None] for row in rows]
    usable = [row for row in logs if len(row) > 1]
    if not usable:
        return None
    squares = math.fsum(statistics.variance(row) * (len(row) - 1) for row in usable)
    return math.sqrt(squares / sum(len(row) - 1 for row in usable))


def compare_orders(gate: Separation, full: Separation) -> OrderAgreement:
    """Compare the order of arms at the gate budget with that at the full budget.

    Args:
        gate: the model at the gate budget.
        full: the model at the full budget, fitted to runs on other seeds.

    Pairs without a difference at the full budget, because an arm was left out or the means are equal, are not counted.
    """
    comparable = {pair for pair in gate.separated if full.difference(pair)}
    both = comparable & set(full.separated)
    same = {pair for pair in comparable if (gate.difference(pair) or 0.0) * (full.difference(pair) or 0.0) > 0}
    return OrderAgreement(decided=len(comparable), agreed=len(same), both=len(both), both_agreed=len(both & same))
