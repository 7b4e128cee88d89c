"""Keeps the examples' metrics from an evaluation of the whole split, for difference estimates in later evaluations.

The metric of one example is called a value. The definitions for one task with N examples:

* The baseline b consists of the N values in the last evaluation of the whole split.
* A later evaluation measures a part: n of the N examples, with the values v.
* The difference estimate of the later mean is mean(b over N) + mean(v - b over n) (Cochran, Sampling Techniques, 7.10).

The standard error of this estimate follows from the standard deviation of v - b. If b and v are sufficiently
correlated, this standard deviation is smaller than that of v.

This standard error is too small if a few examples have most of the change and the part contains none of them. The
baseline is therefore used only under three conditions:

* No value of the baseline is far from the mean. (The worst examples can improve most.)
* No difference between the last two baselines is far from the mean difference.
* No difference in the part is far from the part's mean difference.

In addition, the standard error allows for a group of examples outside the part that improves to the best value of the
baseline (`TaskSample.error_variance`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor

from harness.contract.workload import Goal, Shard
from harness.worker.data.evaluation_order import evaluation_rows

#: Values have light tails if no value is further from the mean than this number of standard deviations. A single
#: outlier among 64 values can be 7.9 standard deviations from the mean.
LIGHT_TAIL = 6.0
#: The baseline is renewed when `Baseline.excess` exceeds this fraction of the split.
RENEWAL = 0.5
#: The same for the first baseline of a stage, with which no difference estimates are made.
FIRST_RENEWAL = 0.1
#: Two lists of values with the same weights are from the same examples if their root mean square difference is at most
#: this number of standard deviations of the values. For different examples, it is about 1.4 standard deviations.
_SAME_EXAMPLES_RMS = 0.1

#: The order in which the workload measures the examples of parts. A window is a range of consecutive examples in this
#: order.
#:
#: * `stored`: the stored order of the split.
#: * `random`: the order of `evaluation_rows`.
#: * `other`: another order.
#: * `unknown`: the values so far are in both orders the same, for example because all of them are equal.
Order = Literal["unknown", "stored", "random", "other"]


@dataclass(frozen=True, slots=True)
class TaskBaseline:
    """The values of a metric for all examples of a task.

    Args:
        values: the values (float64), in the order of windows.
        light_values: whether the values have light tails. False if all values are 0 or 1.
        light_changes: whether the differences from the previous baseline have light tails; None if there was no
            previous baseline.
        reach: distance of the mean from the best value: the amount by which an example is assumed to improve at most.
    """

    values: Tensor
    light_values: bool
    light_changes: bool | None
    reach: float

    @property
    def usable(self) -> bool:
        """Whether a later mean may be estimated from the differences between later values and these values."""
        return self.light_values and self.light_changes is True

    def estimate(self, values: Tensor) -> tuple[float, float] | None:
        """Return the difference estimate of a later mean, and the variance of the differences.

        The result is None if the baseline or the differences cannot be used for an estimate.

        Args:
            values: the later values (float64) of the first examples in the order of windows.
        """
        n = len(values)
        if not self.usable or not 2 <= n <= len(self.values):
            return None
        differences = values.cpu() - self.values[:n]
        if not has_light_tails(differences):
            return None
        return float(self.values.mean()) + float(differences.mean()), float(differences.var())


#: The baselines of every task by metric. Metrics whose values are all 0 or 1 have no baselines.
TaskBaselines = Mapping[str, Sequence[TaskBaseline]]


def has_light_tails(values: Tensor) -> bool:
    """Return whether every value (float64) is near the mean (see `LIGHT_TAIL`). True if all values are equal."""
    if len(values) < 2:
        return True
    distances = (values - values.mean()).abs()
    return bool(distances.max() <= LIGHT_TAIL * values.std())


def is_binary(values: Tensor) -> bool:
    """Return whether every value is 0 or 1."""
    return bool(((values == 0) | (values == 1)).all())


class Baseline:
    """The values of the last evaluation of the whole split, and whether these values should be renewed.

    Attributes:
        order: the order of the examples in windows.
        excess: number of examples in all later parts that a new baseline would have saved, in the best case.
    """

    def __init__(self) -> None:
        self.order: Order = "unknown"
        self.excess = 0
        self._stage: int | None = None
        self._tasks: dict[str, tuple[TaskBaseline, ...]] = {}

    def of_stage(self, stage: int | None) -> TaskBaselines:
        """Return the baselines of a stage; empty if the last evaluation of the whole split was in another stage."""
        return self._tasks if self._stage == stage else {}

    def is_order_needed(self, values: Mapping[str, Sequence[Tensor]]) -> bool:
        """Return whether the order is unknown, and the given values of the whole split can reveal it.

        Args:
            values: the values by metric and task.
        """
        return self.order == "unknown" and any(
            _distinguishes_examples(task) for tasks in values.values() for task in tasks
        )

    def find_order(self, window: Mapping[str, Sequence[Tensor]], whole: Mapping[str, Sequence[Tensor]]) -> None:
        """Find the order of the examples in windows.

        Args:
            window: the values of the first window of the split, by metric and task.
            whole: the values of the whole split, measured with the same weights.
        """
        pairs = [
            (part.cpu().double(), values.cpu().double())
            for name in whole
            for part, values in zip(window[name], whole[name], strict=True)
            if len(part) > 1 and _distinguishes_examples(values)
        ]
        if pairs:
            orders: tuple[Order, ...] = ("stored", "random")
            matching = [o for o in orders if all(_matches_window(part, _sort(v, o)) for part, v in pairs)]
            # If nearly all values are equal, both orders may match.
            self.order = "unknown" if len(matching) > 1 else matching[0] if matching else "other"

    def renew(self, values: Mapping[str, Sequence[Tensor]], stage: int | None, goals: Mapping[str, Goal]) -> None:
        """Keep the values of an evaluation of the whole split.

        Nothing is kept if all values of the targets' metrics are 0 or 1, because differences are not used for such
        values. Nothing is kept, either, if the order of the windows is unknown and makes a difference.

        Args:
            values: the values by metric and task.
            stage: index of the stage of a stream; None on a pool.
            goals: for the metrics of targets, whether low or high values are better.
        """
        earlier = self.of_stage(stage)
        self.excess, self._stage, self._tasks = 0, stage, {}
        if self.order == "other" or not any(_has_losses(values.get(name, ())) for name in goals):
            return
        if self.is_order_needed(values):
            return
        for name, tasks in values.items():
            if _has_losses(tasks):
                sorted_tasks = [_sort(task.cpu().double(), self.order) for task in tasks]
                previous: Sequence[TaskBaseline | None] = earlier.get(name) or [None] * len(tasks)
                goal = goals.get(name, "min")
                self._tasks[name] = tuple(
                    _make_baseline(task, before, goal) for task, before in zip(sorted_tasks, previous, strict=True)
                )

    def is_renewal_due(self, stage: int | None, examples: int, used: bool) -> bool:
        """Return whether the next evaluation should use the whole split to renew the baseline.

        With a new baseline, later parts can be smaller. A baseline that did not help is not renewed. The first baseline
        of a stage is an exception: it cannot help, because it cannot be compared with an earlier baseline.

        Args:
            stage: index of the stage of a stream; None on a pool.
            examples: number of examples of the split.
            used: whether differences from the baseline were used in the last evaluation.
        """
        tasks = [task for tasks in self.of_stage(stage).values() for task in tasks]
        is_first = any(task.light_values and task.light_changes is None for task in tasks)
        return (used or is_first) and self.excess > (FIRST_RENEWAL if is_first else RENEWAL) * examples

    def state_dict(self) -> dict[str, Any]:
        """Return the state as tensors, numbers, strings, lists and dicts."""
        tasks = {
            name: [[t.values, t.light_values, t.light_changes, t.reach] for t in tasks]
            for name, tasks in self._tasks.items()
        }
        return {"order": self.order, "excess": self.excess, "stage": self._stage, "tasks": tasks}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        self.order, self.excess, self._stage = state["order"], state["excess"], state["stage"]
        self._tasks = {name: tuple(TaskBaseline(*task) for task in tasks) for name, tasks in state["tasks"].items()}


def _distinguishes_examples(values: Tensor) -> bool:
    """Return whether the values of a task distinguish its examples: they are finite, not all equal, and not binary."""
    return len(values) > 1 and not is_binary(values) and bool(values.isfinite().all() & (values != values[0]).any())


def _has_losses(tasks: Sequence[Tensor]) -> bool:
    """Return whether all values are finite, and at least one value is neither 0 nor 1."""
    return all(bool(task.isfinite().all()) for task in tasks) and not all(map(is_binary, tasks))


def _make_baseline(values: Tensor, previous: TaskBaseline | None, goal: Goal) -> TaskBaseline:
    light_values = not is_binary(values) and has_light_tails(values)
    light_changes = None if previous is None else has_light_tails(values - previous.values)
    reach = 0.0
    if light_values:
        best = values.min() if goal == "min" else values.max()
        reach = float((values.mean() - best).abs())
    return TaskBaseline(values, light_values, light_changes, reach)


def _sort(values: Tensor, order: Order) -> Tensor:
    """Return the values of a task's examples in the order of windows."""
    n = len(values)
    return values[evaluation_rows(Shard(stop=n), n)] if order == "random" else values.clone()


def _matches_window(window: Tensor, values: Tensor) -> bool:
    """Return whether the values of a window are nearly equal to the first `len(window)` of the given values."""
    n = len(window)
    if n > len(values):
        return False
    return bool((window - values[:n]).square().mean().sqrt() <= _SAME_EXAMPLES_RMS * values.std())
