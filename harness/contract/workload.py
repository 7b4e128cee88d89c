"""The data types of a workload: targets, stages, budget, precision, and the shards of an evaluation."""

from __future__ import annotations

from typing import Literal

import msgspec

from harness.contract.base import Count, Data, Version
from harness.contract.domains import Space

Tier = Literal["cpu", "gpu", "cluster"]
Goal = Literal["min", "max"]
Access = Literal["pool", "stream"]
#: Kind of a parameter of the model. An optimizer can treat parameters of different kinds differently.
Kind = Literal["matrix", "embedding", "head", "norm", "bias", "conv"]
Split = Literal["feedback", "score", "audit"]


#: If a workload comes from a file of the user, its version contains a hash of its code, such as `1#0f3a9c2e`. This sign
#: separates the two.
SOURCE_MARK = "#"
#: Largest value of the resolution (see `is_coarse`) with which a workload can rank submissions by time.
FINE_RESOLUTION = 0.02
#: Minimum number of the reference's evaluations before its hit, on a workload that can rank submissions by time.
MIN_EVALUATIONS = 50


def is_coarse(resolution: float | None, evaluations: float | None) -> bool:
    """Return whether a workload's evaluations are too few or too noisy to rank submissions by time.

    Args:
        resolution: relative error of the reference's examples to the target; None if unknown. At 0.02, one standard
            error of the metric on the split `score` shifts the hit by 2 % of these examples.
        evaluations: number of evaluations before the reference's hit. None if unknown. On a stream, evaluations
            before the minimum number of examples of a stage are not counted.

    >>> is_coarse(0.016, 55), is_coarse(0.21, 61), is_coarse(0.0, 7), is_coarse(None, 90)
    (False, True, True, True)
    """
    if resolution is None or evaluations is None:
        return True
    return resolution > FINE_RESOLUTION or evaluations < MIN_EVALUATIONS


class Target(Data, frozen=True, kw_only=True):
    """A value that a metric must reach.

    Args:
        metric: name of the metric.
        goal: `min` if the metric must be at most `value`, `max` if it must be at least `value`.
        value: the value.
        unit: unit of the value, for tables; "" if there is none.
    """

    metric: str
    goal: Goal
    value: float
    unit: str = ""

    def met(self, metrics: dict[str, float]) -> bool:
        """Return whether metrics meet the target. A missing or NaN metric does not meet the target.

        >>> Target(metric="loss", goal="min", value=2.0).met({"loss": 1.9})
        True
        """
        value = metrics.get(self.metric, float("nan"))
        return value <= self.value if self.goal == "min" else value >= self.value

    def better(self, a: float, b: float) -> bool:
        """Return whether `a` is strictly better than `b`."""
        return a < b if self.goal == "min" else a > b


class Stage(Data, frozen=True, kw_only=True):
    """The part of a stream in which one task is trained.

    Args:
        name: name of the stage in records.
        targets: targets of the stage. After `min_examples`, the stage ends at the first evaluation that meets all of
            them.
        floors: further targets for earlier tasks, which must be met at the end of the last stage.
        max_examples: maximum number of examples drawn in the stage. If it is reached before the stage
            ends, the run ends with the status `exhausted`.
        min_examples: minimum number of examples drawn in the stage. Without a minimum, a stage could end after a few
            steps, which would be too short to measure forgetting.
    """

    name: str
    targets: tuple[Target, ...]
    floors: tuple[Target, ...] = ()
    max_examples: Count
    min_examples: Count = 0


class Budget(Data, frozen=True, kw_only=True):
    """The budget of a run.

    Args:
        horizon: number of examples that a run may draw; on a stream, the sum of the stages' maxima.
        gradient_examples: maximum number of examples × backward passes.
        seconds: maximum number of scored seconds by hardware class. The key `default` is required, and applies to all
            hardware classes that are not keys.
    """

    horizon: Count
    gradient_examples: Count
    seconds: dict[str, float]


class Precision(Data, frozen=True, kw_only=True):
    """The numeric settings of forward and backward passes, which the workload determines.

    Args:
        dtype: autocast dtype of the passes; `float32` for no autocast.
        tf32: whether float32 matrix products may use TF32.
        compile: whether the loss is compiled with `torch.compile`.
    """

    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    tf32: bool = False
    compile: bool = False


