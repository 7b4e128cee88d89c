"""When the trials of a ruleset end: one object per kind of stopping, named by the ruleset's `stopping`.

A new kind is one class here and its name in `STOPPING_RULES`; planning and the worker ask the object and never its
name. Its results are either times to target, which the leaderboard ranks, or have tables of their own
(`has_own_tables`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import ClassVar

from harness.contract.record import Record
from harness.contract.run import Ruleset
from harness.contract.workload import WorkloadFacts
from harness.errors import unknown_name_error
from harness.scoring import anytime, fixed_stop
from harness.scoring.result_table import ResultTable


class StoppingRule:
    """Trials end at the first evaluation that meets the target, or at the end of the budget (`first-hit`).

    Base of all other kinds, which override what differs.
    """

    name: ClassVar[str] = "first-hit"
    #: Whether results are something else than a time to target and are tabulated apart from the leaderboard.
    has_own_tables: ClassVar[bool] = False
    #: The key of these results in JSON; only with `has_own_tables`.
    json_key: ClassVar[str] = ""
    #: Whether tuning trials over the whole budget come first, from which the stop of all others is chosen.
    chooses_stop: ClassVar[bool] = False

    def find_problem(self, ruleset: Ruleset) -> str:
        """Why a ruleset cannot use this kind of stopping; empty when it can."""
        return ""

    def exclude(self, facts: WorkloadFacts) -> str:
        """Why a workload cannot be run under this kind of stopping; empty when it can."""
        return ""

    def stop(self, facts: WorkloadFacts, ruleset: Ruleset) -> int | None:
        """Examples drawn at which every trial ends, at an evaluation; None to end at the first hit."""
        return None

    def horizon(self, facts: WorkloadFacts, seed: int, study: int) -> int | None:
        """The budget of a study in examples, where it is not the workload's own; equal for every submission.

        Args:
            seed: root of all seeds.
        """
        return None

    def reference_horizons(self, facts: WorkloadFacts) -> tuple[int, ...]:
        """Budgets in examples at which the reference is run for comparison, before everything else."""
        return ()

    def choose_stop(self, tuning: Sequence[Record], studies: int) -> int:
        """The stop in examples that tuning trials suggest for so many fresh studies; only with `chooses_stop`."""
        raise AssertionError(f"{self.name} chooses no stop")

    def tabulate(self, records: Sequence[Record]) -> list[ResultTable]:
        """Tables of the results; only with `has_own_tables`.

        Args:
            records: of any kind of stopping; those of other kinds are left out.
        """
        raise AssertionError(f"results of {self.name} are in the leaderboard")


class StopAtShare(StoppingRule):
    """Trials end at `stop_share` of the budget, target or not (`share`)."""

    name = "share"

    def stop(self, facts: WorkloadFacts, ruleset: Ruleset) -> int | None:
        return int(facts.budget.horizon * ruleset.stop_share / facts.eval_every + 1e-9) * facts.eval_every


class _OneTrialOnPools(StoppingRule):
    """What stopping at a point that no target decides has in common."""

    has_own_tables = True

    def find_problem(self, ruleset: Ruleset) -> str:
        return "" if ruleset.trials == 1 else f"stopping: {self.name} takes one trial"

    def exclude(self, facts: WorkloadFacts) -> str:
        return "a stream's stages end by their targets, so it has no stop to choose or draw" if facts.stages else ""


class ChosenStop(_OneTrialOnPools):
    """Trials on fresh seeds end at a stop that was chosen on tuning seeds (`chosen`); see `scoring.fixed_stop`."""

    name = fixed_stop.STOPPING
    json_key = "fixed_stop"
    chooses_stop = True

    def find_problem(self, ruleset: Ruleset) -> str:
        if ruleset.tuning_studies < 2:
            return "stopping: chosen needs tuning_studies of at least 2"
        return super().find_problem(ruleset)

    def choose_stop(self, tuning: Sequence[Record], studies: int) -> int:
        return fixed_stop.choose_stop(tuning, studies)

    def tabulate(self, records: Sequence[Record]) -> list[ResultTable]:
        return fixed_stop.tabulate_claims(fixed_stop.claims(records))


class DrawnBudget(_OneTrialOnPools):
    """Trials end at a budget that is drawn for each study and hidden (`drawn`); see `scoring.anytime`."""

    name = anytime.STOPPING
    json_key = "anytime"

    def horizon(self, facts: WorkloadFacts, seed: int, study: int) -> int | None:
        digest = hashlib.sha256(f"{seed}/{facts.name}/{study}/budget".encode()).digest()
        return anytime.drawn_horizon(facts.budget.horizon, facts.eval_every, int.from_bytes(digest[:4]) / 2**32)

    def reference_horizons(self, facts: WorkloadFacts) -> tuple[int, ...]:
        return anytime.envelope_horizons(facts.budget.horizon, facts.eval_every)

    def tabulate(self, records: Sequence[Record]) -> list[ResultTable]:
        return anytime.tabulate_scores(anytime.scores(records))


#: Every kind of stopping by the name that rulesets and records give it.
STOPPING_RULES: Mapping[str, StoppingRule] = {
    rule.name: rule for rule in (StoppingRule(), StopAtShare(), ChosenStop(), DrawnBudget())
}


def stopping_rule(name: str) -> StoppingRule:
    """The kind of stopping of that name.

    Raises:
        UsageError: there is none.
    """
    if name not in STOPPING_RULES:
        raise unknown_name_error("kind of stopping", name, STOPPING_RULES)
    return STOPPING_RULES[name]
