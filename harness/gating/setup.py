"""What a gate runs: two submissions on workloads to their gate budgets, seed by seed, everything checked before."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from harness.contract.domains import HParams
from harness.contract.entries import PartEntry, SubmissionEntry, WorkloadEntry
from harness.contract.record import Record
from harness.contract.run import Purpose, Ruleset, RunSpec
from harness.contract.workload import WorkloadFacts
from harness.errors import UsageError
from harness.planning import compose
from harness.planning.roles import FAMILY_TAG, REFERENCE_TAG
from harness.planning.trials import PlanSettings, plan_trials
from harness.scoring.gate import Side

#: The rules of a gate's runs: the submission's defaults, planned to end at the gate budget.
GATE_RULESET = Ruleset(
    name="gate", version="1", summary="pairs of runs to a gate budget; see `bench gate`", trials=1, studies=1
)
#: The gate budget in horizons, and the evaluations that it has at least.
BUDGET_SHARE, MIN_EVALUATIONS = 1 / 4, 8
#: Evaluations that a budget asked for must have, so that the envelope has four horizons.
LEAST_EVALUATIONS = 4
#: From specs to records, in the order of the specs; runs that have ended are not run again.
Runner = Callable[[Sequence[RunSpec]], Sequence[Record]]


class Offer(Protocol):
    """What planning a gate needs of the plugins: the registry, or its like."""

    def part(self, kind: str | None, name: str, *, prefer: str = "") -> PartEntry: ...

    def submissions(self) -> tuple[SubmissionEntry, ...]: ...


@dataclass(frozen=True, kw_only=True)
class GateWorkload:
    """A workload of a gate.

    Args:
        entry: the workload.
        device: where its runs train.
        budget: examples at which they end, and for which they plan.
    """

    entry: WorkloadEntry
    device: str
    budget: int

    @property
    def name(self) -> str:
        return self.entry.name

    def settings(self, seed: int, threads: int) -> PlanSettings:
        """How runs on it are planned."""
        return PlanSettings(ruleset=GATE_RULESET, seed=seed, threads=threads, device=self.device)


@dataclass(frozen=True, kw_only=True)
class GateSetup:
    """Two submissions on workloads.

    Args:
        a, b: the candidate and what it is compared with.
        workloads: at least one.
        offer: where parts and references are looked up.
        seed: root of all seeds.
        threads: intra-op threads of a run.
        purpose: what the runs are for; seeds of different purposes never meet.
        first_study: number of the first pair's seed.
    """

    a: SubmissionEntry
    b: SubmissionEntry
    workloads: tuple[GateWorkload, ...]
    offer: Offer
    seed: int = 0
    threads: int = 1
    purpose: Purpose = "gate"
    first_study: int = 0

    def check(self) -> None:
        """Refuse a gate that cannot run.

        Raises:
            UsageError: there is no workload, both sides are the same, or one cannot run on one of the workloads.
        """
        if not self.workloads:
            raise UsageError("no workload to gate on", fix="name one with -w")
        if self.a == self.b:
            raise UsageError(f"{self.a.name} is compared with itself", fix="name another submission with --against")
        for workload in self.workloads:
            for entry in (self.a, self.b):
                reason = find_gate_ineligibility(entry, workload.entry.facts, self.offer)
                if reason:
                    raise UsageError(
                        f"{entry.name} cannot run on {workload.name}: it {reason}",
                        fix=f"leave {workload.name} out of -w; a gate needs runs of both sides on every workload",
                    )

    def plan_pair(self, index: int) -> tuple[tuple[Side, RunSpec], ...]:
        """The runs of pair `index` (from 0), workload by workload; A goes first in even pairs, B in odd ones."""
        sides: tuple[tuple[Side, SubmissionEntry], ...] = (("A", self.a), ("B", self.b))
        study = self.first_study + index
        return tuple(
            (side, spec)
            for workload in self.workloads
            for side, entry in (sides if index % 2 == 0 else sides[::-1])
            for spec in self._plan(workload, entry, study)
        )

    def _plan(self, workload: GateWorkload, entry: SubmissionEntry, study: int) -> tuple[RunSpec, ...]:
        return plan_to_end(
            workload,
            entry,
            self.offer,
            workload.settings(self.seed, self.threads),
            purpose=self.purpose,
            studies=1,
            first_study=study,
            horizon=workload.budget,
        )


def plan_to_end(
    workload: GateWorkload,
    entry: SubmissionEntry,
    offer: compose.Parts,
    settings: PlanSettings,
    *,
    purpose: Purpose,
    studies: int,
    horizon: int,
    first_study: int = 0,
) -> tuple[RunSpec, ...]:
    """Runs of a submission's defaults that know their horizon and plan for just that."""
    space = compose.compose(entry, offer).space
    points: list[HParams] = [{"horizon_fraction": 1.0}] if "horizon_fraction" in space else [{}]
    return plan_trials(
        workload.entry,
        entry,
        offer,
        settings,
        purpose=purpose,
        studies=studies,
        first_study=first_study,
        points=points,
        horizon=horizon,
    )


def gate_budget(facts: WorkloadFacts, examples: int | None = None) -> int:
    """The gate budget of a workload: a whole number of evaluations, on a stream in every stage.

    Args:
        examples: what was asked for; a quarter of the horizon, and eight evaluations at least, when None.

    Raises:
        UsageError: fewer examples than four evaluations, or more than the workload's horizon.
    """
    unit, horizon = facts.eval_every * max(1, len(facts.stages)), facts.budget.horizon
    least, most = LEAST_EVALUATIONS * unit, max(1, horizon // unit) * unit
    if examples is None:
        wanted = max(horizon * BUDGET_SHARE, MIN_EVALUATIONS * facts.eval_every)
        return min(most, max(least, round(wanted / unit) * unit))
    if not least <= examples <= most:
        raise UsageError(
            f"--budget {examples:,} on {facts.name}: a gate budget is {least:,} to {most:,} examples there",
            fix="leave --budget out for a quarter of the horizon",
        )
    return round(examples / unit) * unit


def find_gate_ineligibility(entry: SubmissionEntry, facts: WorkloadFacts, offer: compose.Parts) -> str:
    """Why a submission cannot be gated on a workload; empty when it can."""
    return compose.find_ineligibility(compose.compose(entry, offer), facts, GATE_RULESET)


def find_reference(facts: WorkloadFacts, offer: Offer) -> SubmissionEntry | None:
    """The submission whose curve is the envelope: the reference on a pool, a family that replays on a stream.

    Of several families that replay the one with the fewest tags is taken, the plainest; then the first by name.
    """
    usable = [entry for entry in offer.submissions() if not find_gate_ineligibility(entry, facts, offer)]
    if facts.access == "pool":
        return next((entry for entry in usable if REFERENCE_TAG in entry.tags), None)
    families = [
        entry for entry in usable if FAMILY_TAG in entry.tags and "replay" in compose.compose(entry, offer).needs
    ]
    return min(families, key=lambda entry: (len(entry.tags), entry.name), default=None)


def default_workloads(workloads: Iterable[WorkloadEntry]) -> list[str]:
    """The gate set of the CPU tier: pools that need no data and no scores of examples; variants are left out."""
    return [
        entry.name
        for entry in workloads
        if entry.facts.tier == "cpu"
        and entry.facts.access == "pool"
        and not (entry.needs_data or entry.facts.scores or "+" in entry.name)
    ]
