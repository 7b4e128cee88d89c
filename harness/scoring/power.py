"""Compute a row of `bench power`: how many pairs of submissions the runs of a workload separate, and at what cost.

Each submission is called an arm. All arms run on the same seeds. The multiplier M of a run is the budget at which the
reference reaches the run's metric, divided by the budget of the run.
"""

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

#: A pair of arms is hard if (larger estimated multiplier) / (smaller estimated multiplier) is at most this number.
HARD_FACTOR = 1.1


@dataclass(frozen=True, slots=True, kw_only=True)
class PowerRun:
    """One run of an arm on a seed.

    Args:
        arm: name of the submission.
        seed: index of the seed. Runs of several arms with the same index share their random numbers.
        metric: primary metric at the end of the budget, positive; None if the run broke.
        hit: number of examples to the target; None for a miss.
        cost: cost of the run in core-seconds.
    """

    arm: str
    seed: int
    metric: float | None
    hit: int | None
    cost: PowerCost


@dataclass(frozen=True, slots=True, kw_only=True)
class PowerContext:
    """The fields of a row that are known without the metrics: the design, the software and the machine.

    Args:
        workload: `name@version` of the workload.
        budget_name: name of the budget.
        budget: budget in examples.
        metric: name of the primary metric.
        goal: direction of the primary metric.
        arms: names of all arms of the design.
        broken: arms that were not run on the seeds, because all of their settings broke in the tuning.
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
    """The runs on the seeds on which every arm has a run, and the model fitted to these runs.

    Args:
        runs: arm -> its runs in the order of the seeds. The arms in `PowerContext.broken` are absent.
        seeds: number of seeds on which every arm has a run.
        values: arm -> for each seed, the value in the model (log M, or log of the metric); None if the run broke.
        separation: the fitted model.
    """

    runs: Mapping[str, Sequence[PowerRun]]
    seeds: int
    values: Mapping[str, Sequence[float | None]]
    separation: Separation


def power_table(context: PowerContext, runs: Sequence[PowerRun], envelope: GateEnvelope | None) -> PowerTable:
    """Fit the model to the seeds on which every arm has a run.

    Args:
        context: the design and the machine.
        runs: all runs at this budget, in any order. A seed on which an arm lacks its run is left out.
        envelope: envelope of the reference, which converts a metric to log M. None to compare the log of the metric
            instead; its sign is changed for a metric to be minimised.

    Raises:
        UsageError: fewer than two seeds have a run of every arm, or at most one arm is free of broken runs.
    """
    running = [arm for arm in context.arms if arm not in context.broken]
    by_arm = {arm: {run.seed: run for run in runs if run.arm == arm} for arm in running}
    seeds = sorted(set.intersection(*(set(row) for row in by_arm.values()))) if by_arm else []
    if len(seeds) < 2:
        raise UsageError(
            f"{context.workload} at {context.budget:,} examples: {len(seeds)} seeds have a run of every arm",
            fix="run the study until at least two seeds have a run of every arm",
        )
    complete = {arm: [row[seed] for seed in seeds] for arm, row in by_arm.items()}
    value = _log_multiplier(envelope, context) if envelope else _signed_log_metric(context.goal)
    values: dict[str, list[float | None]] = {arm: [None] * len(seeds) for arm in context.broken}
    for arm, row in complete.items():
        values[arm] = [None if run.metric is None else value(run.metric) for run in row]
    return PowerTable(runs=complete, seeds=len(seeds), values=values, separation=separate_pairs(values))


def _log_multiplier(envelope: GateEnvelope, context: PowerContext) -> Callable[[float], float]:
    return lambda metric: envelope.log_budget(metric) - math.log(context.budget)


def _signed_log_metric(goal: Goal) -> Callable[[float], float]:
    return lambda metric: math.log(metric) if goal == "max" else -math.log(metric)


def power_row(
    context: PowerContext,
    runs: Sequence[PowerRun],
    envelope: GateEnvelope | None = None,
    order: OrderAgreement | None = None,
    permutations: int = 10_000,
) -> PowerRow:
    """Return the power of a workload at one budget.

    Args:
        context: the design and the machine.
        runs: all runs at this budget.
        envelope: see `power_table`.
        order: agreement between the orders of arms at this budget and at the full budget (see `compare_orders`); None
            if it is unknown.
        permutations: number of permutations of the arms' labels (see `count_false_separations`).

    Raises:
        UsageError: see `power_table`.
    """
    table = power_table(context, runs, envelope)
    model, used = table.separation, [run for row in table.runs.values() for run in row]
    metrics = [run.metric for run in used if run.metric is not None]
    false = count_false_separations(table.values, permutations)
    hard = _hard_pairs(model) if envelope else None
    return PowerRow(
        workload=context.workload,
        budget_name=context.budget_name,
        budget=context.budget,
        metric=context.metric,
        goal=context.goal,
        scale="log M" if envelope else "log metric",
        outside=statistics.fmean(not envelope.covers(metric) for metric in metrics) if envelope else 0.0,
        arms=context.arms,
        left_out=model.left_out,
        seeds=table.seeds,
        planned_seeds=context.seeds,
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
        notes=context.notes,
        hardware=context.hardware,
        torch=context.torch,
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
    """Return the standard deviation of an arm's log values over seeds, pooled over arms.

    Misses and broken runs have no logarithm and are left out. Arms with fewer than two values are also left out; if no
    arm remains, the result is None.

    Args:
        rows: the values of each arm; None for a miss or a broken run.
    """
    logs = [[math.log(value) for value in row if value is not None] for row in rows]
    usable = [row for row in logs if len(row) > 1]
    if not usable:
        return None
    squares = math.fsum(statistics.variance(row) * (len(row) - 1) for row in usable)
    return math.sqrt(squares / sum(len(row) - 1 for row in usable))


def compare_orders(gate: Separation, full: Separation) -> OrderAgreement:
    """Compare the order of the arms at the gate budget with their order at the full budget.

    Only pairs that are separated at the gate budget are counted. Of these, a pair is not counted if one of its arms was
    left out at the full budget, or if its two means are equal there.

    Args:
        gate: the model at the gate budget.
        full: the model at the full budget, fitted to runs on other seeds.
    """
    comparable = {pair for pair in gate.separated if full.difference(pair)}
    separated_twice = comparable & set(full.separated)
    same = {pair for pair in comparable if (gate.difference(pair) or 0.0) * (full.difference(pair) or 0.0) > 0}
    return OrderAgreement(
        decided=len(comparable),
        same_order=len(same),
        both=len(separated_twice),
        both_same_order=len(separated_twice & same),
    )
