"""Reads the final metric of a run that was planned to use its whole budget."""

from __future__ import annotations

import math
from typing import NamedTuple

from harness.contract.record import Record, is_complete


class FinalMetric(NamedTuple):
    """The primary metric at the end of a run.

    Args:
        value: the metric; None if the run broke down.
        reason: reason of the run's status; for a run that broke down, the reason why it counts as broken down.
    """

    value: float | None
    reason: str


def final_metric(record: Record) -> FinalMetric:
    """Return the primary metric at the last evaluation of the whole split.

    A run counts as broken down in three cases:

    - It did not complete.
    - Its last metric is absent or not finite.
    - It did not reach the last stage of a stream.
    """
    facts, target = record.spec.workload.facts, record.spec.workload.facts.targets[0]
    # Screened metrics are estimates, so they are left out.
    whole = (point for point in reversed(record.points) if not point.screened)
    value = next((point.metrics.get(target.metric, math.nan) for point in whole), math.nan)
    if not is_complete(record.status):
        return FinalMetric(None, record.reason)
    if not math.isfinite(value):
        return FinalMetric(None, record.reason or f"{target.metric} is {value}")
    if facts.stages and record.points[-1].stage + 1 < len(facts.stages):
        return FinalMetric(
            None, f"ended in stage {record.points[-1].stage + 1} of {len(facts.stages)}: {record.reason}"
        )
    return FinalMetric(value, record.reason)
