"""Computes the scored time of runs on a CPU. Measured seconds are replaced by costs (see `interval_costs`)."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Collection, Iterable, Sequence

from harness.contract.run import RunSpec
from harness.scoring.interval_costs import Arm, CostModel, arm_of, fit_costs
from harness.scoring.summary import RunSummary
from harness.scoring.time_to_target import Axis, IntervalSeconds, ScoredRun, TargetResult


def cost_runs(runs: Sequence[ScoredRun], by: Axis, references: Collection[str] = ()) -> list[ScoredRun]:
    """Return the runs with their own times instead of measured seconds. Paired tests need own times (`interval_costs`).

    If `by` is not `time`, the runs are returned unchanged.

    Args:
        runs: the runs.
        by: the quantity by which submissions are compared.
        references: names of the submissions that count as the reference.
    """
    if by != "time":
        return list(runs)
    model = fit_costs([run for run in runs if _contributes_to_costs(run.spec)], references)
    return [run._replace(result=_own_result(run.spec, run.result, run.intervals, model)) for run in runs]


def cost_summaries(
    summaries: Sequence[RunSummary], by: Axis, references: Collection[str] = ()
) -> tuple[list[RunSummary], CostModel]:
    """Return the summaries of a table with computed times, and the costs from which these times were computed.

    The field `seconds` becomes the scored time, unless `by` is `measured-time`. If `by` is `time`, the field `result`
    contains the run's own time, which confidence intervals and paired tests need.

    Args:
        summaries: the summaries.
        by: the quantity by which submissions are compared.
        references: names of the submissions that count as the reference.
    """
    model = fit_costs([summary for summary in summaries if _contributes_to_costs(summary.spec)], references)
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
    """Return remarks about the costs, which are printed below a table.

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
            f"{count} {'session has' if count == 1 else 'sessions have'} no run of a submission that also ran in "
            "another session; the speed of the machine there is unknown"
        )
    return notes


def arm_names(summaries: Iterable[RunSummary]) -> dict[Arm, str]:
    """Return a text `submission on workload` for each arm."""
    return {arm_of(s.spec): f"{s.spec.submission.id} on {s.spec.workload.facts.id}" for s in summaries}


def _uses_costs(spec: RunSpec) -> bool:
    """Return whether the time of a run is computed from costs.

    This is the case if process seconds are scored. Wall seconds are scored as measured.
    """
    return spec.clock == "process"


def _contributes_to_costs(spec: RunSpec) -> bool:
    """Return whether a run is used to estimate costs. A profiled run is not used, because profiling slows it down."""
    return _uses_costs(spec) and not spec.profile


def _own_result(
    spec: RunSpec, result: TargetResult, intervals: IntervalSeconds | None, model: CostModel
) -> TargetResult:
    """Return the result of a run with the run's own time; unchanged if this time is unknown."""
    if result.index is None or intervals is None or not _uses_costs(spec):
        return result
    indices = (result.index, result.index - 1) if result.index else (result.index,)
    value, *lower = model.own_times_to(spec, intervals, indices)
    if value is None or not 0 < value < math.inf:
        return result
    return dataclasses.replace(result, value=value, lower=(lower[0] if lower else 0.0) or 0.0)
