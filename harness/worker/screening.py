"""Decides from the values of a part of a split which targets the whole split would not meet.

A task is a stage of a stream; on a pool, there is a single task. A metric is the unweighted mean over tasks of the mean
value of a task's examples. A part is a random sample, without replacement: n of the N examples of every task. The
standard error of a task's mean therefore has the finite-population correction sqrt((N - n) / (N - 1)).

A task's mean is estimated in two ways: by the mean of the part, and by the difference estimate of
`harness.worker.baseline`. The estimate with the smaller standard error is used.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from torch import Tensor

from harness.contract.run import STANDARD_ERRORS
from harness.contract.workload import Target
from harness.worker.baseline import TaskBaseline, TaskBaselines, is_binary

#: Number of examples of every task in the smallest part.
FIRST_PART = 64
#: Largest fraction of a split's examples that a part may have. If a larger part is needed, the whole split
#: is evaluated. Parts that can be completed have another limit (see `next_part`).
LARGEST_SHARE = 2 / 3
#: A part is measured only if every `Estimate.distance` is expected to be above this number. A distance of 1 suffices to
#: exclude a target, so 1.15 leaves a margin.
_MIN_DISTANCE = 1.15
#: The same limit for a part that can be completed to the whole split. If such a part does not suffice, no example is
#: measured twice, but every part costs a call of the workload.
_MIN_COMPLETABLE_DISTANCE = 0.6
#: Step by which a part that can be completed grows, as a fraction of the split.
_STEP = 1 / 32
#: A standard error allows for a group of examples that a part misses with a probability of exp(-`HIDDEN`), about 6e-6.
HIDDEN = 12.0
#: Expected variance of the differences from a new baseline in the best case, as a fraction of the values' variance.
_BEST_VARIANCE_RATIO = 1 / 16
#: Expected distance between the mean and the best value of a baseline, in standard deviations of the values.
_EXPECTED_REACH = 3.3
#: Each part is larger than the previous part by at least this fraction. Sizes of parts are multiples of `FIRST_PART`.
_GROWTH = 0.25


@dataclass(frozen=True, slots=True)
class TaskSample:
    """The values of one metric on a part of a task's examples.

    Args:
        n: number of values.
        total: number of the task's examples.
        mean: estimate of the mean over all of the task's examples.
        variance: variance of the values or differences, with n - 1 in the denominator; 0 for a single value.
        binary: whether every value is 0 or 1.
        reach: 0 if the mean is that of the part. For a difference estimate, the largest assumed improvement of an
            example: from the baseline's mean to its best value.
    """

    n: int
    total: int
    mean: float
    variance: float
    binary: bool
    reach: float = 0.0

    @property
    def error_variance(self) -> float:
        """The squared standard error of the mean as an estimate of the mean over all of the task's examples.

        It is infinite for a single value, and for equal values that are neither 0 nor 1. For values of 0 and 1, the
        standard error is computed from the fraction (k + 1) / (n + 2), where k is the number of ones. The standard
        error is therefore positive even if all values are equal.

        For differences, the standard error allows for a group of examples that improves by `reach` but is not in the
        part:

        * Let the group be the fraction `HIDDEN` / n of the task's examples. The part then contains no example of the
          group with the probability exp(-`HIDDEN`).
        * The improvement of the group changes the mean by `HIDDEN` * `reach` / n.
        * The standard error is at least this change divided by `STANDARD_ERRORS`, so a decision allows for the change.
        """
        if self.n >= self.total:
            return 0.0
        # Equal values show nothing about the spread of the others, except if all values are 0 or 1 (see above).
        if self.n < 2 or (self.variance == 0 and self.reach == 0 and not self.binary):
            return math.inf
        variance = self.variance
        if self.binary:
            share = (self.mean * self.n + 1) / (self.n + 2)
            variance = share * (1 - share)
        variance = max(variance, (HIDDEN * self.reach / STANDARD_ERRORS) ** 2 / self.n)
        return variance / self.n * self.correction

    @property
    def correction(self) -> float:
        """The finite-population correction of a variance."""
        return (self.total - self.n) / max(self.total - 1, 1)


@dataclass(frozen=True, slots=True)
class Estimate:
    """A metric, estimated from a part of every task's examples.

    Args:
        tasks: the sample of every task.
    """

    tasks: tuple[TaskSample, ...]

    @property
    def examples(self) -> int:
        """The number of values."""
        return sum(task.n for task in self.tasks)

    @property
    def mean(self) -> float:
        """The estimate: the unweighted mean of the tasks' means."""
        return math.fsum(task.mean for task in self.tasks) / len(self.tasks)

    @property
    def uses_differences(self) -> bool:
        """Whether the mean of a task is estimated from differences."""
        return any(task.reach > 0 for task in self.tasks)

    @property
    def se(self) -> float:
        """The standard error of the estimate."""
        return math.sqrt(math.fsum(task.error_variance for task in self.tasks)) / len(self.tasks)

    def error_at(self, value: float) -> float:
        """Return the standard error for a comparison with a value.

        For values of 0 and 1, the standard error depends on the mean. The result is the larger of two standard errors:
        that of this estimate, and that of an estimate with the mean `value` in every task. (For tasks of equal size and
        a given metric, the standard error is largest if all tasks have the same mean.)
        """
        if not all(task.binary for task in self.tasks) or not 0 <= value <= 1:
            return self.se
        correction = max(task.correction for task in self.tasks)
        smallest = min(task.n for task in self.tasks)
        at_value = value * (1 - value) * correction / (smallest * len(self.tasks))
        return max(self.se, math.sqrt(max(at_value, 0.0)))

    def resize(self, part: int) -> Estimate:
        """Return the estimate that is expected with `part` examples of every task, or with all of a smaller task."""
        return Estimate(tuple(replace(task, n=min(part, task.total)) for task in self.tasks))

    def distance(self, target: Target) -> float:
        """Return how far the metric is from a target that it does not meet.

        The unit is the smallest distance that suffices to exclude the target. If the result is above 1, the whole split
        would not meet the target. The result is negative if the estimate meets the target or is not finite.
        """
        shortfall = self.mean - target.value if target.goal == "min" else target.value - self.mean
        required = STANDARD_ERRORS * self.error_at(target.value)
        if not math.isfinite(shortfall) or shortfall <= 0:
            return -1.0
        return math.inf if required == 0 else shortfall / required


