"""All trials of several submissions on several workloads, in phases: a later phase may depend on an earlier one.

Most rulesets have one phase. `fixed-stop` chooses its stop from tuning trials, and `anytime` begins with the
reference's envelope.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import msgspec

from harness.contract.domains import HParams
from harness.contract.entries import SubmissionEntry, WorkloadEntry
from harness.contract.record import Record
from harness.contract.run import RunSpec
from harness.planning import compose
from harness.planning.stopping_rules import stopping_rule
from harness.planning.trials import PlanSettings, plan_trials


@dataclass(frozen=True, kw_only=True)
class SubmissionOnWorkload:
    """A submission on a workload, with the settings it is run by."""

    submission: SubmissionEntry
    workload: WorkloadEntry
    settings: PlanSettings

    @property
    def studies(self) -> int:
        """Independent repetitions that are scored."""
        return self.settings.studies or self.settings.ruleset.studies


@dataclass(frozen=True, kw_only=True)
class PhasedPlan:
    """Trials of the first phase, and what makes those of the second. Iterating gives the first phase's.

    Args:
        phase1: in the order they should run: trial by trial, so that submissions alternate on one machine state.
        skipped: one line for each pair that cannot be run, with the reason.
        pending_pairs: pairs whose trials wait for the first phase.
        registry: where parts are looked up.
    """

    phase1: tuple[RunSpec, ...]
    skipped: tuple[str, ...] = ()
    pending_pairs: tuple[SubmissionOnWorkload, ...] = ()
    registry: compose.Parts

    @property
    def pending(self) -> int:
        """How many trials the second phase will have."""
        return sum(pair.studies * pair.settings.ruleset.trials for pair in self.pending_pairs)

    def __len__(self) -> int:
        return len(self.phase1)

    def __iter__(self) -> Iterator[RunSpec]:
        return iter(self.phase1)

    def phase2(self, records: Mapping[str, Record]) -> tuple[RunSpec, ...]:
        """The trials of the second phase.

        Args:
            records: run_id to record, of all trials of the first.
        """
        planned = []
        for pair in self.pending_pairs:
            tuning = [record for record in records.values() if _is_tuning(record.spec, pair)]
            stop = stopping_rule(pair.settings.ruleset.stopping).choose_stop(tuning, pair.studies)
            planned.append(plan_trials(pair.workload, pair.submission, self.registry, pair.settings, stop=stop))
        return interleave(planned)


def _is_tuning(spec: RunSpec, pair: SubmissionOnWorkload) -> bool:
    same_pair = spec.submission.name == pair.submission.name and spec.workload.facts.name == pair.workload.name
    return same_pair and spec.purpose == "tuning"


def plan_phases(
    pairs: Iterable[SubmissionOnWorkload], registry: compose.Parts, references: Sequence[SubmissionEntry]
) -> PhasedPlan:
    """The plan of these pairs.

    Args:
        pairs: workload by workload.
        registry: where parts are looked up.
        references: submissions whose envelope a stopping rule may compare with; the first that can run is taken.

    Raises:
        UsageError: a hyperparameter that does not exist, is out of range, or does not go with another.
    """
    groups: dict[str, list[Sequence[RunSpec]]] = {}
    skipped, pending_pairs = [], []
    for pair in pairs:
        workload, settings = pair.workload, pair.settings
        rule = stopping_rule(settings.ruleset.stopping)
        planned = groups.setdefault(workload.name, [])
        reason = rule.exclude(workload.facts)
        if not reason:
            horizons = rule.reference_horizons(workload.facts)
            if horizons and not planned:
                planned.append(_plan_envelope(workload, registry, references, settings, horizons))
            composition = compose.compose(pair.submission, registry)
            reason = compose.find_ineligibility(composition, workload.facts, settings.ruleset, settings.ranks)
        if reason:
            skipped.append(f"skipped: {pair.submission.name} on {workload.name}: {reason}")
        elif rule.chooses_stop:
            planned.append(_plan_tuning(pair, registry))
            pending_pairs.append(pair)
        else:
            planned.append(plan_trials(workload, pair.submission, registry, settings))
    phase1 = tuple(spec for planned in groups.values() for spec in interleave(planned))
    return PhasedPlan(phase1=phase1, skipped=tuple(skipped), pending_pairs=tuple(pending_pairs), registry=registry)


def _plan_tuning(pair: SubmissionOnWorkload, registry: compose.Parts) -> Sequence[RunSpec]:
    """Trials over the whole budget, on tuning seeds."""
    return plan_trials(
        pair.workload,
        pair.submission,
        registry,
        pair.settings,
        purpose="tuning",
        studies=pair.settings.ruleset.tuning_studies,
        stop=pair.workload.facts.budget.horizon,
    )


def _plan_envelope(
    workload: WorkloadEntry,
    registry: compose.Parts,
    references: Sequence[SubmissionEntry],
    settings: PlanSettings,
    horizons: Iterable[int],
) -> Sequence[RunSpec]:
    """The reference at several horizons, each run planned for its own."""
    nothing_hidden = msgspec.structs.replace(settings.ruleset, hides=frozenset())
    for reference in references:
        composition = compose.compose(reference, registry)
        if compose.find_ineligibility(composition, workload.facts, nothing_hidden, settings.ranks):
            continue
        # A run that knows where it ends plans for just that.
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
    """One trial of each in turn."""
    longest = max(map(len, planned), default=0)
    return tuple(specs[i] for i in range(longest) for specs in planned if i < len(specs))
