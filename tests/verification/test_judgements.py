"""The trust level in a record needs evidence in the record."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from harness.contract.judging import Judgement
from harness.contract.record import Record
from tests.verification.forging import archived, change, change_point, failure, honest, published


def evaluated(access: str = "pool", status: str = "reached") -> Record:
    record = honest(access, status)
    assert record.trust == "evaluated"
    assert record.judgements
    return record


def with_last(record: Record, **changes: object) -> Record:
    last: Judgement = change(record.judgements[-1], **changes)
    forged: Record = change(record, judgements=(*record.judgements[:-1], last))
    return forged


def shifted(record: Record) -> dict[str, float]:
    return {name: metric + 0.05 for name, metric in record.judgements[-1].score.items()}


@pytest.mark.parametrize(
    ("forge", "problem"),
    [
        (lambda record: change(record, judgements=()), "has no judgement of its last evaluation"),
        (lambda record: change(record, judgements=record.judgements * 2), "follows one of point"),
        (lambda record: with_last(record, point=999), "a judgement is of point 999, but there are"),
        (lambda record: with_last(record, point=0), "contradicts its point"),
        (lambda record: with_last(record, score=shifted(record)), "contradicts its point"),
        (lambda record: with_last(record, score={}), "contradicts its point"),
        (lambda record: with_last(record, weights="zz"), "have no SHA-256: 'zz'"),
        (lambda record: with_last(record, weights=""), "of other weights than its final weights"),
        (lambda record: with_last(record, weights="0" * 64), "of other weights than its final weights"),
        (lambda record: change(record, trust="verified"), "only attestations beside a record can verify it"),
        (
            lambda record: change(
                change_point(record, 2, evaluated_examples=64, se=0.1),
                judgements=(Judgement(point=2, score=record.points[2].metrics), *record.judgements),
            ),
            "a judgement is of point 2, which is screened",
        ),
    ],
)
def test_a_level_without_evidence_is_caught(forge: Callable[[Record], Record], problem: str) -> None:
    for record in (evaluated(), evaluated(status="exhausted")):
        assert problem in failure(forge(record), "judgements")


def test_judgements_that_contradict_the_points_are_caught_at_every_level() -> None:
    forged = change(with_last(evaluated(), score=shifted(evaluated())), trust="self-reported")
    assert "contradicts its point" in failure(forged, "judgements")


def test_what_a_later_evaluation_may_differ_in_passes() -> None:
    record = evaluated()
    score = {name: metric + 5e-5 for name, metric in record.judgements[-1].score.items()}
    assert not failure(with_last(record, score=score), "judgements")


def test_honest_records_pass() -> None:
    """Pools and streams, runs to a stop, runs that diverged, and records from before judgements existed."""
    records = (*published(), *archived())
    kinds: dict[tuple[str, str, str, bool], Record] = {}
    for record in records:
        kind = (record.trust, record.status, record.spec.workload.facts.access, record.spec.stop is None)
        kinds.setdefault(kind, record)
    assert len(kinds) > 10
    assert [kind for kind, record in kinds.items() if failure(record, "judgements")] == []
