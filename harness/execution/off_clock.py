"""Limits on the work of a worker while its clock is stopped. A run above a limit is rejected.

Helpers are child processes, and threads beside the main thread. Processor time is *charged* if it is added to the
scored processor seconds.

While the clock is stopped:

- The processor time of helpers is charged. In addition, it has a limit.
- The main thread may use a small amount of processor time for free, and more is charged. In addition, its time in each
  kind of phase has a limit.
- The import of the submission may use a small amount of processor time for free, and more is charged. In addition, it
  has a limit.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from harness.contract.record import Phase
from harness.system.process_tree import TreeTimes

#: Processor seconds that the import of a submission may take, summed over all threads and processes.
IMPORT_LIMIT_S = 10.0
#: Processor seconds that the import of a submission may take without a charge, summed over all threads and processes.
#: The runs of the tier `cpu` take a few seconds, so a submission could train during a free import of several seconds.
FREE_IMPORT_S = 0.25
#: Processor seconds that a process may use before the clock starts, if it was started during the import.
LEFT_BEHIND_LIMIT_S = 0.1
# In the following, a pair (a, b) means a + b * x processor seconds. The comment on each pair says what x is. For
# example, (1.0, 0.25) means 3 processor seconds at x = 8.
#: Limit for all helpers while the clock is stopped. x: the scored processor seconds without the part of these helpers.
HELPER_LIMIT = (1.0, 0.25)
#: Limit for the main thread in one evaluation. x: the cost of an evaluation for one stage, times the number of stages.
EVALUATION_LIMIT = (1.0, 5.0)
#: Limit for the main thread in all evaluations, if another process evaluates the weights. x: the scored processor
#: seconds.
HANDOVER_LIMIT = (1.0, 0.25)
#: Limit for the main thread in all phases `checkpoint` together. In this phase, the harness checks the rules and writes
#: checkpoints. x: the processor seconds that are scored, plus those of the evaluations.
CHECKPOINT_LIMIT = (2.0, 1.0)
#: What the main thread may use without a charge in one evaluation. x: as for `EVALUATION_LIMIT`.
FREE_EVALUATION = (0.01, 2.0)
#: Processor seconds that the main thread may use in one evaluation without a charge, if another process evaluates the
#: weights.
FREE_HANDOVER_S = 0.02
#: What the main thread may use without a charge in all phases except `evaluation`, summed over the run. x: as for
#: `CHECKPOINT_LIMIT`.
FREE_OTHER_PHASES = (0.3, 0.1)
#: How often the worker may stop its clock: twice per evaluation, and four more times.
STOPS = (2, 4)
#: Number of phases that the worker may begin per evaluation while the clock stays stopped. The limit on their total has
#: room for two further evaluations.
PHASES = 4
#: Limit for the main thread while it builds the workload. x: the cost of the same build without the submission.
BUILD_LIMIT = (2.0, 3.0)


@dataclass(kw_only=True)
class OffClockLimits:
    """Checks the processor seconds of the phases in which the clock is stopped.

    Args:
        stages: number of stages of the stream; 1 on a pool. On a stream, an evaluation covers all stages so far.
        evaluates_outside: whether another process evaluates the weights. The worker then only hands them over.
        evaluation_cost: processor seconds of one evaluation of the whole split, in a process without the submission. If
            None, the cost of the run's first evaluation, which is made before any training.
        build_cost: processor seconds for building the workload, in a process without the submission; None if there is
            no such process.

    Attributes:
        violation: description of the first limit that was exceeded; empty if no limit was exceeded.
    """

    stages: int = 1
    evaluates_outside: bool = False
    evaluation_cost: float | None = None
    build_cost: float | None = None
    violation: str = ""
    _spent: dict[Phase, float] = field(default_factory=dict)
    _other_phases_seconds: float = 0.0
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

        Args:
            phase: the phase of the interval.
            main_seconds: a lower bound on the processor seconds of the worker's main thread in the interval.
            tree_seconds: a lower bound on the processor seconds of all threads and processes of the trial in the
                interval.
            scored_seconds: the scored processor seconds of the run so far.
            main_at_most: an upper bound on the processor seconds of the worker's main thread in the interval;
                `main_seconds` if None. The limits of later intervals are computed from this bound.
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
        """Return how many of the main thread's processor seconds in an interval with a stopped clock are charged.

        Call `add` for the interval first. Do not call this method for intervals before the submission's construction:
        of these intervals, only the import is charged (`find_import_excess`).

        Args:
            phase: the phase of the interval.
            main_seconds: processor seconds of the worker's main thread in the interval.
            scored_seconds: the scored processor seconds of the run so far.
        """
        number, factor = FREE_EVALUATION
        if phase == "evaluation" and self.evaluates_outside:
            return max(0.0, main_seconds - FREE_HANDOVER_S)
        if phase == "evaluation":
            if self.evaluation_cost is None or math.isinf(self.evaluation_cost):
                return 0.0
            return max(0.0, main_seconds - number - factor * self.stages * self.evaluation_cost)
        # All phases except evaluations share one free amount. The worker itself reports its phase. If each phase had
        # its own free amount, the worker could report the phase with the largest one.
        number, fraction = FREE_OTHER_PHASES
        free = number + fraction * (scored_seconds + self._evaluations_at_most)
        before = self._other_phases_seconds
        self._other_phases_seconds += main_seconds
        return max(0.0, self._other_phases_seconds - max(free, before))

    def find_import_excess(self, tree_seconds: float) -> float:
        """Return how many processor seconds of the submission's import are charged.

        Args:
            tree_seconds: processor seconds of all threads and processes of the trial during the import.
        """
        return max(0.0, tree_seconds - FREE_IMPORT_S)

    def check_stops(self, stops: int, evaluations: int) -> None:
        """Check how often the clock was stopped.

        Args:
            stops: number of stops so far.
            evaluations: number of evaluations whose results have arrived so far.
        """
        per_evaluation, at_start = STOPS
        # The last stop may belong to a further evaluation, whose result has not arrived yet.
        if stops > at_start + per_evaluation * (evaluations + 1):
            self._reject(
                f"the clock was stopped {stops} times for {evaluations} evaluations",
                "leave the clock of the harness as it is",
            )

    def check_phases(self, phases: int, evaluations: int) -> None:
        """Check how often the worker changed its phase while the clock stayed stopped.

        The meter reads the processor times at intervals. It cannot measure the time of a phase that is shorter than
        such an interval.

        Args:
            phases: number of changes of phase while the clock was stopped, since the first stop of the clock.
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
            busiest: description of the helper that used the largest part of the total.
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
            now: the times when the clock started, or some time later.
            allowed: most processor seconds that a process can have used between the start of the clock and `now`. They
                are subtracted, because processes may compute while the clock runs.
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
