"""Compute which runs of the study are missing, and estimate their time from the results of earlier runs."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence

from harness.contract.run import RunSpec
from harness.planning.estimate import STARTUP_S
from harness.planning.phases import interleave
from studies.methods.design import Stage
from studies.methods.figures import TUNED, FinishedRuns, RunFigures
from studies.methods.plan import StudyPlan

#: Estimated wall seconds of a run on a workload on which no run has ended.
UNKNOWN_S = 60.0


class RunCosts:
    """Estimates the wall seconds of a run from earlier runs on the same workload, if possible of the same arm.

    Args:
        figures: the results of earlier runs.
    """

    def __init__(self, figures: Iterable[RunFigures]) -> None:
        self._seconds_per_example: dict[tuple[str, ...], list[float]] = defaultdict(list)
        for run in figures:
            workload = run.workload.partition("@")[0]
            for key in ((workload,), (workload, run.arm)):
                self._seconds_per_example[key].append(run.spent / run.budget)

    def seconds(self, spec: RunSpec) -> float:
        """Return the estimated wall seconds of one run, including the start of its process."""
        workload = spec.workload.facts.name
        seconds_per_example = self._seconds_per_example.get((workload, spec.submission.name))
        seconds_per_example = seconds_per_example or self._seconds_per_example.get((workload,))
        if not seconds_per_example:
            return UNKNOWN_S
        return STARTUP_S + statistics.median(seconds_per_example) * spec.workload.facts.budget.horizon


class StageProgress:
    """The finished and the missing runs of a stage, and the time of the missing ones.

    Args:
        stage: the stage.
        plan: object that makes the stage's trials.
        finished: the runs that have ended.
        costs: estimates of the wall seconds of runs.
    """

    def __init__(self, stage: Stage, plan: StudyPlan, finished: FinishedRuns, costs: RunCosts) -> None:
        self._stage = stage
        self._finished = finished
        self._costs = costs
        per_arm = {arm: plan.tuning_specs_of(stage, arm) for arm in stage.arms}
        self.tuning = interleave(list(per_arm.values()))
        #: Minimum and maximum wall seconds of the missing runs. They differ if an arm is not tuned yet: the two
        #: measures may choose one setting or two, and each chosen setting must run.
        self.min_seconds = self.max_seconds = 0.0
        #: Number of runs on fresh seeds that have ended.
        self.fresh_done = 0
        for arm, tuning in per_arm.items():
            self._add_arm(plan, arm, tuning)

    def _add_arm(self, plan: StudyPlan, arm: str, tuning: Sequence[RunSpec]) -> None:
        untuned = self._missing(tuning)
        if untuned:
            per_setting = self._stage.seeds * self._costs.seconds(tuning[0])
            tuning_seconds = sum(map(self._costs.seconds, untuned))
            self._add_seconds(tuning_seconds + per_setting, (len(self._stage.measures) - 1) * per_setting)
            return
        fresh = plan.fresh_specs_of(self._stage, arm, [run for spec in tuning if (run := self._finished.find(spec))])
        missing = self._missing(fresh)
        self.fresh_done += len(fresh) - len(missing)
        self._add_seconds(sum(map(self._costs.seconds, missing)))

    def _missing(self, specs: Sequence[RunSpec]) -> list[RunSpec]:
        return [spec for spec in specs if self._finished.find(spec) is None]

    def _add_seconds(self, seconds: float, possible_seconds: float = 0.0) -> None:
        self.min_seconds += seconds
        self.max_seconds += seconds + possible_seconds

    def lines(self) -> Iterator[str]:
        """Yield three lines about the stage, then a line for each setting on the tuning seed."""
        stage = self._stage
        settings = "one or two settings" if len(stage.measures) > 1 else "one setting"
        settings = "the defaults" if stage.settings == "defaults" else settings
        yield f"{stage.title}: {len(stage.arms)} arms, {len(self.tuning)} settings on the tuning seed,"
        seeds = f"{stage.seeds} fresh seed{'s' if stage.seeds > 1 else ''}"
        yield f"  then {settings} of each arm on {seeds} ({self.fresh_done} of these runs are done);"
        yield f"  time left: {format_hours(self.min_seconds)} to {format_hours(self.max_seconds)}"
        for spec in self.tuning:
            values = " ".join(f"{name}={spec.hparams[name]:g}" for name in TUNED if name in spec.hparams)
            run = self._finished.find(spec)
            yield f"    {spec.submission.name} {values} ({run.status if run else 'to run'})"


def plan_lines(
    stages: Iterable[Stage], plan: StudyPlan, finished: FinishedRuns, costs: RunCosts, jobs: int
) -> Iterator[str]:
    """Yield the lines that describe every stage and the time of all missing runs.

    Args:
        stages: the stages.
        plan: object that makes the trials.
        finished: the runs that have ended.
        costs: estimates of the wall seconds of runs.
        jobs: number of trials that run at once.
    """
    total = 0.0
    for stage in stages:
        progress = StageProgress(stage, plan, finished, costs)
        total += progress.max_seconds
        yield from progress.lines()
    yield f"at most {format_hours(total)} are left; with {jobs} trials at once, {format_hours(total / jobs, 'hours')}"


def format_hours(seconds: float, unit: str = "core-hours") -> str:
    """Format seconds as hours.

    >>> format_hours(5400)
    '1.5 core-hours'
    """
    return f"{seconds / 3600:.1f} {unit}"
