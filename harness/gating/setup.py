"""The setup of a gate: two submissions, the workloads and their gate budgets, and the runs of each pair."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from harness.contract.domains import Scalar
from harness.contract.entries import SubmissionEntry, WorkloadEntry
from harness.contract.record import Record
from harness.contract.run import ExecutionOptions, Purpose, RunSpec
from harness.contract.workload import WorkloadFacts
from harness.errors import UsageError
from harness.planning import compose
from harness.planning.internal_rulesets import GATE_RULESET
from harness.planning.plan import BestSettingsOf
from harness.planning.references import EntryLookup
from harness.planning.trials import PlanSettings, plan_trials
from harness.scoring.gate import Side

#: Default gate budget as a fraction of the workload's horizon.
BUDGET_SHARE = 1 / 4
#: Smallest number of evaluations within the default gate budget. After a quarter of a short horizon, the metric is
#: hardly better than before training.
DEFAULT_MIN_EVALUATIONS = 16
#: Smallest number of evaluations within a gate budget that the user gives. This number ensures that the envelope has
#: four different horizons.
MIN_EVALUATIONS = 4
#: Function that runs specifications and returns the records in the same order; finished runs are not repeated.
Runner = Callable[[Sequence[RunSpec]], Sequence[Record]]


@dataclass(frozen=True, kw_only=True)
class GateOptions:
    """Options for planning and running a gate's trials.

    Args:
        runs: folder of local runs.
        envelopes: folder of the provisional envelopes (see `find_envelope`).
        use_envelope: whether metrics are converted to compute multipliers. If not, log metrics are compared.
        budget: gate budget in examples; None for the default of each workload (see `gate_budget`).
        seed: root seed, from which all seeds are derived.
        threads: number of intra-op threads of a run.
        device: `cpu`, `cuda`, `cuda:0` …, or `mps`; None to choose it by each workload's tier.
        allow_slow: whether a GPU workload may run on the CPU.
        best_settings: function that returns best known values of hyperparameters; None for defaults.
        executor: name of the executor.
        execution: options of the execution, such as the number of parallel trials.
    """

    runs: Path
    envelopes: Path
    use_envelope: bool = True
    budget: int | None = None
    seed: int = 0
    threads: int = 1
    device: str | None = None
    allow_slow: bool = False
    best_settings: BestSettingsOf | None = None
    executor: str = "local"
    execution: ExecutionOptions = field(default_factory=ExecutionOptions)


@dataclass(frozen=True, kw_only=True)
class GateWorkload:
    """A workload of a gate.

    Args:
        entry: entry of the workload.
        device: device of the runs.
        budget: gate budget in examples. The runs end at this budget, and their schedules are planned for it.
    """

    entry: WorkloadEntry
    device: str
    budget: int

    @property
    def name(self) -> str:
        """The name of the workload."""
        return self.entry.name

    def settings(self, seed: int, threads: int) -> PlanSettings:
        """Return the settings for planning the runs, with the root seed and the number of intra-op threads."""
        return PlanSettings(ruleset=GATE_RULESET, seed=seed, threads=threads, device=self.device)


@dataclass(frozen=True, kw_only=True)
class GateSetup:
    """The submissions and workloads of a gate.

    Args:
        a: the candidate.
        b: the submission with which the candidate is compared.
        workloads: workloads of the gate; at least one.
        registry: source of the parts and references.
        seed: root seed, from which all seeds are derived.
        threads: number of intra-op threads of a run.
        purpose: purpose of the runs; different purposes have different seeds.
        first_study: index of the study of the first pair. Each pair is a study of its own, with its own seeds.
        best_settings: function that returns the best known values of hyperparameters of a submission on a workload;
            None to run both submissions with their defaults.
    """

    a: SubmissionEntry
    b: SubmissionEntry
    workloads: tuple[GateWorkload, ...]
    registry: EntryLookup
    seed: int = 0
    threads: int = 1
    purpose: Purpose = "gate"
    first_study: int = 0
    best_settings: BestSettingsOf | None = None

    def check(self) -> None:
        """Raise an error if the gate cannot run.

        Raises:
            UsageError: there is no workload, A and B are the same submission, or A or B cannot run on a workload.
        """
        if not self.workloads:
            raise UsageError("no workload to gate on", fix="name a workload with -w")
        if self.a == self.b:
            raise UsageError(f"{self.a.name} is compared with itself", fix="name another submission with --against")
        for workload in self.workloads:
            for entry in (self.a, self.b):
                reason = find_gate_ineligibility(entry, workload.entry.facts, self.registry)
                if reason:
                    raise UsageError(
                        f"{entry.name} cannot run on {workload.name}: it {reason}",
                        fix=f"leave {workload.name} out of -w, because both submissions must run on every workload",
                    )

    def plan_pair(self, index: int) -> tuple[tuple[Side, RunSpec], ...]:
        """Plan the runs of a pair, ordered by workload. A runs first in pairs with an even index, B in other pairs.

        Args:
            index: index of the pair, from 0.

        Returns:
            The side (A or B) and the specification of each run.
        """
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
            self.registry,
            workload.settings(self.seed, self.threads),
            purpose=self.purpose,
            studies=1,
            first_study=study,
            horizon=workload.budget,
            hparams=self.best_settings(entry, workload.entry) if self.best_settings else {},
        )


def plan_to_end(
    workload: GateWorkload,
    entry: SubmissionEntry,
    registry: compose.PartLookup,
    settings: PlanSettings,
    *,
    purpose: Purpose,
    studies: int,
    horizon: int,
    first_study: int = 0,
    hparams: Mapping[str, Scalar] | None = None,
) -> tuple[RunSpec, ...]:
    """Plan runs of a submission with one setting. Their schedules end exactly at the horizon.

    Args:
        workload: workload of the runs.
        entry: entry of the submission.
        registry: source of the parts.
        settings: ruleset, root seed, threads and device.
        purpose: purpose of the runs, which determines their seeds.
        studies: number of studies. Each study is one run with its own seeds.
        horizon: number of examples at which the runs end.
        first_study: index of the first study.
        hparams: values of hyperparameters; all others have their defaults.
    """
    space = compose.compose(entry, registry).space
    point = {**(hparams or {}), **({"horizon_fraction": 1.0} if "horizon_fraction" in space else {})}
    return plan_trials(
        workload.entry,
        entry,
        registry,
        settings,
        purpose=purpose,
        studies=studies,
        first_study=first_study,
        points=[point],
        horizon=horizon,
    )


def budget_range(facts: WorkloadFacts) -> tuple[int, int]:
    """Return the smallest and the largest budget of a workload that a user may give, in examples."""
    unit = facts.eval_every * max(1, len(facts.stages))
    return MIN_EVALUATIONS * unit, max(1, facts.budget.horizon // unit) * unit


def gate_budget(facts: WorkloadFacts, examples: int | None = None) -> int:
    """Return the gate budget of a workload in examples.

    The budget is a multiple of the evaluation interval. On a stream, the number of examples in each stage is also a
    multiple of this interval.

    Args:
        facts: facts of the workload.
        examples: requested budget in examples; None for a quarter of the horizon, but at least 16 evaluations and
            at most the horizon.

    Raises:
        UsageError: the requested budget is larger than the workload's horizon, or has fewer than four evaluations (on a
            stream, in each stage).
    """
    unit = facts.eval_every * max(1, len(facts.stages))
    least, most = budget_range(facts)
    if examples is None:
        default = max(facts.budget.horizon * BUDGET_SHARE, DEFAULT_MIN_EVALUATIONS * facts.eval_every)
        return min(most, max(least, round(default / unit) * unit))
    if not least <= examples <= most:
        raise UsageError(
            f"--budget {examples:,} on {facts.name}: a gate budget must be from {least:,} to {most:,} examples",
            fix="give a budget in this range, or omit --budget for the default",
        )
    return round(examples / unit) * unit


def find_gate_ineligibility(entry: SubmissionEntry, facts: WorkloadFacts, registry: compose.PartLookup) -> str:
    """Return the reason why a submission cannot be gated on a workload; empty if it can be gated."""
    return compose.find_ineligibility(compose.compose(entry, registry), facts, GATE_RULESET)


def default_workloads(workloads: Iterable[WorkloadEntry]) -> list[str]:
    """Return the names of the default workloads of a gate.

    A default workload is a pool of the CPU tier and not a variant. It needs no dataset and provides no quality scores
    of its examples.
    """
    return [
        entry.name
        for entry in workloads
        if entry.facts.tier == "cpu"
        and entry.facts.access == "pool"
        and not (entry.needs_data or entry.facts.scores or "+" in entry.name)
    ]
