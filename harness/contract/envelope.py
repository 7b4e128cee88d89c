"""The envelope of a reference as plain data: its final metric at several horizons, on several seeds."""

from __future__ import annotations

import math
from itertools import pairwise

from harness.contract.base import Data
from harness.contract.domains import HParams
from harness.contract.workload import Goal


class EnvelopeHorizon(Data, frozen=True, kw_only=True):
    """The runs of the reference with one horizon.

    Args:
        examples: the horizon, the number of examples at which the runs end.
        hparams: hyperparameters of the runs. The learning rate was chosen for this horizon on other seeds.
        metrics: primary metric at the end of each run. The value with index k belongs to seed k at every horizon.
        runs: run IDs in the order of `metrics`.
    """

    examples: int
    hparams: HParams
    metrics: tuple[float, ...]
    runs: tuple[str, ...] = ()


class EnvelopeHeader(Data, frozen=True, kw_only=True):
    """The fields that every file of an envelope begins with.

    Args:
        schema: version of the file format.
        workload: `name@version` of the workload.
        metric: name of the primary metric.
        goal: direction of the primary metric, `min` or `max`.
        budget: budget of the compared submissions, in examples. The horizons lie around it.
        reference: `name@version` of the reference.
        hardware: hardware class of the runs.
        torch: version of torch.
    """

    schema: int = 1
    workload: str
    metric: str
    goal: Goal
    budget: int
    reference: str
    hardware: str
    torch: str = ""


class ReferenceEnvelope(EnvelopeHeader, frozen=True, kw_only=True):
    """The final metric of the reference as a function of its horizon, frozen with a version of a workload.

    `budget` is the workload's budget.

    Args:
        horizons: the horizons, in increasing order. All have the same number of seeds, at least two. The horizon
            `budget` may have more seeds, because its runs determine the multiplier of the reference itself.
        checks: primary metric of further runs with the horizon `budget`. They check the envelope on other seeds, and
            the envelope does not depend on them.
        check_runs: run IDs of the runs in `checks`.
        tuning: run IDs of the runs that chose the learning rates.
    """

    horizons: tuple[EnvelopeHorizon, ...]
    checks: tuple[float, ...] = ()
    check_runs: tuple[str, ...] = ()
    tuning: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        seeds = {len(horizon.metrics) for horizon in self.horizons if horizon.examples != self.budget}
        if len(seeds) != 1 or min(seeds) < 2 or self.budget_seeds < min(seeds):
            raise ValueError(
                "an envelope has at least two horizons with at least two seeds, equally many at each; only the budget "
                "may have more"
            )
        numbers: list[float] = [self.budget, *(horizon.examples for horizon in self.horizons)]
        numbers += [metric for horizon in self.horizons for metric in horizon.metrics]
        if not all(0 < number < math.inf for number in numbers):
            raise ValueError("a budget, horizon or metric is not a positive number")
        if not all(shorter.examples < longer.examples for shorter, longer in pairwise(self.horizons)):
            raise ValueError("the horizons do not increase")

    @property
    def seeds(self) -> int:
        """The number of seeds at each horizon; the budget may have more."""
        return min(len(horizon.metrics) for horizon in self.horizons)

    @property
    def budget_seeds(self) -> int:
        """The number of seeds at the budget, or at every horizon if the budget is not one of the horizons."""
        at_budget = [len(horizon.metrics) for horizon in self.horizons if horizon.examples == self.budget]
        return at_budget[0] if at_budget else self.seeds
