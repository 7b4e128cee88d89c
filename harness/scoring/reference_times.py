"""The times of the reference in the anchored score: frozen numbers of examples × the reference's cost in the table.

The number of examples to the target is a property of the reference and its setting. It is measured once, with the
reference tuned for the workload's budget, and stored with the version of the workload. The cost per example is also a
property of the machine, so it is measured where the other submissions ran. A repetition of the reference's runs changes
only the cost, which varies far less than the number of examples.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from statistics import median
from typing import NamedTuple

from harness.contract.envelope import ReferenceEnvelope
from harness.scoring.factors import Medians


def frozen_examples(envelope: ReferenceEnvelope) -> float:
    """Return the median number of examples to the target over the seeds of the tuned reference.

    The number is inf if at least half of the seeds missed the target, or if it is unknown, as on streams.
    """
    known = [math.inf if value is None else value for value in envelope.target_examples]
    return median(known) if known else math.inf


def find_reference(names: Sequence[str], times: Mapping[str, object]) -> str | None:
    """Return the id of the first named submission that the table contains; None if there is no such submission.

    If the table has several versions or sources of this submission, the last id in alphabetical order is returned.
    """
    for name in names:
        matches = sorted(s for s in times if name in (s, s.rpartition("@")[0]))
        if matches:
            return matches[-1]
    return None


class AnchorTimes(NamedTuple):
    """The times of the reference to which anchored scores are relative.

    Args:
        times: workload -> time; inf is a miss.
        own: workloads whose time is that of the table, and not computed from frozen examples.
    """

    times: Mapping[str, float]
    own: frozenset[str]


def anchor_times(
    reference: str, times: Mapping[str, float], amounts: Medians, envelopes: Mapping[str, ReferenceEnvelope]
) -> AnchorTimes:
    """Return the times of the reference to which anchored scores are relative.

    A time of the table is kept in three cases: there are no frozen examples of the workload; they are those of another
    reference or version; or the reference missed the target in the table, so that its cost to the target is unknown.

    Args:
        reference: id of the reference.
        times: workload -> the reference's median time in the table, in the unit of the table; inf is a miss.
        amounts: submission -> workload -> (median scored time, median examples).
        envelopes: workload -> envelope of its reference.
    """
    anchors = {}
    for workload, time in times.items():
        envelope = envelopes.get(workload)
        if envelope is None or envelope.reference != reference:
            continue
        examples, frozen = amounts[reference][workload][1], frozen_examples(envelope)
        if all(0 < value < math.inf for value in (time, examples, frozen)):
            anchors[workload] = frozen * time / examples
    return AnchorTimes({**times, **anchors}, frozenset(times.keys() - anchors.keys()))


def describe_own_times(workloads: Collection[str]) -> str:
    """Return a remark on the workloads whose reference times come from the table itself; empty if there are none.

    >>> describe_own_times({"b@1", "a@1"})
    "anchored scores on a@1, b@1 are relative to the reference's runs in this table: no frozen examples are stored"
    """
    if not workloads:
        return ""
    return (
        f"anchored scores on {', '.join(sorted(workloads))} are relative to the reference's runs in this table: no "
        "frozen examples are stored"
    )
