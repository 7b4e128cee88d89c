"""Check that the status of a record, its hit and its stages follow from its points."""

from __future__ import annotations

from collections.abc import Iterator

from harness.contract.record import Record, is_success
from harness.planning.run_end import decide_end, is_stage_over

#: Statuses that only `decide_end` gives to a run. With these statuses, a run ends at an evaluation. The other statuses
#: are excluded: with `timeout`, for example, a run may also end between evaluations, because its worker sent no event.
_DECIDED = frozenset({"reached", "exhausted", "pruned"})


def list_ending_problems(record: Record) -> list[str]:
    """Return a one-line message for each contradiction between the points of a record and how it ended.

    At every point, this function decides again whether the run ends, by the rules that the worker used. In addition,
    the record must contain the hashes of weights that its status requires, and no others.
    """
    return [*_replay(record), *_hit_problems(record), *_weights_problems(record)]


def _replay(record: Record) -> Iterator[str]:
    """Yield the contradictions between the points and the rules that end stages and runs."""
    spec, points, stages = record.spec, record.points, record.spec.workload.facts.stages
    stage_start, stage, ended_stages = 0, 0, []
    for index, point in enumerate(points[:-1]):
        if point.stage != stage:
            yield f"point {index} is in stage {point.stage}, but the targets put it in stage {stage}"
            return
        verdict = decide_end(spec, point, stage_start, points[:index])
        # The untrained model is evaluated, but a run never ends at it.
        if verdict is not None and index:
            yield f"the run is over at point {index} ({verdict.reason}), but {len(points) - 1 - index} points follow"
            return
        if index and stages and stage + 1 < len(stages) and is_stage_over(spec, point, stage_start):
            stage, stage_start = stage + 1, point.examples
            ended_stages.append(index)
    if not points:
        return
    if points[-1].stage != stage:
        yield f"the last point is in stage {points[-1].stage}, but the targets put it in stage {stage}"
        return
    verdict = decide_end(spec, points[-1], stage_start, points[:-1]) if len(points) > 1 else None
    if record.status in _DECIDED and (verdict is None or verdict.status != record.status):
        decided = "goes on" if verdict is None else f"is {verdict.status} ({verdict.reason})"
        yield f"the status is {record.status}, but the run {decided} at its last point"
    expected = [*ended_stages, len(points) - 1] if stages and record.status == "reached" else ended_stages
    if is_success(record.status) and list(record.stage_hits) != expected:
        yield f"stages ended at the points {expected}, but the record has {list(record.stage_hits)}"


def _hit_problems(record: Record) -> Iterator[str]:
    reached = record.status == "reached"
    if record.hit is None:
        if reached:
            yield "the status is reached, but there is no hit"
        return
    if not reached:
        yield f"there is a hit, but the status is {record.status}"
    if record.hit != len(record.points) - 1:
        yield f"the hit is point {record.hit}, but a run ends at its hit, point {len(record.points) - 1}"
        return
    point = record.points[record.hit]
    stages = record.spec.workload.facts.stages
    targets = (*stages[-1].targets, *stages[-1].floors) if stages else record.spec.workload.facts.targets
    for target in targets:
        if not target.met(point.metrics):
            yield f"{target.metric} is {point.metrics.get(target.metric)} at the hit, the target is {target.value:g}"


def _weights_problems(record: Record) -> Iterator[str]:
    if record.status not in _DECIDED:
        return
    if not record.final_weights:
        yield "the hash of the final weights is missing"
    if record.status == "reached" and not record.crossing_weights:
        yield "the status is reached, but the hash of the weights at the hit is missing"
    if record.status != "reached" and record.crossing_weights:
        yield f"the status is {record.status}, but there is a hash of weights at a hit"
    if record.crossing_weights and record.crossing_weights != record.final_weights:
        yield "the run ended at its hit, but the weights at the hit are not its final weights"
