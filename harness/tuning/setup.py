"""What a search runs: the settings of one submission on workloads, to a budget or to the target; checked beforehand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from harness.contract.domains import HParams
from harness.contract.entries import SubmissionEntry, WorkloadEntry
from harness.contract.run import Ruleset, RunSpec
from harness.errors import UsageError
from harness.gating.setup import GateWorkload, gate_budget, plan_to_end
from harness.planning.compose import Composition, Parts, compose, find_ineligibility
from harness.planning.requirements import runnable_workloads
from harness.planning.resolve import resolve_submission
from harness.planning.search import Search, choose_search, select_points
from harness.planning.trials import PlanSettings, hyperparameter_settings, plan_trials
from harness.plugins.registry import Registry
from harness.scoring.search import SearchBy

#: The rules of a search's runs: one setting at a time, on tuning seeds; never ranked.
TUNE_RULESET = Ruleset(name="tune", version="1", summary="settings of a search; see `bench tune`", trials=1, studies=1)


@dataclass(frozen=True, kw_only=True)
class TuneRequest:
    """What a user asks a search for.

    Args:
        submission: name of the submission.
        workloads: names of the workloads.
        trials: number of settings.
        only: hyperparameter that is searched alone; None for the whole space.
        ranges: ends of ranges by name, in place of the space's.
        studies: number of seeds per setting.
        by: what settings are ranked by.
        budget: examples at which runs end: a number, `gate` for the budget of `bench gate`, or None for the workload's.
        seed, threads, device, allow_slow: as for `bench run`.
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
    """A search that can run.

    Args:
        request: what was asked for.
        entry: the submission.
        composition: the submission with its space.
        workloads: the workloads with the budgets at which runs end if they are ranked by a metric.
        search: the searched hyperparameters.
        points: the settings, in the order of their numbers.
        left_out: a message for each value that cannot run.
        parts: where the submission's parts are looked up.
    """

    request: TuneRequest
    entry: SubmissionEntry
    composition: Composition
    workloads: tuple[GateWorkload, ...]
    search: Search
    points: tuple[HParams, ...]
    left_out: tuple[str, ...]
    parts: Parts

    @property
    def runs_to_end(self) -> bool:
        """Whether runs go to a fixed end and plan for it, and do not stop at the target."""
        return self.request.by == "metric"

    def plan(self) -> list[list[RunSpec]]:
        """Return the runs of each setting: on every workload one per study."""
        return [self._plan_point(point) for point in self.points]

    def _plan_point(self, point: HParams) -> list[RunSpec]:
        return [spec for workload in self.workloads for spec in self._plan_workload(workload, point)]

    def _plan_workload(self, workload: GateWorkload, point: HParams) -> tuple[RunSpec, ...]:
        settings = _settings(self.request, workload, point)
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


def _settings(request: TuneRequest, workload: GateWorkload, point: HParams) -> PlanSettings:
    settings = PlanSettings(ruleset=TUNE_RULESET, seed=request.seed, threads=request.threads, device=workload.device)
    return replace(settings, overrides=point)


def set_up_search(request: TuneRequest, registry: Registry, skipped: list[str]) -> TuneSetup:
    """Resolve the names of a request, and choose its settings.

    Args:
        request: what is asked for.
        registry: the plugins.
        skipped: list to which a one-line message is appended for each workload of a tier that cannot run.

    Raises:
        UsageError: a name does not exist, the submission cannot run on a workload, a range or a budget is not allowed,
            or no setting can run.
        DataError: the data of a workload are missing.
    """
    if request.budget is not None and request.by != "metric":
        raise UsageError(
            f"--budget ends every run there, so the {request.by} to the target is unknown for most",
            fix=f"rank by --by metric, or leave out --budget for --by {request.by}",
        )
    entry = resolve_submission(request.submission, registry)
    composition = compose(entry, registry)
    chosen = runnable_workloads(request.workloads, registry, request.device, request.allow_slow, skipped)
    workloads = tuple(
        GateWorkload(entry=workload, device=device, budget=_budget(workload, request)) for workload, device in chosen
    )
    if not workloads:
        raise UsageError("no workload can run", fix="; ".join(skipped) or "name one with -w")
    tiers = sorted({workload.entry.facts.tier for workload in workloads})
    if len(tiers) > 1:
        raise UsageError(f"the workloads are of the tiers {' and '.join(tiers)}", fix="search on one tier at a time")
    for workload in workloads:
        reason = find_ineligibility(composition, workload.entry.facts, TUNE_RULESET)
        if reason:
            raise UsageError(
                f"{entry.name} cannot run on {workload.name}: it {reason}", fix=f"leave {workload.name} out"
            )
    held = frozenset({"horizon_fraction"}) if request.by == "metric" else frozenset()
    search = choose_search(
        composition.space, only=request.only, ranges=request.ranges, held=held, submission=entry.name
    )

    def check(point: HParams) -> None:
        for workload in workloads:
            settings = _settings(request, workload, point)
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
    if request.budget is None:
        return workload.facts.budget.horizon
    return gate_budget(workload.facts, None if isinstance(request.budget, str) else request.budget)
