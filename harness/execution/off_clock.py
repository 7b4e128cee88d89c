"""Limits on the work of a worker while its clock is stopped. A run above a limit is rejected.

Helpers are child processes, and threads beside the main thread. The processor time that they use while the clock is
stopped is added to the scored processor seconds. The limits are for work that is not charged in this way, and for
helpers that never stop.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from harness.contract.record import Phase
from harness.system.process_tree import TreeTimes

#: Processor seconds that the import of a submission may take, summed over all threads and processes.
IMPORT_LIMIT_S = 10.0
#: Processor seconds that a process may use before the clock starts, if it was started during the import.
LEFT_BEHIND_LIMIT_S = 0.1
#: Processor seconds of all helpers while the clock is stopped: a number, plus a fraction of the scored processor
#: seconds.
HELPER_LIMIT = (1.0, 0.25)
#: Processor seconds of the main thread in one evaluation: a number, plus a factor on the cost of an evaluation of one
#: stage.
EVALUATION_LIMIT = (1.0, 5.0)
#: Processor seconds of the main thread in all evaluations, if another process evaluates the weights: a number, plus a
#: fraction of the scored processor seconds.
HANDOVER_LIMIT = (1.0, 0.25)
#: Processor seconds of the main thread for checkpoints and checks: a number, plus a fraction of the scored processor
#: seconds, plus the same fraction of the evaluations' processor seconds.
CHECKPOINT_LIMIT = (2.0, 1.0)
#: Processor seconds of the main thread in one evaluation that are not charged: a number, plus a factor on the cost of
#: an evaluation of one stage. Further processor seconds are charged.
FREE_EVALUATION = (0.01, 2.0)
#: Processor seconds of the main thread in one evaluation that are not charged if another process evaluates the weights.
FREE_HANDOVER_S = 0.02
#: Processor seconds of the main thread for all checks and checkpoints that are not charged: a number, plus a fraction
#: of the scored processor seconds and of the evaluations' processor seconds. Further processor seconds are charged.
FREE_CHECKPOINTS = (0.3, 0.1)
#: Number of times that the worker may stop its clock in one evaluation, and from its start to the first evaluation.
STOPS = (2, 4)
#: Number of phases that may begin without a start or stop of the clock, for each evaluation.
PHASES = 4
#: Processor seconds of the main thread for building the workload: a number, plus a factor on the cost without the
#: submission.
BUILD_LIMIT = (2.0, 3.0)


@dataclass(kw_only=True)
class OffClockLimits:
    """Checks the processor seconds of the phases in which the clock is stopped.

    Args:
        stages: number of stages of the stream; 1 on a pool. An evaluation on a stream covers all stages so far.
        evaluates_outside: whether another process evaluates the weights. The worker then only hands them over.
        evaluation_cost: processor seconds of an evaluation of the whole split in a process that does not run the
            submission. If this is None, the cost of the first evaluation of the run is used, before any training.
        build_cost: processor seconds for building the workload in a process that does not run the submission; None if
            there is no such process.

    Attributes:
        violation: the first limit that was exceeded, in words; empty if there is none.
    """

    stages: int = 1
    evaluates_outside: bool = False
    evaluation_cost: float | None = None
    build_cost: float | None = None
    violation: str = ""
    _spent: dict[Phase, float] = field(default_factory=dict)
    _between: float = 0.0
    _evaluations_at_most: float = 0.0

    def add(
        self,
        phase: Phase,
        main_seconds: float,
        tree_seconds: float,
        scored_seconds: float,
        main_at_most: float | None = None,
    ) -> None:
        """Add the processor seconds of an interval in which the clock was stopped, and check the limit of its phase.

        The processor seconds are lower bounds.

        Args:
            phase: the phase of the interval.
            main_seconds: processor seconds of the worker's main thread.
            tree_seconds: processor seconds of all threads and processes of the trial.
            scored_seconds: the scored processor seconds of the run so far.
            main_at_most: an upper bound on the processor seconds of the worker's main thread; `main_seconds` if None.
                The limits of later intervals are computed from this bound.
        """
        seconds = tree_seconds if phase == "import" else main_seconds
        main_at_most = main_seconds if main_at_most is None else main_at_most
        if phase == "evaluation":
            self._evaluations_at_most += main_at_most
        spent = self._spent[phase] = self._spent.get(phase, 0.0) + seconds
        if phase == "import" and spent > IMPORT_LIMIT_S:
            self._reject(
                f"importing the submission took {spent:.1f} processor seconds with its processes and threads; "
                f"the limit is {IMPORT_LIMIT_S:.0f}",
                "compute in the constructor, where the clock runs, or import smaller libraries",
            )
        elif phase == "build" and self.build_cost is not None:
            limit = BUILD_LIMIT[0] + BUILD_LIMIT[1] * self.build_cost
            self._check(phase, "building the workload and the model", spent, limit)
        elif phase == "evaluation" and self.evaluates_outside:
            limit = HANDOVER_LIMIT[0] + HANDOVER_LIMIT[1] * scored_seconds
            self._check(phase, "handing over the weights to evaluate", spent, limit)
        elif phase == "evaluation":
            if self.evaluation_cost is None:
                self.evaluation_cost = main_at_most
                return
            limit = EVALUATION_LIMIT[0] + EVALUATION_LIMIT[1] * self.stages * self.evaluation_cost
            self._check(phase, "one evaluation", seconds, limit)
        elif phase == "checkpoint":
            other = scored_seconds + self._evaluations_at_most
            limit = CHECKPOINT_LIMIT[0] + CHECKPOINT_LIMIT[1] * other
            self._check(phase, "checks and checkpoints", spent, limit)

    def find_excess(self, phase: Phase, main_seconds: float, scored_seconds: float) -> float:
        """Return the processor seconds of an interval with a stopped clock that are charged.

        `add` must have been called for this interval. The time before the submission's construction is not charged.

        Args:
            phase: the phase of the interval.
            main_seconds: processor seconds of the worker's main thread.
            scored_seconds: the scored processor seconds of the run so far.
        """
        number, factor = FREE_EVALUATION
        if phase == "evaluation" and self.evaluates_outside:
            return max(0.0, main_seconds - FREE_HANDOVER_S)
        if phase == "evaluation":
            if self.evaluation_cost is None or math.isinf(self.evaluation_cost):
                return 0.0
            return max(0.0, main_seconds - number - factor * self.stages * self.evaluation_cost)
        # All other phases share one limit. Otherwise the worker, which names its phase, could choose a larger limit.
        number, fraction = FREE_CHECKPOINTS
        free = number + fraction * (scored_seconds + self._evaluations_at_most)
        before, self._between = self._between, self._between + main_seconds
        return max(0.0, self._between - max(free, before))

    def check_stops(self, stops: int, evaluations: int) -> None:
        """Check how often the clock was stopped.

        Args:
            stops: number of stops so far.
            evaluations: number of evaluations whose results have arrived so far.
        """
        per_evaluation, at_start = STOPS
        # The clock may be stopped for a further evaluation, whose result has not arrived yet.
        if stops > at_start + per_evaluation * (evaluations + 1):
            self._reject(
                f"the clock was stopped {stops} times for {evaluations} evaluations",
                "leave the clock of the harness as it is",
            )

    def check_phases(self, phases: int, evaluations: int) -> None:
        """Check how often the worker began another phase while the clock was stopped.

        If phases are shorter than the interval between readings, their times cannot be told apart.

        Args:
            phases: number of such phases so far, since the first stop of the clock.
            evaluations: number of evaluations whose results have arrived so far.
        """
        if phases > PHASES * (evaluations + 2):
            self._reject(
                f"{phases} phases began while the clock was stopped for {evaluations} evaluations",
                "leave the loop of the harness as it is",
            )

    def add_helpers(self, seconds: float, busiest: str, scored_seconds: float) -> None:
        """Check the processor seconds of all helpers while the clock was stopped.

        Args:
            seconds: the total so far.
            busiest: the helper that used the largest part of the total, in words.
            scored_seconds: the scored processor seconds of the run so far.
        """
        limit = HELPER_LIMIT[0] + HELPER_LIMIT[1] * max(0.0, scored_seconds - seconds)
        if seconds > limit:
            self._reject(
                f"{busiest} computed while the clock was stopped; all threads and processes beside the main thread "
                f"used {seconds:.1f} processor seconds then, and the limit is {limit:.1f}",
                "let threads and processes wait during evaluations, or end them before the step returns",
            )

    def check_left_behind(self, imported: TreeTimes, now: TreeTimes, allowed: float) -> None:
        """Check the processes that were started during the import and still run when the clock first starts.

        Args:
            imported: the times at the end of the import.
            now: the times at the start of the clock, or some time after it.
            allowed: processor seconds that may have been used after the start.
        """
        for pid, times in imported.helpers.items():
            later = now.helpers.get(pid)
            if later is None or later.started != times.started:
                continue
            seconds = later.seconds + later.reaped - times.seconds - times.reaped - allowed
            if seconds > LEFT_BEHIND_LIMIT_S:
                self._reject(
                    f"process {times.name} ({pid}), which was started while the submission was imported, used "
                    f"{seconds:.1f} processor seconds before the clock started",
                    "start processes in the constructor or in a step, where the clock runs",
                )

    def reject_ignored_children(self) -> None:
        """Reject a run whose worker ignores SIGCHLD."""
        self._reject(
            "the worker ignores SIGCHLD, so the kernel drops the processor time of ended child processes",
            "leave the handler of SIGCHLD as it is",
        )

    def _check(self, phase: Phase, what: str, seconds: float, limit: float) -> None:
        if seconds > limit:
            self._reject(
                f"{what} took {seconds:.1f} processor seconds while the clock was stopped (phase {phase}); "
                f"the limit is {limit:.1f}",
                "compute in the constructor or in a step, where the clock runs, and leave no hooks that compute during "
                "evaluations",
            )

    def _reject(self, what: str, fix: str) -> None:
        self.violation = self.violation or f"{what} ({fix})"
