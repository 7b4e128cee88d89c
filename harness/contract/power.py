"""The power of a workload: how many pairs of submissions its runs can tell apart, and what these runs cost."""

from __future__ import annotations

from typing import Literal

from harness.contract.base import Data
from harness.contract.workload import Goal

#: Name of a budget. `gate`: the short budget of `bench gate`. `full`: the whole budget of the workload.
PowerBudget = Literal["gate", "full"]
#: The quantity that the statistical model compares. `log M`: the log of the compute multiplier M = (budget with which
#: the reference reaches the run's metric) / (budget of the run). `log metric`: the log of the metric. It is compared if
#: M is unknown, because there is no envelope (the reference's metric as a function of its budget).
PowerScale = Literal["log M", "log metric"]


class PowerCost(Data, frozen=True, kw_only=True):
    """The cost of a run. If only the total was measured, `training` contains it, and `evaluation` and `start` are 0.

    Args:
        training: core-seconds on the run's clock: construction and training.
        evaluation: core-seconds of the evaluations.
        start: core-seconds of everything else: start of the worker, imports, model and data, checkpoints.
        wall: wall seconds of all phases.
    """

    training: float
    evaluation: float
    start: float
    wall: float

    @property
    def total(self) -> float:
        """Core-seconds of the whole run."""
        return self.training + self.evaluation + self.start


class OrderAgreement(Data, frozen=True, kw_only=True):
    """How often the order of two arms (submissions) at the gate budget is also their order at the full budget.

    The runs at the full budget have other seeds than the runs at the gate budget. A pair of arms is separated if the
    statistical model finds a significant difference.

    Args:
        decided: number of pairs of arms that are separated at the gate budget and have unequal means at the full
            budget.
        same_order: number of the pairs in `decided` that have the same order at both budgets.
        both: number of pairs that are separated at both budgets.
        both_same_order: number of the pairs in `both` that have the same order at both budgets.
    """

    decided: int
    same_order: int
    both: int
    both_same_order: int


class PowerRow(Data, frozen=True, kw_only=True):
    """The published power of a workload at one budget.

    Args:
        workload: `name@version` of the workload.
        budget_name: name of the budget.
        budget: budget in examples.
        metric: name of the primary metric.
        goal: direction of the primary metric.
        scale: the quantity that is compared.
        outside: fraction of the runs in which M is extrapolated, because the metric is outside the range of the
            envelope; 0 without an envelope.
        arms: names of the arms (the compared submissions).
        left_out: the arms with a failed run. Pairs with such an arm never count as separated.
        seeds: number of seeds on which all arms have a run. Arms without a successful tuning run are ignored here.
        planned_seeds: number of seeds that were planned.
        pairs: number of pairs of arms, including the pairs with an arm in `left_out`.
        separated: number of pairs in which the model finds a significant difference.
        hard: number of pairs in which the estimated values of M differ by at most 10 %; None if M is unknown.
        hard_separated: number of the pairs in `hard` that the model separates; None if M is unknown.
        core_hours: core-hours of all runs of these arms and seeds, without tuning.
        cost: mean cost of a run.
        spread_metric: standard deviation of the log metric over the seeds of an arm.
        spread_multiplier: standard deviation of log M over the seeds of an arm; None if M is unknown.
        spread_target: standard deviation of the log of the examples to the target over the seeds of an arm; None if no
            arm reached the target on two seeds.
        hits: number of runs that reached the target.
        residual: standard deviation of the residuals of the model, in which each arm and each seed has an effect.
        correlation: correlation between two arms over the seeds that they share, pooled over all pairs of arms.
        range_over_spread: (largest mean of an arm − smallest mean of an arm) / (standard deviation over the seeds of an
            arm); 0 if no metric differs.
        false_rate: fraction of the permutations in which the model separates at least one pair. A permutation shuffles
            the arms' labels within each seed.
        false_low, false_high: 95 % confidence interval of `false_rate`.
        permutations: number of permutations.
        agreement: agreement with the order at the full budget; None if the full budget was not run.
        hardware: hardware class of the runs.
        torch: version of torch.
        notes: remarks on the runs for readers of the row.
    """

    workload: str
    budget_name: PowerBudget
    budget: int
    metric: str
    goal: Goal
    scale: PowerScale
    outside: float = 0.0
    arms: tuple[str, ...]
    left_out: tuple[str, ...] = ()
    seeds: int
    planned_seeds: int
    pairs: int
    separated: int
    hard: int | None = None
    hard_separated: int | None = None
    core_hours: float
    cost: PowerCost
    spread_metric: float
    spread_multiplier: float | None = None
    spread_target: float | None = None
    hits: int = 0
    residual: float
    correlation: float
    range_over_spread: float
    false_rate: float
    false_low: float
    false_high: float
    permutations: int
    agreement: OrderAgreement | None = None
    hardware: str
    torch: str
    notes: tuple[str, ...] = ()

    @property
    def partial(self) -> bool:
        """Whether runs on planned seeds are missing."""
        return self.seeds < self.planned_seeds

    @property
    def per_core_hour(self) -> float:
        """Number of separated pairs per core-hour."""
        return self.separated / self.core_hours

    @property
    def hard_per_core_hour(self) -> float | None:
        """Number of separated hard pairs per core-hour; None if M is unknown."""
        return None if self.hard_separated is None else self.hard_separated / self.core_hours


class PowerFile(Data, frozen=True, kw_only=True):
    """The content of `power.json` in a top-level package of workloads: the power of the package's workloads.

    Args:
        schema: version of the file format.
        rows: one row for each workload and budget.
    """

    schema: int = 1
    rows: tuple[PowerRow, ...]
