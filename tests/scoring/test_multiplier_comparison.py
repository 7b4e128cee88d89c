"""Two submissions of a ranking by multiplier, compared in pairs."""

from __future__ import annotations

import math

import msgspec
import pytest

from harness.contract.envelope import ReferenceEnvelope
from harness.contract.record import Record
from harness.contract.run import Nonce
from harness.errors import UsageError
from harness.report.multiplier_comparison import multiplier_comparison_text
from harness.scoring.multiplier_comparison import MultiplierComparison, compare_multipliers
from harness.scoring.multipliers import score_boards
from tests.scoring.test_multipliers import envelope, run, runs


def compared(records: list[Record], *envelopes: ReferenceEnvelope, a: str = "a@1") -> MultiplierComparison:
    (board,) = score_boards([*records, *runs([1.0] * 5, "ref")], {one.workload: one for one in envelopes})
    return compare_multipliers(board, a, "b@1" if a == "a@1" else "a@1")


def on_two_workloads(multipliers: dict[str, list[float]]) -> list[Record]:
    scored = [
        run(value, name, study, workload=workload)
        for name, values in multipliers.items()
        for workload in ("w", "v")
        for study, value in enumerate(values)
    ]
    return [*scored, *(run(1.0, "ref", study, workload="v") for study in range(5))]


BOTH = (envelope(), envelope(workload="v@1"))


def test_the_ratio_is_that_of_the_table_and_the_test_pools_all_workloads() -> None:
    records = on_two_workloads({"a": [1.2] * 5, "b": [0.8] * 5})
    result = compared(records, *BOTH)
    assert result.overall.time is not None
    assert result.overall.time.value == pytest.approx(1.5)
    assert (result.overall.verdict, result.overall.n) == ("faster", 10)
    assert result.overall.p < 0.001
    assert [(one.workload, one.verdict, one.n) for one in result.workloads] == [
        ("v@1", "inconclusive", 5),
        ("w@1", "inconclusive", 5),
    ], "five pairs are too few"
    turned = compared(records, *BOTH, a="b@1")
    assert turned.overall.verdict == "slower"
    assert turned.overall.time is not None
    assert turned.overall.time.log == pytest.approx(-math.log(1.5))
    assert (turned.slower_than(1.4), turned.slower_than(1.6), result.slower_than(1.0)) == (True, False, False)


def test_the_interval_is_that_of_paired_studies() -> None:
    """Seeds that are lucky for both submissions do not widen it."""
    luck = [0.7, 0.9, 1.0, 1.2, 1.4]
    (board,) = score_boards([*runs([1.1 * x for x in luck]), *runs(luck, "b"), *runs(luck, "ref")], {"w@1": envelope()})
    result = compare_multipliers(board, "a@1", "b@1")
    assert result.overall.time is not None
    assert result.overall.time.interval() == pytest.approx((1.1, 1.1))
    again = compared([*runs([1.1 * x for x in luck]), *runs(luck[::-1], "b")], envelope())
    assert again.overall.time is not None
    low, high = again.overall.time.interval() or (1.1, 1.1)
    assert low < 0.8
    assert high > 1.5


def test_an_error_of_the_envelope_that_both_share_cancels() -> None:
    noisy = envelope(noise=(0.1, -0.1, 0.0))
    equal = compared([*runs([0.7] * 5), *runs([0.7] * 5, "b")], noisy).overall.time
    assert equal is not None
    assert equal.interval() == pytest.approx((1.0, 1.0))


@pytest.mark.parametrize(
    ("a", "b", "bound", "verdict"),
    [(1.0, 0.1, ">", "faster"), (0.1, 1.0, "<", "slower"), (0.1, 0.1, "~", "inconclusive")],
)
def test_bounds(a: float, b: float, bound: str, verdict: str) -> None:
    result = compared(on_two_workloads({"a": [a] * 5, "b": [b] * 5}), *BOTH)
    assert result.overall.time is not None
    assert (result.overall.time.bound, result.overall.verdict) == (bound, verdict)
    assert result.overall.time.interval() is None


def test_a_bound_never_decides_in_its_own_favour() -> None:
    """`a` is at least 2, and so is `b`; their costs differ, so the test finds a difference, but the bounds hide it."""
    records = on_two_workloads({"a": [3.0] * 5, "b": [3.0] * 5})
    slower = [run(3.0, "b", study, workload=workload, seconds=2.0) for workload in ("w", "v") for study in range(5)]
    result = compared([*(one for one in records if one.spec.submission.name != "b"), *slower], *BOTH)
    assert result.overall.p < 0.05
    assert result.overall.time is not None
    assert (result.overall.time.bound, result.overall.verdict) == ("~", "inconclusive")


