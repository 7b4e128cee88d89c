"""The data type of a ruleset: how trials are planned, when they end, and whether tables rank them."""

from __future__ import annotations

from typing import Literal

from harness.contract.base import Count, Data, Version


class Ruleset(Data, frozen=True, kw_only=True):
    """The rules by which trials are planned, stopped and ranked. Every record contains its complete ruleset.

    Args:
        name: name of the ruleset.
        version: version of the ruleset.
        summary: description in one line.
        trials: number of hyperparameter settings that are tried in each study.
        studies: number of scored studies.
        tuning_studies: number of studies that run before the scored studies, to choose a setting or a stop (the number
            of examples at which runs end). Their seeds differ from those of the scored studies.
        common_tuning_seeds: whether all tuning trials of a study have the same seeds. The settings are then compared by
            runs with common random numbers. If false, each trial has its own seeds.
        budget_factor: factor by which the workload's budget is multiplied.
        tuning: how settings are chosen. `defaults`: the submission's defaults. `space`: drawn quasi-randomly from the
            submission's search space. `rates`: the defaults, except that each setting has a different learning rate.
            Neighbouring learning rates differ by a constant factor.
        hides: names from `NEEDS` that the ruleset does not provide, such as `horizon` in `anytime`.
        stopping: name of the `StoppingRule` that decides when a run ends. `first-hit`: at the first hit. `share`: at
            the fraction `stop_share` of the horizon, whether or not the target is met. `chosen`: at a stop that was
            chosen from the tuning studies. `drawn`: at a random budget, which is drawn for each study.
            `budget`: at the end of the workload's budget, with a setting that was chosen from the tuning studies.
        stop_share: fraction of the horizon at which a run ends if `stopping` is `share`. The number of examples is
            rounded down to a multiple of the workload's `eval_every`.
        ranked: whether tables rank the submissions.
    """

    name: str
    version: Version
    summary: str
    trials: Count
    studies: Count
    tuning_studies: Count = 0
    common_tuning_seeds: bool = False
    budget_factor: float = 1.0
    tuning: Literal["defaults", "space", "rates"] = "defaults"
    hides: frozenset[str] = frozenset()
    stopping: str = "first-hit"
    stop_share: float = 1.0
    ranked: bool = False

    @property
    def id(self) -> str:
        """`name@version` of the ruleset."""
        return f"{self.name}@{self.version}"
