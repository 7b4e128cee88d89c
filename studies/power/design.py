"""Read the design of the study from `design.yaml`: its arms, workloads and seeds.

An arm is a submission with a tuned learning rate. Each workload has two budgets: its gate budget (of `bench gate`) and
its full budget. "The study" is this whole experiment. In rulesets and runs, a study is one repetition with its own
seeds.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import msgspec
import yaml

from harness.contract.base import Data
from harness.contract.power import PowerBudget
from harness.contract.ruleset import Ruleset
from harness.contract.workload import Access
from harness.planning.rulesets import ruleset

#: The budgets of a workload, in the order in which they run.
BUDGETS: tuple[PowerBudget, ...] = ("gate", "full")

FOLDER = Path(__file__).parent
DESIGN = FOLDER / "design.yaml"


class PowerDesign(Data, frozen=True, kw_only=True):
    """The design of the study, which is fixed before the first run.

    Args:
        ruleset: the ruleset of every run. `ruleset.trials` is the number of learning rates that are tried for an arm.
            `ruleset.studies` is the number of fresh seeds at the gate budget.
        root_seed: the root seed, from which all seeds are derived.
        full_seeds: number of fresh seeds at the full budget. These seeds differ from those at the gate budget.
        arms: access kind of a workload (pool or stream) -> the arms on such workloads.
        workloads: names of the workloads, in the order in which they run.
    """

    ruleset: Ruleset
    root_seed: int
    full_seeds: int
    arms: dict[Access, tuple[str, ...]]
    workloads: tuple[str, ...]

    def study_indices(self, budget: PowerBudget) -> range:
        """Return the indices of the studies (repetitions) that run at a budget. Each study has its own seeds."""
        gate = self.ruleset.studies
        return range(gate) if budget == "gate" else range(gate, gate + self.full_seeds)


@functools.cache
def read_design(path: Path = DESIGN) -> PowerDesign:
    """Read the design in a YAML file.

    Raises:
        UsageError: the ruleset of the design does not exist or is invalid.
        msgspec.ValidationError: a field is missing or unknown, or has the wrong type.
    """
    content: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    rules = ruleset(str(path.with_name(content["ruleset"])))
    return msgspec.convert({**content, "ruleset": rules}, PowerDesign)
