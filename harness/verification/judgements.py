"""Check that the judgements of a record support the trust level that the record states."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise
from typing import Final

from harness.contract.judging import ACCURACY_EXAMPLES, Judgement
from harness.contract.record import Record, is_complete
from harness.contract.run import Point, RunSpec
from harness.execution.judging import find_difference
from harness.verification.curve import is_fraction

_SHA256 = re.compile(r"[0-9a-f]{64}")
#: Smallest number of examples for which the tolerance of an accuracy is assumed. The record does not state the number.
_FEWEST_EXAMPLES: Final = 100


def list_judgement_problems(record: Record) -> list[str]:
    """Return a one-line message for each contradiction between the judgements, the points and the trust level.

    A complete run that was evaluated has a judgement of its last evaluation, made from its final weights. Other runs
    may have ended before anything was judged.
    """
    if record.trust == "verified":
        return ["the record calls itself verified, but only attestations beside a record can verify it"]
    problems = list(_list_single_problems(record))
    if problems or record.trust != "evaluated" or not is_complete(record.status):
        return problems
    last = len(record.points) - 1
    if not record.judgements or record.judgements[-1].point != last:
        return [f"the record calls itself evaluated, but has no judgement of its last evaluation, point {last}"]
    if record.judgements[-1].weights != record.final_weights:
        return ["the record calls itself evaluated, but its last judgement is of other weights than its final weights"]
    return []


def _list_single_problems(record: Record) -> Iterator[str]:
    """Yield the problems of the judgements by themselves."""
    points = record.points
    for earlier, later in pairwise(record.judgements):
        if later.point <= earlier.point:
            yield f"a judgement of point {later.point} follows one of point {earlier.point}"
    for judgement in record.judgements:
        if not 0 <= judgement.point < len(points):
            yield f"a judgement is of point {judgement.point}, but there are {len(points)} points"
        elif points[judgement.point].screened:
            yield f"a judgement is of point {judgement.point}, which is screened"
        elif difference := _find_difference(record.spec, points, judgement):
            yield f"a judgement contradicts its point: {difference}"
        if judgement.weights and not _SHA256.fullmatch(judgement.weights):
            yield f"the weights of a judgement have no SHA-256: {judgement.weights[:80]!r}"


def _find_difference(spec: RunSpec, points: tuple[Point, ...], judgement: Judgement) -> str:
    point = points[judgement.point]
    accuracies = {name for name in point.metrics if is_fraction(spec, point, name)}
    tolerances = dict.fromkeys(accuracies, ACCURACY_EXAMPLES / _FEWEST_EXAMPLES)
    return find_difference(points, [judgement], tolerances)
