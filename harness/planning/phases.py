"""Plan the trials of several submissions on several workloads, in one or two phases.

A phase of a plan is a set of trials that need no records of each other. Most rulesets have one phase. The rulesets
`fixed-stop` and `fixed-budget` have two:

1. Tuning trials. Their records determine the stop (`fixed-stop`) or the setting (`fixed-budget`) of the second phase.
2. Scored trials.

The ruleset `anytime` has one phase. It begins with runs of the reference at several horizons, which provide the
envelope (the reference's metric as a function of its budget).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import msgspec

from harness.contract.domains import HParams
from harness.contract.entries import SubmissionEntry, WorkloadEntry
from harness.contract.record import Record
from harness.contract.run import RunSpec
from harness.errors import BenchError, UsageError
from harness.planning import compose
from harness.planning.stopping_rules import stopping_rule
from harness.planning.trials import PlanSettings, apply_budget, plan_trials


@dataclass(frozen=True, kw_only=True)
class SubmissionOnWorkload:
    """A submission, a workload on which it runs, and the settings of its trials.

    Args:
        submission: the submission.
        workload: the workload.
        settings: the ruleset and the options of the trials.
        point: text that names the point of a grid in messages; "" without a grid.
    """

    submission: SubmissionEntry
    workload: WorkloadEntry
    settings: PlanSettings
    point: str = ""

    @property
    def studies(self) -> int:
        """Number of independent repetitions that are scored."""
        return self.settings.studies or self.settings.ruleset.studies


@dataclass(frozen=True, kw_only=True)
class PhasedPlan:
    """The trials of the first phase, and the pairs that also have trials in a second phase.

    A pair is a submission and a workload on which the submission is to run. The second phase depends on the records of
    the first phase. Iterating over a plan yields the trials of the first phase.

    Args:
        phase1: the trials of the first phase, in the order in which they should run. The submissions alternate, so that
            a change of the machine's speed affects all submissions alike.
        skipped: one-line messages with reasons, one for each pair that cannot run, and one for each workload that is
            left out because its data are missing.
        missing: errors about devices and data that this machine lacks. They are collected here only if `plan` was
            called with `require_machine=False`.
        pending_pairs: pairs that also have trials in the second phase.
        registry: the registry in which parts are looked up.
    """

    phase1: tuple[RunSpec, ...]
    skipped: tuple[str, ...] = ()
    missing: tuple[BenchError, ...] = ()
    pending_pairs: tuple[SubmissionOnWorkload, ...] = ()
    registry: compose.PartLookup

    @property
    def pending(self) -> int:
        """Number of trials in the second phase."""
        return sum(
            pair.studies * stopping_rule(pair.settings.ruleset.stopping).scored_trials(pair.settings.ruleset)
            for pair in self.pending_pairs
        )

    def __len__(self) -> int:
        return len(self.phase1)

    def __iter__(self) -> Iterator[RunSpec]:
        return iter(self.phase1)

    def phase2(self, records: Mapping[str, Record]) -> tuple[RunSpec, ...]:
        """Return the trials of the second phase.

        Args:
            records: the records of all trials of the first phase, by run_id.
        """
        planned = []
        for pair in self.pending_pairs:
            tried_settings = [spec.hparams for spec in _plan_tuning(pair, self.registry)]
            tuning = [
                record
                for record in records.values()
                if _is_tuning(record.spec, pair) and record.spec.hparams in tried_settings
            ]
            rule = stopping_rule(pair.settings.ruleset.stopping)
            planned.append(
                plan_trials(
                    pair.workload,
                    pair.submission,
                    self.registry,
                    pair.settings,
                    stop=rule.choose_stop(tuning, pair.studies) if rule.chooses_stop else None,
                    points=[rule.choose_setting(tuning)] if rule.chooses_setting else None,
                )
            )
        return interleave(planned)


def _is_tuning(spec: RunSpec, pair: SubmissionOnWorkload) -> bool:
    """Return whether a trial is a tuning trial of a pair."""
    same_pair = spec.submission.name == pair.submission.name and spec.workload.facts.name == pair.workload.name
    return same_pair and spec.purpose == "tuning"


def plan_phases(
    pairs: Iterable[SubmissionOnWorkload], registry: compose.PartLookup, references: Sequence[SubmissionEntry]
) -> PhasedPlan:
    """Plan the trials of submissions on workloads.

    Args:
        pairs: submissions with their workloads, ordered by workload.
        registry: the registry in which parts are looked up.
        references: submissions whose runs may provide the envelope for a stopping rule. The first of them that can run
            on the workload is used.

    Raises:
        UsageError: a hyperparameter does not exist, is out of range, or conflicts with another hyperparameter.
    """
    by_workload: dict[str, list[Sequence[RunSpec]]] = {}
    skipped, pending_pairs = [], []
    for pair in pairs:
        workload, settings = pair.workload, pair.settings
        rule = stopping_rule(settings.ruleset.stopping)
        planned = by_workload.setdefault(workload.name, [])
        reason = rule.exclusion_reason(workload.facts)
        if not reason:
            horizons = rule.reference_horizons(apply_budget(workload.facts, settings))
            if horizons and not planned:
                planned.append(_plan_envelope(workload, registry, references, settings, horizons))
            composition = compose.compose(pair.submission, registry)
            reason = compose.find_ineligibility(composition, workload.facts, settings.ruleset, settings.ranks)
        if reason:
            skipped.append(f"skipped: {pair.submission.name} on {workload.name}: {reason}")
            continue
        try:
            if rule.chooses_stop or rule.chooses_setting:
                planned.append(_plan_tuning(pair, registry))
                pending_pairs.append(pair)
            else:
                planned.append(plan_trials(workload, pair.submission, registry, settings))
        except UsageError as error:
            if not pair.point:
                raise
            raise UsageError(f"{pair.point}: {error.what}", fix=error.fix) from None
    phase1 = tuple(spec for planned in by_workload.values() for spec in interleave(planned))
    return PhasedPlan(
        phase1=phase1, skipped=tuple(dict.fromkeys(skipped)), pending_pairs=tuple(pending_pairs), registry=registry
    )


def _plan_tuning(pair: SubmissionOnWorkload, registry: compose.PartLookup) -> Sequence[RunSpec]:
    """Return the tuning trials of a pair. They use tuning seeds and the whole budget under the ruleset."""
    return plan_trials(
        pair.workload,
        pair.submission,
        registry,
        pair.settings,
        purpose="tuning",
        studies=pair.settings.planned_tuning_studies,
        stop=apply_budget(pair.workload.facts, pair.settings).budget.horizon,
    )


def _plan_envelope(
    workload: WorkloadEntry,
    registry: compose.PartLookup,
    references: Sequence[SubmissionEntry],
    settings: PlanSettings,
    horizons: Iterable[int],
) -> Sequence[RunSpec]:
    """Return the trials of the reference: in each study, one for each horizon. The schedule ends at the horizon."""
    settings = replace(settings, overrides={})  # overrides do not apply to the reference of the envelope
    nothing_hidden = msgspec.structs.replace(settings.ruleset, hides=frozenset())
    for reference in references:
        composition = compose.compose(reference, registry)
        if compose.find_ineligibility(composition, workload.facts, nothing_hidden, settings.ranks):
            continue
        # With the fraction 1, the schedule ends at the run's horizon and not before it.
        points: list[HParams] = [{"horizon_fraction": 1.0}] if "horizon_fraction" in composition.space else [{}]
        return [
            spec
            for horizon in horizons
            for spec in plan_trials(
                workload, reference, registry, settings, purpose="envelope", points=points, horizon=horizon
            )
        ]
    return ()


def interleave(planned: Sequence[Sequence[RunSpec]]) -> tuple[RunSpec, ...]:
    """Merge several sequences of trials by taking one trial from each in turn."""
    longest = max(map(len, planned), default=0)
    return tuple(specs[i] for i in range(longest) for specs in planned if i < len(specs))
