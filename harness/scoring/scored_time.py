"""Computes the scored time of runs on a CPU from the costs of intervals between evaluations (see `interval_costs`)."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence

from msgspec.structs import replace

from harness.contract.run import RunSpec
from harness.scoring.interval_costs import Arm, CostModel, arm_of, fit_costs
from harness.scoring.summary import RunSummary
from harness.scoring.time_to_target import Axis, ScoredRun, TargetResult


def cost_runs(runs: Sequence[ScoredRun], by: Axis, references: Collection[str] = ()) -> list[ScoredRun]:
    """Replace the measured seconds of each run by its own time (see `interval_costs`), which paired tests need.

    If `by` is not `time`, the runs are returned unchanged.

    Args:
        runs: the runs.
        by: the quantity by which submissions are compared.
        references: names of the submissions that count as the reference.
    """
    if by != "time":
        return list(runs)
    arms = [arm_of(run.spec) for run in runs]
    model = _fit_contributing(runs, arms, references)
    return [replace(run, result=_own_result(arm, run, model)) for arm, run in zip(arms, runs, strict=True)]


def cost_summaries(
    summaries: Sequence[RunSummary], by: Axis, references: Collection[str] = ()
) -> tuple[list[RunSummary], CostModel]:
    """Return the summaries of a table with times that are computed from costs, and these costs.

    On a CPU, the field `seconds` becomes the scored time, unless `by` is `measured-time` or a cost is unknown. If `by`
    is `time`, the field `result` contains the run's own time, which confidence intervals and paired tests need.

    Args:
        summaries: the summaries.
        by: the quantity by which submissions are compared.
        references: names of the submissions that count as the reference.
    """
    arms = [arm_of(summary.spec) for summary in summaries]
    model = _fit_contributing(summaries, arms, references)
    costed = []
    for arm, summary in zip(arms, summaries, strict=True):
        index = summary.result.index
        if index is None or not _uses_costs(summary.spec) or by == "measured-time":
            costed.append(summary)
            continue
        scored = model.time_to(arm, index)
        result = _own_result(arm, summary, model) if by == "time" else summary.result
        costed.append(replace(summary, result=result, seconds=summary.seconds if scored is None else scored))
    return costed, model


def describe_costs(model: CostModel, arms: Collection[Arm]) -> list[str]:
    """Return remarks about the costs, which are printed below a table.

    Args:
        model: the costs.
        arms: the arms of the table.
    """
    notes = []
    if model.by_mean:
        by_mean = sorted({f"{arm.submission} on {arm.workload}" for arm in model.by_mean if arm in arms})
        notes.append(f"costs are means, because the expensive intervals depend on the seed: {', '.join(by_mean)}")
    if len(model.slowdowns) > 1:
        low, high = (math.exp(pick(model.slowdowns.values())) for pick in (min, max))
        count, adjusted_count = model.sessions, len(model.slowdowns)
        adjusted = f"the seconds of {adjusted_count} of them" if adjusted_count < count else "their seconds"
        notes.append(
            f"the runs were made in {count} sessions; {adjusted} are divided by the slowdown of their session, "
            f"{low:.2f}× to {high:.2f}× a typical session"
        )
    if model.unlinked:
        count = len(model.unlinked)
        notes.append(
            f"{count} {'session has' if count == 1 else 'sessions have'} no run of a submission that also ran in "
            "another session on the same workload; the speed of the machine is unknown for "
            f"{'this session' if count == 1 else 'these sessions'}"
        )
    return notes


def _uses_costs(spec: RunSpec) -> bool:
    """Return whether the time of a run is computed from costs.

    This is the case if process seconds are scored. Wall seconds are scored as measured.
    """
    return spec.clock == "process"


def _contributes_to_costs(spec: RunSpec) -> bool:
    """Return whether a run is used to estimate costs. A profiled run is not used, because profiling slows it down."""
    return _uses_costs(spec) and not spec.profile


def _fit_contributing(
    runs: Sequence[ScoredRun | RunSummary], arms: Sequence[Arm], references: Collection[str]
) -> CostModel:
    """Return the costs, estimated from the runs that contribute to them.

    Args:
        runs: the runs.
        arms: the arm of each run. An arm is a set of runs with the same costs (see `Arm`).
        references: names of the submissions that count as the reference.
    """
    contributing = [(run, arm) for run, arm in zip(runs, arms, strict=True) if _contributes_to_costs(run.spec)]
    return fit_costs([run for run, _ in contributing], references, [arm for _, arm in contributing])


def _own_result(arm: Arm, run: ScoredRun | RunSummary, model: CostModel) -> TargetResult:
    """Return a run's result with the run's own time, or the unchanged result if this time is unknown."""
    result = run.result
    if result.index is None or run.intervals is None or not _uses_costs(run.spec):
        return result
    indices = (result.index, result.index - 1) if result.index else (result.index,)
    value, *lower = model.own_times_to(arm, run.intervals, indices)
    if value is None or not 0 < value < math.inf:
        return result
    return replace(result, value=value, lower=(lower[0] if lower else 0.0) or 0.0)
