"""Plans and runs the short trials with which `bench cost` measures the cost per example."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from harness.contract.record import Record
from harness.contract.run import ExecutionOptions, RunSpec
from harness.contract.watcher import Watcher
from harness.errors import UsageError
from harness.execution.run_trials import run_trials
from harness.planning import compose
from harness.planning.internal_rulesets import COST_RULESET
from harness.planning.phases import SubmissionOnWorkload
from harness.planning.trials import plan_trials
from harness.plugins.registry import Registry


def plan_cost_runs(
    pairs: Sequence[SubmissionOnWorkload], registry: Registry, *, repetitions: int, intervals: int
) -> tuple[RunSpec, ...]:
    """Return the runs in the order in which they should run. All runs on a workload are consecutive.

    The submissions alternate, and their order is reversed in every second repetition. A steady change of the machine's
    speed therefore affects all submissions equally.

    Args:
        pairs: the pairs of a submission and a workload, ordered by workload.
        registry: the registry in which parts are looked up.
        repetitions: number of runs of each submission on each workload.
        intervals: number of evaluations after which a run ends. On a stream, this number is multiplied by the number of
            stages.

    Raises:
        UsageError: a submission cannot run on a workload, or the runs would be longer than the horizon.
    """
    groups: dict[str, list[tuple[RunSpec, ...]]] = {}
    for pair in pairs:
        groups.setdefault(pair.workload.name, []).append(_plan(pair, registry, repetitions, intervals))
    ordered: list[RunSpec] = []
    for planned in groups.values():
        for repetition in range(repetitions):
            round_of_runs = [specs[repetition] for specs in planned]
            ordered += round_of_runs if repetition % 2 == 0 else reversed(round_of_runs)
    return tuple(ordered)


def _plan(pair: SubmissionOnWorkload, registry: Registry, repetitions: int, intervals: int) -> tuple[RunSpec, ...]:
    """Plan the runs of one submission on one workload, one run for each repetition."""
    facts, entry = pair.workload.facts, pair.submission
    reason = compose.find_ineligibility(compose.compose(entry, registry), facts, COST_RULESET)
    if reason:
        raise UsageError(
            f"{entry.name} cannot run on {facts.name}: it {reason}", fix="leave out the submission or the workload"
        )
    stop = intervals * facts.eval_every * max(1, len(facts.stages))
    if stop > facts.budget.horizon:
        max_intervals = facts.budget.horizon // (facts.eval_every * max(1, len(facts.stages)))
        raise UsageError(
            f"--intervals {intervals}: the budget of {facts.name} allows at most {max_intervals}",
            fix=f"give at most {max_intervals}",
        )
    return tuple(
        plan_trials(pair.workload, entry, registry, pair.settings, purpose="cost", studies=repetitions, stop=stop)
    )


def measure_costs(specs: Sequence[RunSpec], runs: Path, watcher: Watcher, registry: Registry) -> list[Record]:
    """Run the planned runs one at a time, and return their records.

    All runs are measured anew. A run that already exists is moved to `superseded/`.

    Args:
        specs: the runs, in order.
        runs: folder of local runs.
        watcher: object that is notified of every event.
        registry: the plugins.
    """
    options = ExecutionOptions(force=True, jobs=1)
    return list(run_trials(specs, runs, options=options, watcher=watcher, registry=registry))