def test_what_is_missing_is_said() -> None:
    records = on_two_workloads({"a": [1.2] * 5, "b": [1.0] * 5})
    only_w = [one for one in records if (one.spec.submission.name, one.spec.workload.facts.name) != ("b", "v")]
    assert [str(one) for one in compared(only_w, *BOTH).skipped] == ["v@1: only a@1 has runs"]
    without = compared(records, envelope())
    assert without.overall.n == 5
    assert {one.item for one in without.skipped} == {"a@1 on v@1", "b@1 on v@1"}
    assert "bench calibrate v --envelope" in without.skipped[0].reason
    with pytest.raises(UsageError, match="no pair of runs with multipliers"):
        compared(records)
    with pytest.raises(UsageError, match="no runs on the same workload"):
        compared([*runs([1.0] * 5), *(run(1.0, "b", study, workload="v") for study in range(5))], *BOTH)


def test_unfinished_runs_are_no_misses() -> None:
    """`a` is faster on `w`, and its runs on `v` were interrupted."""
    records = on_two_workloads({"a": [1.2] * 6, "b": [1.0] * 6})
    stopped = [
        msgspec.structs.replace(one, status="interrupted", hit=None)
        if (one.spec.submission.name, one.spec.workload.facts.name) == ("a", "v")
        else one
        for one in records
    ]
    result = compared(stopped, *BOTH)
    assert [one.item for one in result.skipped] == ["a@1 on v@1"]
    assert (result.overall.n, result.overall.verdict) == (6, "faster")


def test_seeds_on_which_both_broke_down_decide_nothing() -> None:
    """`a` is twice as fast on `w`, and on `v` all runs of both diverged."""
    records = on_two_workloads({"a": [2.0] * 6, "b": [1.0] * 6})
    broken = [
        msgspec.structs.replace(one, status="diverged", hit=None, reason="loss is nan")
        if one.spec.workload.facts.name == "v" and one.spec.submission.name != "ref"
        else one
        for one in records
    ]
    result = compared(broken, *BOTH)
    assert result.overall.verdict != "slower"
    assert result.overall.time is None


def test_a_run_that_breaks_down_loses_against_one_that_does_not() -> None:
    records = on_two_workloads({"a": [2.0] * 6, "b": [1.0] * 6})
    broken = [
        msgspec.structs.replace(one, status="diverged", hit=None) if one.spec.submission.name == "a" else one
        for one in records
    ]
    assert compared(broken, *BOTH).overall.verdict == "slower"


def test_studies_of_different_nonces_are_no_pairs() -> None:
    first, second = (
        [msgspec.structs.replace(one, spec=msgspec.structs.replace(one.spec, nonce=nonce)) for one in made]
        for made, nonce in (
            (runs([1.2] * 6), Nonce(value="aa", source="given")),
            (runs([1.0] * 6, "b"), Nonce(value="bb", source="given")),
        )
    )
    assert compared([*first, *second], envelope()).overall.n == 0
    (board,) = score_boards([*runs([1.0] * 5), *(at_nonce(one, "aa") for one in runs([2.0] * 5))], {"w@1": envelope()})
    assert board.cells[0].n == 10


def at_nonce(record: Record, value: str) -> Record:
    spec = msgspec.structs.replace(record.spec, nonce=Nonce(value=value, source="given"))
    return msgspec.structs.replace(record, run_id=f"{record.run_id}-{value}", spec=spec)


def test_a_p_value_is_shown_only_if_there_was_a_test() -> None:
    noise = [0.98, 1.0, 1.01, 0.99, 1.02]
    records = [
        one
        for workload in ("v", "w")
        for name, value in (("a", 1.8), ("b", 0.5), ("ref", 1.0))
        for one in runs([value * factor for factor in noise], name, workload=workload)
    ]
    (board,) = score_boards(records, {f"{name}@1": envelope(workload=f"{name}@1") for name in ("v", "w")})
    lines = multiplier_comparison_text(compare_multipliers(board, "a@1", "b@1"), 200).splitlines()
    last_cells = {line.split()[0]: line.split("  ")[-1].strip() for line in lines[2:5]}
    assert last_cells == {"v@1": "–", "w@1": "–", "overall": "< 0.0001"}
