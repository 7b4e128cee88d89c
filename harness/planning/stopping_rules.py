"""Decide when the trials of a ruleset end.

A ruleset names its kind of stopping, such as `first-hit`, in its field `stopping`. Each kind is a class in this module
with one object in `STOPPING_RULES`. To add a kind, add a class and its object. Other code calls the methods of the
object and never compares names. Some kinds of stopping yield times to target, which the leaderboard ranks. The results
of other kinds are shown in separate tables (`has_own_tables`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import ClassVar

from harness.contract.domains import HParams
from harness.contract.record import Record
from harness.contract.ruleset import Ruleset
from harness.contract.workload import WorkloadFacts
from harness.errors import unknown_name_error
from harness.scoring import anytime, fixed_stop, multiplier_tables, multipliers
from harness.scoring.result_table import ResultTable, TableContext


class StoppingRule:
    """Trials end at the first evaluation that meets the target, or at the end of the budget (`first-hit`).

    This class is also the base class of the other kinds of stopping.
    """

    name: ClassVar[str] = "first-hit"
    #: Whether results are shown in separate tables instead of the leaderboard, because they are not times to target.
    has_own_tables: ClassVar[bool] = False
    #: The key of the results in JSON. It is used only if `has_own_tables` is true.
    json_key: ClassVar[str] = ""
    #: Whether tuning trials run first, each over the whole budget. Their records determine the stop of later trials.
    chooses_stop: ClassVar[bool] = False
    #: Whether tuning trials run first, each over the whole budget. Their records determine the setting of later trials.
    chooses_setting: ClassVar[bool] = False
    #: Whether every schedule is planned for the whole budget: the hyperparameter `horizon_fraction` is 1 in all trials.
    plans_to_end: ClassVar[bool] = False

    def find_problem(self, ruleset: Ruleset) -> str:
        """Return why a ruleset cannot use this kind of stopping; "" if there is no problem."""
        return ""

    def exclusion_reason(self, facts: WorkloadFacts) -> str:
        """Return why a workload cannot be run under this kind of stopping; "" if there is no reason."""
        return ""

    def stop(self, facts: WorkloadFacts, ruleset: Ruleset) -> int | None:
        """Return the number of examples after which every trial ends. It is a multiple of `eval_every`.

        None means that another method determines the end: `choose_stop`, or `horizon`. If neither does, a trial ends at
        its first hit.
        """
        return None

    def horizon(self, facts: WorkloadFacts, seed: int, study: int) -> int | None:
        """Return the horizon of a study in examples, or None for the workload's horizon.

        The horizon is the same for all submissions.

        Args:
            facts: the workload.
            seed: the number that determines the random choices of the study (`PlanSettings.study_seed`).
            study: index of the study.
        """
        return None

    def reference_horizons(self, facts: WorkloadFacts) -> tuple[int, ...]:
        """Return the horizons of the reference's runs for an envelope, in examples; empty if no envelope is needed."""
        return ()

    def find_envelope_problem(self, runs: Sequence[Record]) -> str:
        """Return why the reference's runs on a workload give no envelope; "" if they do.

        This method is called only if `reference_horizons` is not empty.

        Args:
            runs: records with the purpose `envelope` on one workload; not empty.
        """
        raise AssertionError(f"{self.name} needs no envelope")

    def choose_stop(self, tuning: Sequence[Record], studies: int) -> int:
        """Choose the stop, in examples, from the records of tuning trials.

        This method is called only if `chooses_stop` is true.

        Args:
            tuning: records of the tuning trials.
            studies: number of studies that will run to the stop.
        """
        raise AssertionError(f"{self.name} does not choose a stop")

    def choose_setting(self, tuning: Sequence[Record]) -> HParams:
        """Choose the hyperparameters from the records of tuning trials.

        This method is called only if `chooses_setting` is true.

        Args:
            tuning: records of the tuning trials; not empty.
        """
        raise AssertionError(f"{self.name} does not choose a setting")

    def scored_trials(self, ruleset: Ruleset) -> int:
        """Return the number of trials in each scored study."""
        return 1 if self.chooses_setting else ruleset.trials

    def tabulate(self, records: Sequence[Record], context: TableContext) -> list[ResultTable]:
        """Return the tables of the results. This method is called only if `has_own_tables` is true.

        Args:
            records: records under all kinds of stopping. Records under other kinds than this one are ignored.
            context: what the tables need besides the records.
        """
        raise AssertionError(f"results of {self.name} are in the leaderboard")