#: The decisions that an evaluation may trigger, by name. Each is triggered if all of its targets are met.
Decisions = Mapping[str, Sequence[Target]]


def estimate_metrics(
    values: Mapping[str, Sequence[Tensor]],
    totals: Mapping[str, Sequence[int]] | None = None,
    baselines: TaskBaselines | None = None,
) -> dict[str, Estimate]:
    """Estimate metrics from the values of examples.

    Args:
        values: for every metric, one tensor of values per task.
        totals: for every metric, the number of examples of every task; None if `values` has the values of all examples.
        baselines: for some metrics, the baseline of every task.
    """
    estimates = {}
    for name, tasks in values.items():
        sizes = [len(task) for task in tasks] if totals is None else totals[name]
        task_baselines: Sequence[TaskBaseline | None] = (baselines or {}).get(name) or [None] * len(tasks)
        samples = (_sample(task, size, b) for task, size, b in zip(tasks, sizes, task_baselines, strict=True))
        estimates[name] = Estimate(tuple(samples))
    return estimates


def _sample(values: Tensor, total: int, baseline: TaskBaseline | None) -> TaskSample:
    values = values.double()
    n = len(values)
    plain = TaskSample(
        n=n,
        total=total,
        mean=float(values.mean()) if n else math.nan,
        variance=float(values.var()) if n > 1 else 0.0,
        binary=is_binary(values),
    )
    if baseline is None or plain.binary or n >= total:
        return plain
    difference_estimate = baseline.estimate(values)
    if difference_estimate is None:
        return plain
    mean, variance = difference_estimate
    difference = replace(plain, mean=mean, variance=variance, reach=baseline.reach)
    return min(plain, difference, key=lambda sample: sample.error_variance)


def expect_differences(estimates: Mapping[str, Estimate], baselines: TaskBaselines) -> dict[str, Estimate]:
    """Return the estimates that the next evaluation would give with a new baseline, in the best case.

    Args:
        estimates: the metrics of the whole split.
        baselines: the new baselines, which contain the values of the whole split.
    """
    return {
        name: Estimate(
            tuple(
                replace(sample, variance=sample.variance * _BEST_VARIANCE_RATIO, reach=b.reach) if b.usable else sample
                for sample, b in zip(estimate.tasks, baselines[name], strict=True)
            )
        )
        if name in baselines
        else estimate
        for name, estimate in estimates.items()
    }


def expect_renewal(estimates: Mapping[str, Estimate], baselines: TaskBaselines) -> dict[str, Estimate]:
    """Return the estimates that the same parts would have given with a new baseline, in the best case.

    Args:
        estimates: the metrics, estimated from parts.
        baselines: the present baselines.
    """
    return {
        name: Estimate(tuple(_expect_sample(sample, b) for sample, b in zip(estimate.tasks, tasks, strict=True)))
        if (tasks := baselines.get(name))
        else estimate
        for name, estimate in estimates.items()
    }


def _expect_sample(sample: TaskSample, baseline: TaskBaseline) -> TaskSample:
    """Return the sample of a task that a new baseline would have given in the best case; see `expect_renewal`."""
    if baseline.usable:
        variance = min(sample.variance, _BEST_VARIANCE_RATIO * float(baseline.values.var()))
        return replace(sample, variance=variance, reach=baseline.reach)
    if baseline.light_values and baseline.light_changes is None:
        # The first baseline of a stage may be from an untrained model, whose values say little about later values.
        reach = _EXPECTED_REACH * math.sqrt(sample.variance)
        return replace(sample, variance=_BEST_VARIANCE_RATIO * sample.variance, reach=reach)
    return sample


