"""What is left to run, and how long it takes by the figures of earlier runs."""

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

#: Wall seconds of a run on a workload without earlier runs.
UNKNOWN_S = 60.0


class RunCosts:
    """Wall seconds of a run, from earlier runs of the same arm on the same workload, or of any arm on it.

    Args:
        figures: of earlier runs.
    """

    def __init__(self, figures: Iterable[RunFigures]) -> None:
        self._seconds_per_example: dict[tuple[str, ...], list[float]] = defaultdict(list)
        for run in figures:
            workload = run.workload.partition("@")[0]
            for place in ((workload,), (workload, run.arm)):
                self._seconds_per_example[place].append(run.spent / run.budget)

    def seconds(self, spec: RunSpec) -> float:
        """Wall seconds of one run, the start of its process included."""
        workload = spec.workload.facts.name
        earlier = self._seconds_per_example.get((workload, spec.submission.name))
        earlier = earlier or self._seconds_per_example.get((workload,))
        if not earlier:
            return UNKNOWN_S
        return STARTUP_S + statistics.median(earlier) * spec.workload.facts.budget.horizon


class StageProgress:
    """A stage's runs: done and left.

    Args:
        stage: which.
        plan: makes its trials.
        finished: the runs that have ended.
        costs: how long a run takes.
    """

    def __init__(self, stage: Stage, plan: StudyPlan, finished: FinishedRuns, costs: RunCosts) -> None:
        self._stage = stage
        self._finished = finished
        self._costs = costs
        per_arm = {arm: plan.tuning_specs_of(stage, arm) for arm in stage.arms}
        self.tuning = interleave(list(per_arm.values()))
        #: Seconds left, at least and at most: until an arm is tuned, its measures may choose one setting or several.
        self.least = self.most = 0.0
        #: Runs on fresh seeds that have ended.
        self.fresh_done = 0
        for arm, tuning in per_arm.items():
            self._add_arm(plan, arm, tuning)

    def _add_arm(self, plan: StudyPlan, arm: str, tuning: Sequence[RunSpec]) -> None:
        untuned = self._missing(tuning)
        if untuned:
            once = self._stage.seeds * self._costs.seconds(tuning[0])
            self._add_seconds(sum(map(self._costs.seconds, untuned)) + once, (len(self._stage.measures) - 1) * once)
            return
        fresh = plan.fresh_specs_of(self._stage, arm, [run for spec in tuning if (run := self._finished.find(spec))])
        missing = self._missing(fresh)
        self.fresh_done += len(fresh) - len(missing)
        self._add_seconds(sum(map(self._costs.seconds, missing)))

    def _missing(self, specs: Sequence[RunSpec]) -> list[RunSpec]:
        return [spec for spec in specs if self._finished.find(spec) is None]

    def _add_seconds(self, least: float, more: float = 0.0) -> None:
        self.least += least
        self.most += least + more

    def lines(self) -> Iterator[str]:
        """The stage in words: a heading of three lines, then a line for each setting on the tuning seed."""
        stage = self._stage
        several = "one or two settings" if len(stage.measures) > 1 else "one setting"
        several = "the defaults" if stage.settings == "defaults" else several
        yield f"{stage.title}: {len(stage.arms)} arms, {len(self.tuning)} settings on the tuning seed,"
        seeds = f"{stage.seeds} fresh seed{'s' if stage.seeds > 1 else ''}"
        yield f"  then {seeds} of {several} each, of which {self.fresh_done} runs are done;"
        yield f"  left: {format_hours(self.least)} to {format_hours(self.most)}"
        for spec in self.tuning:
            values = " ".join(f"{name}={spec.hparams[name]:g}" for name in TUNED if name in spec.hparams)
            run = self._finished.find(spec)
            yield f"    {spec.submission.name} {values} ({run.status if run else 'to run'})"


def plan_lines(
    stages: Iterable[Stage], plan: StudyPlan, finished: FinishedRuns, costs: RunCosts, jobs: int
) -> Iterator[str]:
    """The plan in words: every stage, and how long everything takes that is left."""
    total = 0.0
    for stage in stages:
        progress = StageProgress(stage, plan, finished, costs)
        total += progress.most
        yield from progress.lines()
    yield f"at most {format_hours(total)} are left; with {jobs} at once {format_hours(total / jobs, 'hours')}"


def format_hours(seconds: float, unit: str = "core-hours") -> str:
    """Seconds as hours.

    >>> format_hours(5400)
    '1.5 core-hours'
    """
    return f"{seconds / 3600:.1f} {unit}"
