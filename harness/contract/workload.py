"""A workload as data: targets, stages, budget, precision, and how its evaluation is sharded."""

from __future__ import annotations

from typing import Literal

from harness.contract.base import Data
from harness.contract.domains import Space

Tier = Literal["cpu", "gpu", "cluster"]
Goal = Literal["min", "max"]
Access = Literal["pool", "stream"]
Kind = Literal["matrix", "embedding", "head", "norm", "bias", "conv"]
Split = Literal["feedback", "score", "audit"]


#: The largest resolution, and the fewest evaluations before the hit, at which times still tell submissions apart.
FINE_RESOLUTION, MIN_EVALUATIONS = 0.02, 50


def is_coarse(resolution: float | None, evaluations: float | None) -> bool:
    """Whether a workload's evaluations are too few or too noisy to rank by time; `WorkloadFacts.coarse` says the same.

    Args:
        resolution: one standard error of the score metric as a share of the reference's time; None if unknown.
        evaluations: evaluations before the reference's hit; on a stream those that could end a stage; None if unknown.

    >>> is_coarse(0.016, 55), is_coarse(0.21, 61), is_coarse(0.0, 7), is_coarse(None, 90)
    (False, True, True, True)
    """
    if resolution is None or evaluations is None:
        return True
    return resolution > FINE_RESOLUTION or evaluations < MIN_EVALUATIONS


class Target(Data, frozen=True, kw_only=True):
    """A value that a metric must reach: `goal` says from which side."""

    metric: str
    goal: Goal
    value: float
    unit: str = ""

    def met(self, metrics: dict[str, float]) -> bool:
        """Whether these metrics meet the target; a missing or NaN metric does not.

        >>> Target(metric="loss", goal="min", value=2.0).met({"loss": 1.9})
        True
        """
        value = metrics.get(self.metric, float("nan"))
        return value <= self.value if self.goal == "min" else value >= self.value

    def better(self, a: float, b: float) -> bool:
        """Whether `a` is strictly better than `b`."""
        return a < b if self.goal == "min" else a > b


class Stage(Data, frozen=True, kw_only=True):
    """One task's turn in a continual stream.

    Args:
        name: what the stage is called in records.
        targets: targets that must all be met at one evaluation before the stream moves on.
        floors: targets that must hold, besides, when the last stage ends.
        max_examples: fresh examples after which the stage, and so the run, is exhausted.
        min_examples: fresh examples before which the stage does not end. Without it a stage whose target is met after a
            few steps would be too short to be remembered.
    """

    name: str
    targets: tuple[Target, ...]
    floors: tuple[Target, ...] = ()
    max_examples: int
    min_examples: int = 0


class Budget(Data, frozen=True, kw_only=True):
    """The budget of a run.

    Args:
        horizon: examples drawn (on a stream: the sum of the stages' caps).
        gradient_examples: cap on examples × backward passes.
        seconds: scored seconds allowed, by hardware class; `default` (required) is for all classes not listed.
    """

    horizon: int
    gradient_examples: int
    seconds: dict[str, float]


class Precision(Data, frozen=True, kw_only=True):
    """The numeric format of forward and backward passes. The workload sets it; it is checked at every pause."""

    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    tf32: bool = False
    compile: bool = False


class WorkloadFacts(Data, frozen=True, kw_only=True):
    """A workload as plain data: what planning, records and scores need of it without importing torch.

    Args:
        name, version: identity; the version is bumped when a change alters results.
        tier: `cpu` (≤ 2 minutes on one core), `gpu` or `cluster`.
        access: `pool` (random access, the submission may choose the order) or `stream` (one pass, staged).
        targets: all must be met at one evaluation; the first is the primary one.
        stages: for a stream; otherwise empty.
        budget: the budget of a run.
        batch_sizes: the batch sizes that a submission may choose from, the default first; each divides `eval_every`.
        eval_every: examples drawn between evaluations.
        precision: the numeric format of forward and backward passes.
        model_options: the options of the model that a submission may request, with their domains.
        example: a description of one example (`8x8 image`, `sequence of 64 characters`).
        tokens_per_example: tokens in an example (1 for images).
        scores: names of the per-example scores of the pool.
        replay_capacity: examples that the harness's replay buffer holds (streams).
        boundaries: whether stage boundaries are visible to the submission (streams).
        resolution: one standard error of the score metric as a share of the reference's time; None where unknown.
        coarse: whether evaluations are too few or too noisy (see `is_coarse`); left out of the anchored mean.
        reference: names of the runs from which the target was calculated.
        levels: further targets, `easy` and `hard`, at which tables can be recomputed.
    """

    name: str
    version: str
    tier: Tier
    access: Access = "pool"
    targets: tuple[Target, ...]
    stages: tuple[Stage, ...] = ()
    budget: Budget
    batch_sizes: tuple[int, ...]
    eval_every: int
    precision: Precision = Precision()
    model_options: Space = {}
    example: str = "example"
    tokens_per_example: int = 1
    scores: tuple[str, ...] = ()
    replay_capacity: int = 0
    boundaries: bool = True
    resolution: float | None = None
    coarse: bool = False
    reference: tuple[str, ...] = ()
    levels: dict[str, tuple[Target, ...]] = {}

    @property
    def id(self) -> str:
        """`name@version`, as records and tables name it."""
        return f"{self.name}@{self.version}"


class Shard(Data, frozen=True, kw_only=True):
    """One rank's share of the examples of an evaluation; the whole by default.

    >>> [Shard(index=k, count=2).rows(10, unit=4) for k in range(2)]
    [range(0, 4), range(4, 10)]
    """

    index: int = 0
    count: int = 1

    def rows(self, n: int, unit: int = 1) -> range:
        """The indices of this shard among `n` examples, consecutive; empty where there are fewer pieces than ranks.

        Examples are cut only between pieces of `unit` examples, so that a result per piece does not depend on the
        number of ranks.
        """
        pieces = -(-n // unit)
        start, stop = (pieces * k // self.count * unit for k in (self.index, self.index + 1))
        return range(min(start, n), min(stop, n))


#: All examples, as one rank evaluates them.
WHOLE = Shard()
