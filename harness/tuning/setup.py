"""Check a request for a hyperparameter search, and plan its runs.

A search runs several settings of one submission on one or more workloads. Each run ends at a fixed budget or at the
target.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from harness.contract.domains import HParams
from harness.contract.entries import SubmissionEntry, WorkloadEntry
from harness.contract.run import RunSpec
from harness.errors import BenchError, UsageError
from harness.gating.setup import GateWorkload, budget_range, gate_budget, plan_to_end
from harness.planning.compose import Composition, PartLookup, compose, find_ineligibility
from harness.planning.internal_rulesets import TUNE_RULESET
from harness.planning.requirements import runnable_workloads
from harness.planning.resolve import resolve_submission
from harness.planning.search import Search, choose_search, select_points
from harness.planning.trials import PlanSettings, hyperparameter_settings, plan_trials
from harness.plugins.registry import Registry
from harness.scoring.search import SearchBy


@dataclass(frozen=True, kw_only=True)
class TuneRequest:
    """The search that a user requests.

    Args:
        submission: name of the submission.
        workloads: names of the workloads.
        trials: number of settings to try.
        only: name of the hyperparameter if only one is searched; None for the whole search space.
        ranges: name of a hyperparameter -> ends of the range in which it is searched, instead of its range in the
            search space.
        studies: number of seeds per setting.
        by: quantity by which settings are ranked.
        budget: number of examples at which every run ends, if settings are ranked by the metric. `gate`: the budget of
            `bench gate`. None: the workload's budget.
        seed: root seed.
        threads: number of intra-op threads of a run.
        device: device of the runs; None to choose the device by the workload's tier.
        allow_slow: whether GPU workloads may run on the CPU.
    """

    submission: str
    workloads: Sequence[str]
    trials: int
    only: str | None
    ranges: Mapping[str, tuple[float, float]]
    studies: int
    by: SearchBy
    budget: int | str | None
    seed: int = 0
    threads: int = 1
    device: str | None = None
    allow_slow: bool = False


@dataclass(frozen=True, kw_only=True)
class TuneSetup:
    """A checked search.

    Args:
        request: the search that the user requested.
        entry: the submission.
        composition: the submission with its parts and its search space.
        workloads: the workloads, each with its budget. Runs end at this budget if settings are ranked by the metric.
        search: the searched hyperparameters.
        points: the settings to try. Trial i runs the setting with index i.
        left_out: in a search of one hyperparameter, one message for each value that cannot be tried.
        parts: the registry in which the submission's parts are looked up.
    """

    request: TuneRequest
    entry: SubmissionEntry
    composition: Composition
    workloads: tuple[GateWorkload, ...]
    search: Search
    points: tuple[HParams, ...]
    left_out: tuple[str, ...]
    parts: PartLookup

    @property
    def runs_to_end(self) -> bool:
        """Whether every run ends at its budget and not at the target. Schedules then end at the budget."""
        return self.request.by == "metric"

    def plan(self) -> list[list[RunSpec]]:
        """Return a list of runs for each setting. The setting runs once per workload and study."""
        return [self._plan_point(point) for point in self.points]

    def _plan_point(self, point: HParams) -> list[RunSpec]:
        return [spec for workload in self.workloads for spec in self._plan_workload(workload, point)]

    def _plan_workload(self, workload: GateWorkload, point: HParams) -> tuple[RunSpec, ...]:
        settings = _make_plan_settings(self.request, workload, point)
        studies = self.request.studies
        if self.runs_to_end:
            return plan_to_end(
                workload,
                self.entry,
                self.parts,
                settings,
                purpose="tuning",
                studies=studies,
                horizon=workload.budget,
            )
        return plan_trials(
            workload.entry, self.entry, self.parts, settings, purpose="tuning", studies=studies, points=[{}]
        )


def _make_plan_settings(request: TuneRequest, workload: GateWorkload, point: HParams) -> PlanSettings:
    """Return the options with which the runs of one setting on one workload are planned."""
    settings = PlanSettings(ruleset=TUNE_RULESET, seed=request.seed, threads=request.threads, device=workload.device)
    return replace(settings, overrides=point)


def set_up_search(
    request: TuneRequest, registry: Registry, skipped: list[str], missing: list[BenchError] | None = None
) -> TuneSetup:
    """Look up the names in a request, check the request, and choose the settings to try.

    Args:
        request: the search that the user requests.
        registry: the plugins.
        skipped: list for one-line messages, one for each workload that is skipped. If the user names a tier, its
            workloads without data are skipped.
        missing: list for errors, one for each device or dataset that this machine lacks; None to raise the errors.

    Raises:
        UsageError: a name does not exist, the submission cannot run on a workload, a range or a budget is not allowed,
            or no setting can run.
        DataError: the data of a workload are missing.
    """
    if request.budget is not None and request.by != "metric":
        raise UsageError(
            f"--budget with --by {request.by}: runs that end at the budget may not reach the target, so the "
            f"{request.by} to the target is unknown",
            fix=f"use --by metric, or leave out --budget for --by {request.by}",
        )
    entry = resolve_submission(request.submission, registry)
    composition = compose(entry, registry)
    chosen = runnable_workloads(request.workloads, registry, request.device, request.allow_slow, skipped, missing)
    workloads = tuple(
        GateWorkload(entry=workload, device=device, budget=_budget(workload, request)) for workload, device in chosen
    )
    if not workloads:
        raise UsageError("no workload can run", fix="; ".join(skipped) or "name a workload with -w")
    tiers = sorted({workload.entry.facts.tier for workload in workloads})
    if len(tiers) > 1:
        raise UsageError(
            f"the workloads belong to different tiers: {' and '.join(tiers)}", fix="name workloads of one tier with -w"
        )
    for workload in workloads:
        reason = find_ineligibility(composition, workload.entry.facts, TUNE_RULESET)
        if reason:
            raise UsageError(
                f"{entry.name} cannot run on {workload.name}: it {reason}", fix=f"leave {workload.name} out of -w"
            )
    # Runs to a fixed budget always use a schedule for the whole budget.
    excluded = frozenset({"horizon_fraction"}) if request.by == "metric" else frozenset()
    search = choose_search(
        composition.space, only=request.only, ranges=request.ranges, excluded=excluded, submission=entry.name
    )

    def check(point: HParams) -> None:
        for workload in workloads:
            settings = _make_plan_settings(request, workload, point)
            hyperparameter_settings(composition, workload.entry.facts, settings, [{}])

    points, left_out = select_points(search, request.trials, check)
    return TuneSetup(
        request=request,
        entry=entry,
        composition=composition,
        workloads=workloads,
        search=search,
        points=tuple(points),
        left_out=tuple(left_out),
        parts=registry,
    )


def _budget(workload: WorkloadEntry, request: TuneRequest) -> int:
    """Return the requested budget on a workload in examples.

    Raises:
        UsageError: the budget is out of range.
    """
    facts, budget = workload.facts, request.budget
    if budget is None:
        return facts.budget.horizon
    if isinstance(budget, str):
        return gate_budget(facts)
    least, most = budget_range(facts)
    if not least <= budget <= most:
        raise UsageError(
            f"--budget {budget:,} on {facts.name}: a run must have from {least:,} to {most:,} examples",
            fix="give a number in this range, or `gate` for the budget of bench gate",
        )
    return gate_budget(facts, budget)
