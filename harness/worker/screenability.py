"""Finds out whether a workload can have screened evaluations (on a part of a split), and describes the estimates."""

from __future__ import annotations

import math
from collections.abc import Mapping

from harness.contract.workload import Goal, WorkloadFacts
from harness.worker.protocols import Screenable, Sharded, Workload
from harness.worker.screening import Estimate

#: A metric counts as the mean of its examples' values if the relative difference is at most this number.
MEAN_TOLERANCE = 1e-6


def find_obstacle(workload: Workload) -> str:
    """Return why a workload cannot have screened evaluations; an empty string if it can have them."""
    if not isinstance(workload, Sharded):
        return "the workload has no measure()"
    if workload.facts.stages and not isinstance(workload, Screenable):
        return "the workload is a stream without example_values()"
    return ""


def list_goals(facts: WorkloadFacts) -> dict[str, Goal]:
    """Return the goal of each metric on which a decision depends: the metrics of targets, levels, stages and floors."""
    groups = [facts.targets, *facts.levels.values()]
    groups += [targets for stage in facts.stages for targets in (stage.targets, stage.floors)]
    return {target.metric: target.goal for targets in groups for target in targets}


def count_examples(estimates: Mapping[str, Estimate]) -> int:
    """Return the number of measured examples: the largest number of values of a metric.

    A metric of a single task has fewer values than a mean over several tasks.
    """
    return max((estimate.examples for estimate in estimates.values()), default=0)


def describe_bias(name: str, part: Estimate) -> str:
    """Return a message that the estimate of a metric from a part is biased, with the reason."""
    reason = (
        "the values of few examples changed much more than those of the others"
        if part.uses_differences
        else "the order of the split is not random"
    )
    return (
        f"{name} of the first {part.examples} examples of the score split is a wrong estimate for the whole split: "
        f"{reason}"
    )


def are_close(a: Mapping[str, float], b: Mapping[str, float]) -> bool:
    return a.keys() == b.keys() and all(
        math.isclose(value, b[name], rel_tol=MEAN_TOLERANCE, abs_tol=1e-9) for name, value in a.items()
    )
