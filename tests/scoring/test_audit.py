"""A hit counts only if its weights also meet the target on the split `audit`, within one standard error."""

from __future__ import annotations

import math

import msgspec
import pytest

from harness.contract.judging import Judgement
from harness.contract.record import Record
from harness.contract.workload import Target
from harness.report.leaderboard import as_markdown
from harness.report.run_page import run_text
from harness.scoring.audit import audit_hit
from harness.scoring.leaderboard import build_leaderboards
from harness.scoring.summary import LeaderboardQuery, summarize
from harness.scoring.time_to_target import target_result
from tests.scoring import builders


def judged(audit: float, se: float = 0.02, *, score: float = 0.9, goal: str = "min", study: int = 0) -> Record:
    """A run that reaches the target 1.0 at its last point, and the metrics of its last weights."""
    target = Target(metric="loss", goal="min" if goal == "min" else "max", value=1.0)
    facts = msgspec.structs.replace(builders.facts(), targets=(target,))
    losses = [2.0, 1.5, score] if goal == "min" else [0.2, 0.5, score]
    record = builders.record(builders.spec(workload=facts, study=study), losses)
    last = len(record.points) - 1
    judgement = Judgement(point=last, score={"loss": score}, audit={"loss": audit, "se": se})
    return msgspec.structs.replace(record, judgements=(judgement,), hit=last, status="reached")


@pytest.mark.parametrize(
    ("goal", "score", "audit", "confirmed"),
    [
        ("min", 0.9, 0.95, True),
        ("min", 0.9, 1.015, True),
        ("min", 0.9, 1.025, False),
        ("max", 1.1, 0.985, True),
        ("max", 1.1, 0.975, False),
    ],
)
def test_a_hit_counts_if_it_meets_the_target_on_audit_within_one_standard_error(
    goal: str, score: float, audit: float, confirmed: bool
) -> None:
    record = judged(audit, score=score, goal=goal)
    result = target_result(record)
    assert result.status == ("hit" if confirmed else "miss")
    assert math.isinf(result.value) is not confirmed
    assert ("not confirmed: on the split audit, loss is" in result.reason) is not confirmed
    found = audit_hit(record)
    assert found is not None
    assert found.gap == pytest.approx(audit - score if goal == "min" else score - audit)


def test_a_hit_without_an_evaluation_on_audit_counts() -> None:
    bare = msgspec.structs.replace(judged(2.0), judgements=())
    assert (target_result(bare).status, audit_hit(bare)) == ("hit", None)
    other = msgspec.structs.replace(judged(2.0), judgements=(Judgement(point=0, score={}, audit={"loss": 2.0}),))
    assert target_result(other).status == "hit", "the weights of another point"


def test_a_hit_counts_if_the_workload_reports_no_standard_error() -> None:
    record = judged(2.0)
    (judgement,) = record.judgements
    bare = msgspec.structs.replace(judgement, audit={"loss": 2.0})
    assert target_result(msgspec.structs.replace(record, judgements=(bare,))).status == "hit"


def test_other_targets_are_not_compared_with_audit() -> None:
    """The weights that met an easier target were not evaluated on this split."""
    easier = (Target(metric="loss", goal="min", value=1.6),)
    assert target_result(judged(2.0), targets=easier).status == "hit"


def test_tables_show_the_gap_and_the_hits_that_do_not_count() -> None:
    records = [judged(audit, study=study) for study, audit in enumerate([0.93, 0.95, 1.2])]
    query = LeaderboardQuery()
    (board,) = build_leaderboards([summarize(record, query) for record in records], query)
    (row,) = board.details[0].rows
    assert (row.seconds.hits, row.seconds.studies, row.unconfirmed) == (2, 3, 1)
    assert row.audit_gap == pytest.approx(0.05)
    shown = as_markdown([board], [], [], [])
    assert "| audit gap |" in shown
    assert "3 reached; 1 not confirmed on the split audit" in shown
    assert "so the hit does not count" in run_text(records[2])
    assert "meets the target" in run_text(records[0])
