"""The times of the reference in anchored scores: frozen numbers of examples × the reference's cost in the table.

The number of examples to the target is a property of the reference and its setting. It is measured once, with a
setting that was tuned for the time to the target, and published with the version of the workload. The cost per example
is also a property of the machine, so it is measured where the other submissions ran. A repetition of the reference's
runs changes only the cost, which varies far less than the number of examples.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from harness.contract.reference_times import ReferenceTimes
from harness.contract.workload import WorkloadFacts
from harness.scoring.factors import Medians
from harness.scoring.time_to_target import Axis


@dataclass(frozen=True, slots=True, kw_only=True)
class AnchorTimes:
    """The times of the reference to which anchored scores are relative.

    Args:
        times: workload -> time; inf is a miss.
        own: workload -> why its time comes from the reference's runs in the table, and not from frozen examples.
    """

    times: Mapping[str, float]
    own: Mapping[str, str]


def frozen_examples(times: ReferenceTimes) -> float:
    """Return the median number of examples to the target over the seeds of a tuned reference; inf is a miss."""
    return median(math.inf if value is None else float(value) for value in times.examples)


def find_reference(names: Sequence[str], times: Mapping[str, object]) -> str | None:
    """Return the id of the first named submission that the table contains; None if there is no such submission.

    If the table has several versions or sources of this submission, the last id in alphabetical order is returned.
    """
    for name in names:
        matches = sorted(s for s in times if name in (s, s.rpartition("@")[0]))
        if matches:
            return matches[-1]
    return None


def anchor_times(
    reference: str,
    times: Mapping[str, float],
    amounts: Medians,
    by: Axis,
    workloads: Iterable[WorkloadFacts],
    frozen: Mapping[str, ReferenceTimes],
) -> AnchorTimes:
    """Return the times of the reference to which anchored scores are relative.

    A time is (frozen examples) × (median time in the table) / (median examples in the table). If the table compares
    examples, it is the frozen number itself, also where the reference missed the target in the table.

    Args:
        reference: id of the reference.
        times: workload -> the reference's median time in the table, in the unit of the table; inf is a miss.
        amounts: submission -> workload -> (median scored time, median examples).
        by: the compared quantity.
        workloads: facts of the table's workloads.
        frozen: workload -> times of its tuned reference.
    """
    anchors, own = dict(times), {}
    for facts in workloads:
        published, time = frozen.get(facts.id), times.get(facts.id, math.inf)
        if reason := _why_not_frozen(published, facts, reference):
            own[facts.id] = reason
        elif published is not None and by == "examples":
            anchors[facts.id] = frozen_examples(published)
        elif published is not None and time < math.inf:
            anchors[facts.id] = frozen_examples(published) * time / amounts[reference][facts.id][1]
    return AnchorTimes(times=anchors, own=own)


def _why_not_frozen(published: ReferenceTimes | None, facts: WorkloadFacts, reference: str) -> str:
    """Return why the frozen examples of a workload cannot be used; empty if they can be used."""
    if published is None:
        return "none are published for this target"
    if published.reference != reference:
        return f"those of {published.reference} are published"
    if (published.budget, published.targets) != (facts.budget.horizon, facts.targets):
        return "the published ones are for another budget or target"
    return "" if frozen_examples(published) < math.inf else "the published runs missed the target"


def describe_own_times(own: Mapping[str, str]) -> list[str]:
    """Return remarks on the workloads whose reference times come from the table itself, one for each reason.

    >>> describe_own_times({"b@1": "some reason", "a@1": "some reason"})
    ["anchored scores on a@1, b@1 use the reference's runs in this table and no frozen times: some reason"]
    """
    by_reason: dict[str, list[str]] = defaultdict(list)
    for workload, reason in sorted(own.items()):
        by_reason[reason].append(workload)
    return [
        f"anchored scores on {', '.join(workloads)} use the reference's runs in this table and no frozen times: "
        f"{reason}"
        for reason, workloads in by_reason.items()
    ]
