"""Reads the final metric of a run that was planned to use its whole budget."""

from __future__ import annotations

import math
import statistics
from typing import NamedTuple

from harness.contract.record import Record, is_complete
from harness.contract.workload import WorkloadFacts


class FinalMetric(NamedTuple):
    """The final metric of a run.

    Args:
        value: the metric; None if the run broke down.
        reason: reason of the run's status; for a run that broke down, the reason why it counts as broken down.
    """

    value: float | None
    reason: str


def final_metric(record: Record) -> FinalMetric:
    """Return the final metric of a run.

    On a pool, it is the primary metric at the last evaluation of the whole split. On a stream, it is the mean over the
    stages of the primary metric at the end of each stage. If the metric is an accuracy, this mean is the *average
    incremental accuracy* (Rebuffi et al., iCaRL, arXiv 1611.07725, section 4).

    A run counts as broken down in three cases:

    - It did not complete.
    - It did not reach the last stage of a stream.
    - Its last metric, or the last metric of a stage, is absent or not finite.
    """
    facts = record.spec.workload.facts
    if not is_complete(record.status):
        return FinalMetric(None, record.reason)
    if facts.stages and record.points[-1].stage + 1 < len(facts.stages):
        return FinalMetric(
            None, f"ended in stage {record.points[-1].stage + 1} of {len(facts.stages)}: {record.reason}"
        )
    name = facts.targets[0].metric
    # Screened metrics are estimates, so they are left out. The end of a stage is never screened.
    ends = {point.stage: point.metrics.get(name, math.nan) for point in record.points if not point.screened}
    values = [ends.get(stage, math.nan) for stage in range(max(1, len(facts.stages)))]
    value = statistics.fmean(values)
    if not math.isfinite(value):
        return FinalMetric(None, record.reason or f"{name} is {value}")
    return FinalMetric(value, record.reason)


def final_metric_name(facts: WorkloadFacts) -> str:
    """Return the name of the final metric on a workload, which differs between pools and streams."""
    name = facts.targets[0].metric
    return f"{name} (mean over stages)" if facts.stages else name