class WorkloadFacts(Data, frozen=True, kw_only=True):
    """A workload as plain data. Planning and scoring need only these data, so they do not import torch.

    Args:
        name: name of the workload.
        version: version of the workload. It must increase when a change alters results.
        tier: `cpu` (a run takes minutes on one core), `gpu` (at most a day on a GPU) or `cluster` (longer).
        access: `pool` (random access, the submission may choose the order) or `stream` (one pass through stages).
        targets: the targets. A hit is an evaluation that meets all of them. The first is the primary target.
        stages: the stages of a stream; empty on a pool.
        budget: the budget of a run.
        batch_sizes: the batch sizes from which a submission may choose. The first is the default. Each size divides
            `eval_every`.
        eval_every: number of examples drawn between two evaluations.
        precision: the numeric settings of forward and backward passes.
        model_options: domains of the model options that a submission may request, by name.
        example: description of one example (`8x8 image`, `sequence of 64 characters`).
        tokens_per_example: number of tokens in an example (1 for images).
        scores: names of the quality scores that the pool provides for each training example.
        replay_capacity: number of examples that the replay buffer can hold; 0 for no replay buffer.
        boundaries: whether the submission can see the stage boundaries of a stream.
        resolution: relative error of the reference's examples to the target; None if unknown. At 0.02, one standard
            error of the metric shifts the hit by 2 % of these examples.
        coarse: whether the evaluations are too few or too noisy to rank submissions by time (see `is_coarse`). The
            anchored score does not include coarse workloads.
        reference: paths of the calibrations from which the target was calculated. (The name does not mean the reference
            submission.)
        levels: further targets by level (`easy`, `hard`). Tables can be recomputed with these targets.
    """

    name: str
    version: Version
    tier: Tier
    access: Access = "pool"
    targets: tuple[Target, ...]
    stages: tuple[Stage, ...] = ()
    budget: Budget
    batch_sizes: tuple[Count, ...]
    eval_every: Count
    precision: Precision = Precision()
    model_options: Space = {}
    example: str = "example"
    tokens_per_example: Count = 1
    scores: tuple[str, ...] = ()
    replay_capacity: Count = 0
    boundaries: bool = True
    resolution: float | None = None
    coarse: bool = False
    reference: tuple[str, ...] = ()
    levels: dict[str, tuple[Target, ...]] = {}

    @property
    def id(self) -> str:
        """`name@version`, the identifier in records and tables."""
        return f"{self.name}@{self.version}"


def scale_budget(facts: WorkloadFacts, factor: float) -> WorkloadFacts:
    """Return the facts with the budget and the maximum lengths of stages multiplied by a factor."""
    budget = facts.budget
    stages = tuple(
        msgspec.structs.replace(stage, max_examples=round(stage.max_examples * factor)) for stage in facts.stages
    )
    return msgspec.structs.replace(
        facts,
        stages=stages,
        budget=msgspec.structs.replace(
            budget,
            horizon=round(budget.horizon * factor),
            gradient_examples=round(budget.gradient_examples * factor),
            seconds={name: seconds * factor for name, seconds in budget.seconds.items()},
        ),
    )


class Shard(Data, frozen=True, kw_only=True):
    """The part of the evaluation examples that one rank evaluates. By default, it contains all examples.

    A rank is one of several processes that share a run. Each rank has its own device. An evaluation may be restricted
    to a window, a part of the split such as the examples 0 to 4. The ranks divide the examples of the window among
    them. If a window begins where another one ends, the two have no example in common. On a stream, the window applies
    to every task.

    Instead of a window, a shard can have a list of chosen examples. `harness.api.evaluation_rows` returns them.

    Args:
        index: index of the shard, from 0.
        count: number of shards.
        start: position of the window's first example.
        stop: position after the window's last example; None for the end of the split.
        chosen: positions of the chosen examples in the stored order of the split; None for a window.

    >>> [Shard(index=k, count=2).rows(10, unit=4) for k in range(2)]
    [range(0, 4), range(4, 10)]
    >>> Shard(stop=5).rows(10), Shard(start=5).rows(10), Shard(stop=5).rows(10, unit=4), Shard(start=5).rows(10, unit=4)
    (range(0, 5), range(5, 10), range(0, 8), range(8, 10))
    """

    index: int = 0
    count: int = 1
    start: int = 0
    stop: int | None = None
    chosen: tuple[int, ...] | None = None

    @property
    def windowed(self) -> bool:
        """Whether the shard is taken from a window or from chosen examples, and not from the whole split."""
        return self.start > 0 or self.stop is not None or self.chosen is not None

    def rows(self, n: int, unit: int = 1) -> range:
        """Return the consecutive indices of this shard's examples. The range may be empty.

        If the shard has a list of chosen examples, the indices are positions in this list, and `n` is its length.

        Args:
            n: number of examples in total.
            unit: number of examples in a piece. A piece is never divided between shards, so its result does not depend
                on the number of shards. The limits of a window are rounded up to a multiple of `unit`.
        """
        pieces = -(-n // unit)
        first = min(-(-self.start // unit), pieces)
        last = pieces if self.stop is None else max(first, min(-(-self.stop // unit), pieces))
        start, stop = ((first + (last - first) * k // self.count) * unit for k in (self.index, self.index + 1))
        return range(min(start, n), min(stop, n))


#: The shard of a single rank: all examples.
WHOLE = Shard()


def default_device(facts: WorkloadFacts) -> str:
    """Return the device on which a workload runs by default, `cpu` or `cuda`."""
    return "cpu" if facts.tier == "cpu" else "cuda"
