"""From submissions and workloads to all their trials, in phases: what a later phase runs may depend on an earlier one.

Most rulesets have one phase. `fixed-stop` chooses its stop from a first one, and `anytime` begins with the reference's
envelope.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import msgspec

from harness.contract.domains import HParams
from harness.contract.entries import SubmissionEntry, WorkloadEntry
from harness.contract.record import Record
from harness.contract.run import RunSpec
from harness.planning import compose, plan
from harness.scoring import anytime, fixed_stop


@dataclass(frozen=True, kw_only=True)
class SubmissionOnWorkload:
    """A submission on a workload, with the settings it is run by."""

    submission: SubmissionEntry
    workload: WorkloadEntry
    settings: plan.Settings


@dataclass(frozen=True, kw_only=True)
class PhasedPlan:
    """Trials of the first phase, and what makes those of the second.

    Args:
        first: in the order they should run: trial by trial, so that submissions alternate on one machine state.
        skipped: one line for each pair that cannot be run, with the reason.
        later: pairs whose trials wait for the first phase.
        pending: how many trials they will have.
    """

    phase1: tuple[RunSpec, ...]
    skipped: tuple[str, ...]
    pending_pairs: tuple[SubmissionOnWorkload, ...]
    pending: int
    registry: compose.Parts

    def phase2(self, records: Mapping[str, Record]) -> tuple[RunSpec, ...]:
        """The trials of the second phase.

        Args:
            records: run_id to record, of all trials of the first.
        """
        planned = []
        for pair in self.pending_pairs:
            tuning = [record for record in records.values() if _is_tuning(record.spec, pair)]
            studies = pair.settings.studies or pair.settings.ruleset.studies
            stop = fixed_stop.choose_stop(tuning, studies)
            planned.append(plan.plan(pair.workload, pair.submission, self.registry, pair.settings, stop=stop))
        return interleave(planned)


def _is_tuning(spec: RunSpec, pair: SubmissionOnWorkload) -> bool:
    same = spec.submission.name == pair.submission.name and spec.workload.facts.name == pair.workload.name
    return same and spec.purpose == "tuning"


def plan_phases(
    pairs: Iterable[SubmissionOnWorkload], registry: compose.Parts, references: Sequence[SubmissionEntry]
) -> PhasedPlan:
    """The campaign of these pairs.

    Args:
        pairs: workload by workload.
        registry: where parts are looked up.
        references: submissions whose envelope `anytime` measures against; the first that can run is taken.

    Raises:
        UsageError: a hyperparameter that does not exist, is out of range, or does not go with another.
    """
    groups: dict[str, list[Sequence[RunSpec]]] = {}
    skipped, pending_pairs, pending = [], [], 0
    for pair in pairs:
        workload, settings = pair.workload, pair.settings
        ruleset = settings.ruleset
        planned = groups.setdefault(workload.name, [])
        if reason := _excluded_by(workload, ruleset.stopping):
            skipped.append(f"skipped: {pair.submission.name} on {workload.name}: {reason}")
            continue
        if ruleset.stopping == "drawn" and not planned:
            planned.append(_envelope(workload, registry, references, settings))
        if reason := compose.ineligible(
            compose.compose(pair.submission, registry), workload.facts, ruleset, settings.ranks
        ):
            skipped.append(f"skipped: {pair.submission.name} on {workload.name}: {reason}")
        elif ruleset.stopping == "chosen":
            tuning = plan.plan(
                workload,
                pair.submission,
                registry,
                settings,
                purpose="tuning",
                studies=ruleset.tuning_studies,
                stop=workload.facts.budget.horizon,
            )
            planned.append(tuning)
            pending_pairs.append(pair)
            pending += (settings.studies or ruleset.studies) * ruleset.trials
        else:
            planned.append(plan.plan(workload, pair.submission, registry, settings))
    phase1 = tuple(spec for planned in groups.values() for spec in interleave(planned))
    return PhasedPlan(
        phase1=phase1, skipped=tuple(skipped), pending_pairs=tuple(pending_pairs), pending=pending, registry=registry
    )


def _excluded_by(workload: WorkloadEntry, stopping: str) -> str:
    """Why a workload has no place under a way of stopping, or an empty string."""
    if workload.facts.stages and stopping in ("chosen", "drawn"):
        return "a stream's stages end by their targets, so it has no stop to choose or draw"
    return ""


def _envelope(
    workload: WorkloadEntry, registry: compose.Parts, references: Sequence[SubmissionEntry], settings: plan.Settings
) -> Sequence[RunSpec]:
    """The reference at horizons that span every stop that can be drawn, each run planned for its own."""
    known = msgspec.structs.replace(settings.ruleset, hides=frozenset())
    for reference in references:
        composition = compose.compose(reference, registry)
        if compose.ineligible(composition, workload.facts, known, settings.ranks):
            continue
        # A run that knows where it ends plans for just that.
        points: list[HParams] = [{"horizon_fraction": 1.0}] if "horizon_fraction" in composition.space else [{}]
        return [
            spec
            for horizon in anytime.envelope_horizons(workload.facts.budget.horizon, workload.facts.eval_every)
            for spec in plan.plan(
                workload, reference, registry, settings, purpose="envelope", points=points, horizon=horizon
            )
        ]
    return ()


def interleave(planned: Sequence[Sequence[RunSpec]]) -> tuple[RunSpec, ...]:
    """One trial of each in turn."""
    longest = max(map(len, planned), default=0)
    return tuple(specs[i] for i in range(longest) for specs in planned if i < len(specs))