def smallest_part(estimates: Mapping[str, Estimate], decisions: Decisions) -> Mapping[str, Estimate]:
    """Return the estimates expected from the smallest part that excludes all decisions.

    If no part that is smaller than the measured part would suffice, the result is `estimates`.

    Args:
        estimates: the metrics, estimated from a part.
        decisions: what the evaluation has to decide.
    """
    largest = max((task.n for estimate in estimates.values() for task in estimate.tasks), default=0)
    resized = (
        {name: estimate.resize(part) for name, estimate in estimates.items()}
        for part in range(FIRST_PART, largest, FIRST_PART)
    )
    return next((smaller for smaller in resized if is_decided(smaller, decisions)), estimates)


def is_decided(estimates: Mapping[str, Estimate], decisions: Decisions) -> bool:
    """Return whether the estimates show that the whole split would trigger none of the decisions.

    The result is False if a metric is not finite, since only the whole split may end a run as diverged.
    """
    if not all(math.isfinite(estimate.mean) for estimate in estimates.values()):
        return False
    return _smallest_distance(estimates, decisions) > 1


def _smallest_distance(estimates: Mapping[str, Estimate], decisions: Decisions) -> float:
    """Return the distance of the decision that is hardest to exclude.

    One unmet target excludes a decision, so the distance of a decision is that of its farthest target.
    """
    distances = (
        max((estimates[t.metric].distance(t) for t in targets if t.metric in estimates), default=-1.0)
        for targets in decisions.values()
    )
    return min(distances, default=math.inf)


def next_part(
    estimates: Mapping[str, Estimate],
    decisions: Decisions,
    totals: Mapping[str, Sequence[int]],
    measured: int = 0,
    *,
    completes: bool = False,
) -> int | None:
    """Return the number of examples of every task to measure next; None for the whole split.

    The number affects only the time of the evaluation, not the decisions.

    Args:
        estimates: the latest estimates; empty if there are none.
        decisions: what the evaluation has to decide.
        totals: for every metric, the number of examples of every task.
        measured: number of examples of every task that are already measured.
        completes: whether a part that does not suffice is completed to the whole split. No example is then measured
            twice, so parts grow by small steps, until fewer than `FIRST_PART` examples are left.
    """
    if completes:
        return _next_step(estimates, decisions, totals, measured)
    part = max(FIRST_PART, _round_up(measured * (1 + _GROWTH)))
    while _share(part, totals.values()) <= LARGEST_SHARE:
        expected = {name: estimate.resize(part) for name, estimate in estimates.items()}
        if not expected or _smallest_distance(expected, decisions) > _MIN_DISTANCE:
            return part
        part += _round_up(part / 16)
    return None


def _next_step(
    estimates: Mapping[str, Estimate], decisions: Decisions, totals: Mapping[str, Sequence[int]], measured: int
) -> int | None:
    """Return the next size of a part that can be completed; see `next_part`."""
    total = max((max(sizes) for sizes in totals.values()), default=0)
    step = _round_up(total * _STEP)
    part = measured + step if measured else FIRST_PART
    while part <= max(total - FIRST_PART, LARGEST_SHARE * total):
        expected = {name: estimate.resize(part) for name, estimate in estimates.items()}
        if measured or not expected or _smallest_distance(expected, decisions) > _MIN_COMPLETABLE_DISTANCE:
            return part
        part += step
    return None


def _round_up(examples: float) -> int:
    """Return the number of examples, rounded up to a multiple of `FIRST_PART`."""
    return math.ceil(examples / FIRST_PART) * FIRST_PART


def _share(part: int, totals: Iterable[Sequence[int]]) -> float:
    """Return the fraction of a metric's examples that a part contains, for the metric with the largest fraction.

    Args:
        part: number of examples of every task in the part.
        totals: for every metric, the number of examples of every task.
    """
    shares = [sum(min(part, size) for size in sizes) / max(sum(sizes), 1) for sizes in totals]
    return max(shares, default=1.0)


def find_bias(part: Mapping[str, Estimate], whole: Mapping[str, float]) -> str:
    """Return the name of a metric whose estimate from a part contradicts the whole split, or an empty string.

    A contradiction shows that the part is not a random sample, for example because the split is sorted by class.

    Args:
        part: the estimates from a part.
        whole: the metrics of the whole split.
    """
    for name, estimate in part.items():
        value = whole.get(name, math.nan)
        tolerance = STANDARD_ERRORS * estimate.error_at(value) + 1e-6 * abs(value)
        if math.isfinite(value) and abs(estimate.mean - value) > tolerance:
            return name
    return ""
