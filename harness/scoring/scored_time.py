"""Computes the scored time of runs on a CPU: replaces measured seconds by costs (see `interval_costs`)."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Collection, Iterable, Sequence

from harness.contract.run import RunSpec
from harness.scoring.interval_costs import Arm, CostModel, arm_of, fit_costs
from harness.scoring.scores import Skipped
from harness.scoring.summary import RunSummary
from harness.scoring.time_to_target import Axis, IntervalSeconds, ScoredRun, TargetResult


def cost_runs(runs: Sequence[ScoredRun], by: Axis, references: Collection[str] = ()) -> list[ScoredRun]:
    """Return the runs with times for paired tests instead of measured seconds.

    If `by` is not `time`, the runs are returned unchanged.
    """
    if by != "time":
        return list(runs)
    model = fit_costs([run for run in runs if _is_typical(run.spec)], references)
    return [run._replace(result=_own_result(run.spec, run.result, run.intervals, model)) for run in runs]


def cost_summaries(
    summaries: Sequence[RunSummary], by: Axis, references: Collection[str] = ()
) -> tuple[list[RunSummary], CostModel]:
    """Return the summaries of a table with their times, and the costs from which the times were computed.

    The field `seconds` becomes the scored time, which is computed from the costs that all runs of an arm share. If `by`
    is `time`, the result becomes the run's own time, which intervals and paired tests need.
    """
    model = fit_costs([summary for summary in summaries if _is_typical(summary.spec)], references)
    costed = []
    for summary in summaries:
        result = summary.result
        if by == "time":
            result = _own_result(summary.spec, result, summary.intervals, model)
        index = summary.result.index
        cost = None if index is None or not _uses_costs(summary.spec) else model.time_to(summary.spec, index)
        seconds = summary.seconds if cost is None or by == "measured-time" else cost
        costed.append(dataclasses.replace(summary, result=result, seconds=seconds))
    return costed, model


def describe_costs(model: CostModel, names: dict[Arm, str]) -> list[str]:
    """Return remarks about the costs for the reader of a table.

    Args:
        model: the costs.
        names: arm -> `submission on workload`, for the arms of the table.
    """
    notes = []
    by_mean = sorted({names[arm] for arm in model.by_mean if arm in names})
    if by_mean:
        notes.append(f"costs are means, because the expensive intervals depend on the seed: {', '.join(by_mean)}")
    if model.unlinked:
        count = len(model.unlinked)
        notes.append(
            f"{count} {'session has' if count == 1 else 'sessions have'} no run of a submission that ran in another "
            "session; the speed of the machine there is not known"
        )
    return notes


def arm_names(summaries: Iterable[RunSummary]) -> dict[Arm, str]:
    """Return arm -> `submission on workload`."""
    return {arm_of(s.spec): f"{s.spec.submission.id} on {s.spec.workload.facts.id}" for s in summaries}


def incomplete_costs(model: CostModel, summaries: Iterable[RunSummary]) -> list[Skipped]:
    """Return a remark that names the arms with a single run. The costs of such an arm are the measurements of this run.

    The list is empty if there is no such arm.
    """
    single = sorted({name for arm, name in arm_names(summaries).items() if model.runs.get(arm) == 1})
    if not single:
        return []
    return [Skipped(item="cost", reason=f"measured by a single run: {', '.join(single)}", counted=True)]


def _uses_costs(spec: RunSpec) -> bool:
    """Whether costs are used, which is the case if process seconds are scored. Wall seconds are scored as measured."""
    return spec.clock == "process"


def _is_typical(spec: RunSpec) -> bool:
    """Whether a run is used to estimate costs. A profiled run is not used, because profiling slows it down."""
    return _uses_costs(spec) and not spec.profile


def _own_result(
    spec: RunSpec, result: TargetResult, intervals: IntervalSeconds | None, model: CostModel
) -> TargetResult:
    if result.index is None or intervals is None or not _uses_costs(spec):
        return result
    value = model.own_time_to(spec, intervals, result.index)
    if value is None or not 0 < value < math.inf:
        return result
    lower = model.own_time_to(spec, intervals, result.index - 1) if result.index else 0.0
    return dataclasses.replace(result, value=value, lower=lower or 0.0)
