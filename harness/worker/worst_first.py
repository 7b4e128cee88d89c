"""Proves from the examples with the worst values that the whole split misses a target.

The metric of one example is called the example's value. Often, there is a best possible value b. A loss, for example,
is never below 0. Let m of the N examples of a split be measured, and let s be the sum of their values. The metric is
best if all other examples have the value b; it is then (s + (N - m) b) / N. If even this best case misses the target,
the whole split misses the target. This proof involves no random sample and no confidence level.

For example, let the target be a mean loss of 0.5 over 1,000 examples. If the losses of 100 examples have the sum 600,
the mean loss of the whole split is at least 0.6.

Often, a few hard examples have most of a classifier's loss. They then suffice for a proof, whereas the mean of a random
part would be inexact. Examples are therefore measured in the order of their values in the last evaluation of the whole
split, worst first.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from harness.contract.workload import Goal, Shard, Target
from harness.worker.baseline import is_binary
from harness.worker.data.evaluation_order import evaluation_rows
from harness.worker.screening import FIRST_PART, LARGEST_SHARE, Decisions, Estimate, TaskSample

#: Lowest and highest possible value of an example, by metric.
Bounds = Mapping[str, tuple[float, float]]

#: Measures the examples of a shard, and returns their values by metric and task.
MeasureShard = Callable[[Shard], Mapping[str, Sequence[Tensor]]]

#: A proof needs a sum that exceeds the required sum by this fraction, which is far above rounding errors.
_ROUNDING_MARGIN = 1e-4
#: A value contradicts the bound if it is better than the bound by more than this amount.
_BOUND_TOLERANCE = 1e-6
#: Number of examples that are measured twice, to test whether the workload measures exactly the chosen examples.
_PROBE_SIZE = 16
#: Initial value of `WorstFirst.ratio`.
_FIRST_RATIO = 0.95
#: If the measured examples give no proof, the next predicted ratio is the measured ratio times this factor.
_CAUTION = 0.95
#: Weight of the latest evaluation in `WorstFirst.ratio`, an exponential moving average.
_LATEST_WEIGHT = 0.3
#: Smallest number of examples that are added to an evaluation at once.
_MIN_ADDED = 16
#: Largest number of times that examples are added to one evaluation.
_MAX_ROUNDS = 4


@dataclass(frozen=True, kw_only=True)
class Requirement:
    """What the measured values must satisfy to prove that the whole split triggers no decision.

    A decision, such as the end of the run, is triggered if all of its targets are met.

    Args:
        metric: the metric that is measured.
        total: the number that the sum of the measured distances must exceed. A distance is how much worse a value is
            than `best`. For the target 0.5 on 10 losses, for example, this number is 5.
        best: the best possible value of an example.
        sign: 1 if higher values are worse than `best`, -1 if lower values are worse.
    """

    metric: str
    total: float
    best: float
    sign: int

    def distances(self, values: Tensor) -> Tensor:
        """Return how much worse values are than the best possible value."""
        return self.sign * (values - self.best)


class WorstFirst:
    """Chooses the examples of an evaluation by their values in the last evaluation of the whole split.

    Args:
        bounds: bounds of values that the workload declares. Values of the type bool need no declaration.
        is_supported: whether the workload measures the examples that a `Shard` chooses; None to test this.
    """

    def __init__(self, bounds: Bounds, is_supported: bool | None = None) -> None:
        self._bounds = dict(bounds)
        self._is_supported = is_supported
        self._stage: int | None = None
        self._values: dict[str, Tensor] = {}
        self._ratio = _FIRST_RATIO

    def renew(self, values: Mapping[str, Sequence[Tensor]], stage: int | None, measure: MeasureShard) -> int:
        """Keep the values of an evaluation of the whole split, for metrics with a bound.

        No values are kept of an evaluation that covers several tasks of a stream. `Shard.chosen` applies to every task,
        and a position in one task says nothing about this position in another task, which may not even have it.

        The first call also measures some examples again, to test whether the workload supports chosen examples.

        Args:
            values: the values by metric and task, in the stored order of the split.
            stage: index of the stage of a stream; None on a pool.
            measure: measures examples with the same weights.

        Returns:
            The number of examples that were measured again.
        """
        self._stage, self._values, self._ratio = stage, {}, _FIRST_RATIO
        if self._is_supported is False or not _covers_one_task(values):
            return 0
        for name, (task,) in values.items():
            if task.dtype == torch.bool:
                self._bounds.setdefault(name, (0.0, 1.0))
            if name in self._bounds and bool(task.isfinite().all()):
                self._values[name] = task.cpu().double()
        if self._is_supported is not None or not (probe := self._choose_probe()):
            return 0
        self._is_supported = self._is_equal(probe, measure(Shard(chosen=probe)))
        return len(probe)

    def begin(self, decisions: Decisions, stage: int | None, limit: int) -> WorstFirstEvaluation | None:
        """Return a new evaluation; None if chosen examples prove nothing, or if `limit` or more are needed.

        Args:
            decisions: what the evaluation has to decide.
            stage: index of the stage of a stream; None on a pool.
            limit: number of examples that an evaluation without chosen examples would measure.
        """
        if not self._is_supported or not decisions or self._stage != stage:
            return None
        for name, values in self._values.items():
            requirement = find_requirement(name, decisions, self._bounds[name], len(values))
            if requirement is None:
                continue
            evaluation = WorstFirstEvaluation(self, requirement, values)
            return evaluation if 0 < len(evaluation.next_rows()) < limit else None
        return None

    @property
    def ratio(self) -> float:
        """The predicted sum of the chosen examples' distances, divided by the sum in the last whole evaluation."""
        return self._ratio

    def learn(self, ratio: float) -> None:
        """Update the moving average `ratio` with the measured ratio of an evaluation."""
        if math.isfinite(ratio):
            self._ratio += _LATEST_WEIGHT * (min(ratio, 1.0) - self._ratio)

    def state_dict(self) -> dict[str, Any]:
        """Return the state as tensors, numbers, strings, lists and dicts."""
        return {
            "bounds": {name: list(bounds) for name, bounds in self._bounds.items()},
            "is_supported": self._is_supported,
            "stage": self._stage,
            "values": dict(self._values),
            "ratio": self._ratio,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        self._bounds = {name: (low, high) for name, (low, high) in state["bounds"].items()}
        self._is_supported, self._stage, self._ratio = state["is_supported"], state["stage"], state["ratio"]
        self._values = dict(state["values"])

    def _choose_probe(self) -> tuple[int, ...]:
        """Return the positions of the examples with the largest and the smallest values.

        The result is empty if all values are equal, or if there are too few.
        """
        values = next(iter(self._values.values()), None)
        if values is None or len(values) < 4 * _PROBE_SIZE or bool((values == values[0]).all()):
            return ()
        order = values.argsort(stable=True).tolist()
        return tuple(order[: _PROBE_SIZE // 2] + order[-_PROBE_SIZE // 2 :])

    def _is_equal(self, probe: tuple[int, ...], measured: Mapping[str, Sequence[Tensor]]) -> bool:
        """Return whether the chosen examples have the same values as in the whole split, up to rounding."""
        return all(
            len(measured[name][0]) == len(probe)
            and bool(torch.isclose(measured[name][0].cpu().double(), values[list(probe)], rtol=1e-3, atol=1e-6).all())
            for name, values in self._values.items()
        )


def _covers_one_task(values: Mapping[str, Sequence[Tensor]]) -> bool:
    """Return whether an evaluation has one task: every metric has one tensor, and all tensors have equal lengths."""
    return all(len(tasks) == 1 for tasks in values.values()) and len({len(task) for (task,) in values.values()}) == 1


def find_requirement(
    metric: str, decisions: Decisions, bounds: tuple[float, float], examples: int
) -> Requirement | None:
    """Return the requirement under which one metric excludes all decisions.

    The result is None in three cases: a decision does not depend on this metric, the metric has targets of both kinds
    (`min` and `max`), or the required sum is infinite.

    Args:
        metric: the metric.
        decisions: what the evaluation has to decide.
        bounds: lowest and highest possible value of an example.
        examples: number of examples of the split.

    >>> find_requirement("loss", {"the target": (Target(metric="loss", goal="min", value=0.5),)}, (0.0, math.inf), 10)
    Requirement(metric='loss', total=5.0, best=0.0, sign=1)
    """
    thresholds: list[float] = []
    goals: set[Goal] = set()
    for targets in decisions.values():
        metric_targets: list[Target] = [target for target in targets if target.metric == metric]
        if not metric_targets:
            return None
        thresholds += [target.value for target in metric_targets]
        goals |= {target.goal for target in metric_targets}
    if len(goals) != 1:
        return None
    # One missed target per decision would suffice. For simplicity, all targets with this metric must be missed.
    best, sign = (bounds[0], 1) if goals == {"min"} else (bounds[1], -1)
    total = examples * max(sign * (value - best) for value in thresholds)
    return Requirement(metric=metric, total=total, best=best, sign=sign) if math.isfinite(total) else None


class WorstFirstEvaluation:
    """One evaluation: it chooses and measures examples until they prove a miss.

    Two groups are measured: the examples with the worst earlier values, and a small random sample. The mean of all
    examples outside the first group is estimated from the sample.

    Args:
        parent: predicts how many examples are necessary.
        requirement: what the measured values must satisfy to exclude every decision.
        earlier: the metric's values in the last evaluation of the whole split, in the stored order (float64).
    """

    def __init__(self, parent: WorstFirst, requirement: Requirement, earlier: Tensor) -> None:
        self._parent = parent
        self._requirement = requirement
        #: Distances of all examples in the last evaluation of the whole split (see `Requirement`).
        self._earlier_distances = requirement.distances(earlier)
        #: Positions of all examples, from the worst to the best earlier value.
        self._order: list[int] = self._earlier_distances.argsort(descending=True, stable=True).tolist()
        #: Positions of the examples in the random sample.
        self._sample = evaluation_rows(Shard(stop=FIRST_PART), len(earlier)).tolist()
        self._predicted_ratio = parent.ratio
        #: Number of examples at the beginning of `_order` that were chosen so far.
        self._worst_count = 0
        #: Positions of the measured examples.
        self._rows: list[int] = []
        self._values: dict[str, list[Tensor]] = {}

    @property
    def total(self) -> int:
        """The number of examples of the split."""
        return len(self._order)

    @property
    def examples(self) -> int:
        """The number of measured examples."""
        return len(self._rows)

    def measure(self, measure: MeasureShard) -> bool:
        """Measure examples until they prove a miss, or until a proof is no longer expected to save time.

        Args:
            measure: measures examples.

        Returns:
            Whether the measured examples prove that the whole split triggers no decision.
        """
        for _ in range(_MAX_ROUNDS):
            rows = self.next_rows()
            if not rows or not self._add(rows, measure(Shard(chosen=rows))):
                return False
            earlier_sum = float(self._earlier_distances[self._rows].sum())
            ratio = self._sum() / earlier_sum if earlier_sum > 0 else math.nan
            if self._sum() > self._required:
                self._parent.learn(ratio)
                return True
            self._predicted_ratio = _CAUTION * ratio
        return False

    def next_rows(self) -> tuple[int, ...]:
        """Return the positions of the examples to measure next; empty if the whole split is expected to be cheaper."""
        rows = [] if self._rows else list(self._sample)
        measured = {*self._rows, *rows}
        missing = self._required - self._sum() - self._predicted_ratio * float(self._earlier_distances[rows].sum())
        fewest = _MIN_ADDED if self._rows else 0
        for position, row in enumerate(self._order):
            if missing <= 0 and len(rows) >= fewest:
                break
            self._worst_count = max(self._worst_count, position + 1)
            if row not in measured:
                rows.append(row)
                missing -= self._predicted_ratio * float(self._earlier_distances[row])
        too_many = len(self._rows) + len(rows) > LARGEST_SHARE * self.total
        return () if missing > 0 or too_many else tuple(rows)

    @property
    def _required(self) -> float:
        # Every value may be better than the bound by the tolerance.
        margin = max(abs(self._requirement.total) * _ROUNDING_MARGIN, self.total * _BOUND_TOLERANCE)
        return self._requirement.total + margin

    def _add(self, rows: tuple[int, ...], values: Mapping[str, Sequence[Tensor]]) -> bool:
        """Add measured values, by metric and task.

        Returns:
            Whether the values are valid for a proof: all are finite, and none is better than the best possible value.
        """
        self._rows += rows
        for name, tasks in values.items():
            self._values.setdefault(name, []).append(tasks[0].cpu().double())
        are_finite = all(bool(task.isfinite().all()) for tasks in values.values() for task in tasks)
        distances = self._requirement.distances(values[self._requirement.metric][0].cpu().double())
        return are_finite and bool((distances >= -_BOUND_TOLERANCE).all())

    def estimate(self) -> tuple[dict[str, Estimate], dict[str, float], dict[str, float]]:
        """Return estimates of the metrics from a stratified sample.

        * The first stratum has the examples that were chosen by their earlier value. All of them are measured.
        * The second stratum has all other examples. Only a random sample of them is measured.

        Returns:
            Three dicts by metric: estimates whose variances ignore the strata (they predict the size of later parts),
            the means, and the standard errors of the means.
        """
        worst = set(self._order[: self._worst_count])
        in_first = torch.tensor([row in worst for row in self._rows])
        # The standard error allows for unmeasured examples as bad as the worst earlier value in the second stratum.
        others_order = self._order[self._worst_count :]
        reach = float(self._earlier_distances[others_order[0]]) if others_order else 0.0
        estimates, means, errors = {}, {}, {}
        for name, parts in self._values.items():
            values = torch.cat(parts)
            first, second = values[in_first], values[~in_first]
            others = self.total - len(first)
            if len(second) < 2:
                second, first, others = values, values[:0], self.total
            mean = (float(first.sum()) + others * float(second.mean())) / self.total
            square = (float(first.square().sum()) + others * float(second.square().mean())) / self.total
            estimates[name] = Estimate(
                (
                    TaskSample(
                        n=len(values),
                        total=self.total,
                        mean=mean,
                        variance=max(square - mean**2, 0.0),
                        binary=is_binary(values),
                    ),
                )
            )
            sample = TaskSample(
                n=len(second),
                total=others,
                mean=float(second.mean()),
                variance=float(second.var()),
                binary=is_binary(second),
                reach=reach if name == self._requirement.metric else 0.0,
            )
            means[name] = mean
            errors[name] = others / self.total * math.sqrt(sample.error_variance)
        return estimates, means, errors

    def _sum(self) -> float:
        """Return the sum of the distances between the measured values and their best possible value."""
        parts = self._values.get(self._requirement.metric, ())
        return math.fsum(float(self._requirement.distances(part).sum()) for part in parts)
