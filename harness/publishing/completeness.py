"""Find the missing trials of a group of records, and the command that runs them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import NamedTuple

from harness.contract.limits import check_number_of_trials
from harness.contract.record import is_finished
from harness.contract.run import Purpose, RunSpec
from harness.planning.commands import cost_command, study_command
from harness.planning.stopping_rules import stopping_rule
from harness.publishing.selection import TrialGroup, group_key


class TrialIndex(NamedTuple):
    """The position of a trial among the trials that a ruleset requires.

    `horizon` is the horizon in examples of a run for the reference's envelope. It is None for other trials.
    """

    purpose: Purpose
    study: int
    trial: int
    horizon: int | None = None

    def __str__(self) -> str:
        purpose = "" if self.purpose == "score" else f"{self.purpose} "
        horizon = f", horizon {self.horizon:,} examples" if self.horizon else ""
        return f"{purpose}study {self.study}, trial {self.trial}{horizon}"


#: Function that returns the number of settings in a submission's own list; None for a submission with a search space.
ListedSettings = Callable[[RunSpec], int | None]


@dataclass(frozen=True, kw_only=True)
class Gap:
    """The trials that a group lacks.

    Args:
        missing: the trials that have no record or have not ended.
        expected: number of trials that the group must have.
        command: the command that runs the missing trials. It keeps the finished runs of the runs folder.
        repeated: number of published trials without a record in the runs folder. The command also runs these trials.
    """

    missing: tuple[TrialIndex, ...]
    expected: int
    command: str
    repeated: int = 0


def find_gap(
    group: TrialGroup, runs: str, listed_settings: ListedSettings, published: Iterable[RunSpec] = ()
) -> Gap | None:
    """Return the trials that a group lacks; None if the group is complete.

    A group may have more scored or tuning studies than its ruleset requires. It must then also have all trials of the
    additional studies. A group of runs for the reference's envelope must have every study at each of its horizons. The
    records do not state the horizons that have no run (see `StoppingRule.find_envelope_problem`). A group of runs of
    `bench cost` must have every study.

    Args:
        group: the records.
        runs: the runs folder, as the user names it.
        listed_settings: see `ListedSettings`.
        published: specifications of published records. A trial of the group with such a record is not missing.

    Raises:
        UsageError: the records call for more trials than a plan may have. Records may come from somebody else.
    """
    known = [*(run.record.spec for run in group.runs), *(spec for spec in published if group_key(spec) == group.key)]
    unfinished = {_index(run.record.spec) for run in group.runs if not is_finished(run.record.status)}
    spec = group.spec
    own_purpose: Purpose = spec.purpose if spec.purpose in ("envelope", "cost") else "score"
    studies = _studies(known, own_purpose, spec.ruleset.studies)
    tuning_studies = _studies(known, "tuning", spec.ruleset.tuning_studies)
    if group.key.is_envelope:
        horizons = sorted({other.workload.facts.budget.horizon for other in known})
        check_number_of_trials(studies * len(horizons))
        expected = [TrialIndex("envelope", study, 0, horizon) for study in range(studies) for horizon in horizons]
    elif own_purpose == "cost":
        check_number_of_trials(studies)
        expected = [TrialIndex("cost", study, 0) for study in range(studies)]
    else:
        expected = _expected_trials(spec, studies, tuning_studies, listed_settings(spec))
    finished = {_index(other) for other in known} - unfinished
    missing = tuple(index for index in expected if index not in finished)
    if not missing:
        return None
    local = {_index(run.record.spec) for run in group.runs}
    repeated = len(set(expected) - set(missing) - local)
    if own_purpose == "cost":
        command = cost_command(spec, studies, runs)
    else:
        command = study_command(spec, studies, runs, tuning_studies)
    return Gap(missing=missing, expected=len(expected), command=command, repeated=repeated)


def _studies(specs: Iterable[RunSpec], purpose: Purpose, least: int) -> int:
    """Return the number of studies of a purpose: at least `least`, and enough for the index of every trial."""
    return max([least, *(1 + spec.study for spec in specs if spec.purpose == purpose)])


def _index(spec: RunSpec) -> TrialIndex:
    horizon = spec.workload.facts.budget.horizon if spec.purpose == "envelope" else None
    return TrialIndex(spec.purpose, spec.study, spec.trial, horizon)


def _expected_trials(spec: RunSpec, studies: int, tuning_studies: int, listed_settings: int | None) -> list[TrialIndex]:
    """Return the trials that the ruleset requires, as planning makes them (`harness.planning.trials`)."""
    ruleset = spec.ruleset
    trials = ruleset.trials
    if ruleset.tuning == "space" and listed_settings:
        trials = min(trials, listed_settings)
    if ruleset.tuning == "rates" and "lr" not in spec.hparams:
        trials = 1
    scored_trials = min(trials, stopping_rule(ruleset.stopping).scored_trials(ruleset))
    purposes: list[tuple[Purpose, int, int]] = [
        ("tuning", tuning_studies, trials),
        ("score", studies, scored_trials),
    ]
    for _, count, trials_per_study in purposes:
        check_number_of_trials(max(count, 0) * max(trials_per_study, 1))
    return [
        TrialIndex(purpose, study, trial)
        for purpose, count, trials_per_study in purposes
        for study in range(count)
        for trial in range(trials_per_study)
    ]