class StopAtFraction(StoppingRule):
    """Trials end at the fraction `stop_share` of the budget, whether or not they meet the target (`share`)."""

    name = "share"

    def stop(self, facts: WorkloadFacts, ruleset: Ruleset) -> int | None:
        return int(facts.budget.horizon * ruleset.stop_share / facts.eval_every + 1e-9) * facts.eval_every


class _OneTrialOnPools(StoppingRule):
    """Base class of kinds of stopping that require one trial per study and exclude streams."""

    has_own_tables = True

    def find_problem(self, ruleset: Ruleset) -> str:
        return "" if ruleset.trials == 1 else f"stopping: {self.name} requires trials: 1"

    def exclusion_reason(self, facts: WorkloadFacts) -> str:
        return "the results of this ruleset are not defined for streams" if facts.stages else ""


class ChosenStop(_OneTrialOnPools):
    """Trials end at a stop that was chosen from trials with tuning seeds (`chosen`, see `scoring.fixed_stop`)."""

    name = fixed_stop.STOPPING
    json_key = "fixed_stop"
    chooses_stop = True

    def find_problem(self, ruleset: Ruleset) -> str:
        if ruleset.tuning_studies < 2:
            return "stopping: chosen requires tuning_studies of at least 2"
        return super().find_problem(ruleset)

    def choose_stop(self, tuning: Sequence[Record], studies: int) -> int:
        return fixed_stop.choose_stop(tuning, studies)

    def tabulate(self, records: Sequence[Record], context: TableContext) -> list[ResultTable]:
        return fixed_stop.tabulate_claims(fixed_stop.claims(records))


class DrawnBudget(_OneTrialOnPools):
    """Trials end at a hidden budget that is drawn at random for each study (`drawn`, see `scoring.anytime`)."""

    name = anytime.STOPPING
    json_key = "anytime"

    def horizon(self, facts: WorkloadFacts, seed: int, study: int) -> int | None:
        digest = hashlib.sha256(f"{seed}/{facts.name}/{study}/budget".encode()).digest()
        return anytime.drawn_horizon(facts.budget.horizon, facts.eval_every, int.from_bytes(digest[:4]) / 2**32)

    def reference_horizons(self, facts: WorkloadFacts) -> tuple[int, ...]:
        return anytime.envelope_horizons(facts.budget.horizon, facts.eval_every)

    def find_envelope_problem(self, runs: Sequence[Record]) -> str:
        try:
            anytime.fit_envelope(runs)
        except ValueError as error:
            return str(error)
        return ""

    def tabulate(self, records: Sequence[Record], context: TableContext) -> list[ResultTable]:
        return anytime.tabulate_scores(anytime.scores(records))


class EndOfBudget(StoppingRule):
    """Trials end at the end of the budget, whether or not they meet the target (`budget`, see `scoring.multipliers`).

    The setting with the best final metric in the tuning studies runs in the scored studies.
    """

    name = multipliers.STOPPING
    has_own_tables = True
    json_key = "fixed_budget"
    chooses_setting = True
    plans_to_end = True

    def find_problem(self, ruleset: Ruleset) -> str:
        return "" if ruleset.tuning_studies else "stopping: budget requires tuning_studies of at least 1"

    def stop(self, facts: WorkloadFacts, ruleset: Ruleset) -> int | None:
        return facts.budget.horizon

    def choose_setting(self, tuning: Sequence[Record]) -> HParams:
        return multipliers.choose_setting(tuning)

    def tabulate(self, records: Sequence[Record], context: TableContext) -> list[ResultTable]:
        boards = multipliers.score_boards(records, context.envelopes, context.installed, context.attestations)
        return multiplier_tables.tabulate_boards(boards)


#: Every kind of stopping, by its name in rulesets and records.
STOPPING_RULES: Mapping[str, StoppingRule] = {
    rule.name: rule for rule in (StoppingRule(), StopAtFraction(), ChosenStop(), DrawnBudget(), EndOfBudget())
}


def stopping_rule(name: str) -> StoppingRule:
    """Return the kind of stopping with a name.

    Raises:
        UsageError: no kind of stopping has this name.
    """
    if name not in STOPPING_RULES:
        raise unknown_name_error("kind of stopping", name, STOPPING_RULES)
    return STOPPING_RULES[name]
