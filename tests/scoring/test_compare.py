"""Comparisons: pairing by block, verdicts, misses, what is left out."""

from __future__ import annotations

import math
from typing import Any

import msgspec
import pytest

from harness.contract.record import Record
from harness.contract.ruleset import Ruleset
from harness.contract.run import Nonce
from harness.contract.workload import WorkloadFacts
from harness.errors import UsageError
from harness.scoring.compare import compare, compare_runs, compare_times
from harness.scoring.selection import describe_root_seeds, select_usable
from harness.scoring.time_to_target import score_run
from tests.scoring.builders import facts, points, record, spec

INF = math.inf


def runs(name: str, seconds: list[float], workload: str = "w", **changes: Any) -> list[Record]:
    return [
        record(
            spec(name, facts(workload), study=i, **changes),
            [2.0, 1.5] if math.isinf(s) else None,
            seconds=1.0 if math.isinf(s) else s,
        )
        for i, s in enumerate(seconds)
    ]


NOISE = [1.0, 1.3, 0.8, 1.1, 0.9, 1.2, 1.05, 0.95]


def test_faster_and_slower() -> None:
    a, b = runs("a", [0.9 * x for x in NOISE]), runs("b", NOISE)
    result = compare(a, b)
    (row,) = result.workloads
    assert (row.verdict, row.n, row.more, row.workload) == ("faster", 8, 0, "w@1")
    assert row.ratio == pytest.approx(0.9)
    assert row.spread.low == pytest.approx(0.9)
    assert row.p == 2 / 2**8
    assert result.overall is not None
    assert result.overall.verdict == "faster"
    assert str(result.overall) == "faster (n=8)"
    back = compare(b, a)
    assert back.workloads[0].verdict == "slower"
    assert back.slower_than(1.05)
    assert not back.slower_than(1.2)
    assert not result.slower_than(1.05)


@pytest.mark.parametrize("n", [1, 2, 5])
def test_under_six_pairs_nothing_is_decided(n: int) -> None:
    result = compare(runs("a", [1.0] * n), runs("b", [2.0] * n))
    (row,) = result.workloads
    assert row.verdict == "inconclusive"
    assert str(row) == f"inconclusive (n={n})"
    assert row.spread.kind == "range"
    assert row.more is not None
    assert row.n + row.more >= 6


def test_pairing_is_by_block_and_the_rest_is_named() -> None:
    a, b = runs("a", NOISE), runs("b", NOISE[:6])
    result = compare(list(reversed(a)), b)
    assert result.workloads[0].n == 6
    assert result.workloads[0].ratio == 1.0
    assert result.workloads[0].verdict == "inconclusive"
    assert [str(s) for s in result.skipped] == ["w@1: 2 runs have no partner with the same seeds"]


def test_workloads_of_one_side_are_named_and_overall_needs_common_blocks() -> None:
    a = runs("a", NOISE) + runs("a", NOISE, "v") + runs("a", NOISE, "only-a")
    b = runs("b", [2 * x for x in NOISE]) + runs("b", [2 * x for x in NOISE[:7]], "v")
    result = compare(a, b)
    assert {row.workload: row.n for row in result.workloads} == {"w@1": 8, "v@1": 7}
    assert result.overall is not None
    assert result.overall.n == 7
    assert result.overall.ratio == pytest.approx(0.5)
    assert any(s.item == "only-a@1" for s in result.skipped)
    assert all(row.p_holm >= row.p for row in result.workloads)


def test_holm_over_workloads() -> None:
    tables = {f"w{i}": dict(enumerate(NOISE[:6])) for i in range(3)}
    slower = {name: {k: 1.1 * x for k, x in row.items()} for name, row in tables.items()}
    result = compare_times(slower, tables)
    assert [row.p for row in result.workloads] == [2 / 2**6] * 3
    assert {row.verdict for row in result.workloads} == {"inconclusive"}
    assert result.overall is not None
    assert result.overall.verdict == "slower"


def test_misses_are_ranks_and_never_times() -> None:
    result = compare(runs("a", [*NOISE[:6], INF, INF]), runs("b", [*(0.9 * x for x in NOISE[:6]), 1.0, INF]))
    (row,) = result.workloads
    assert row.verdict == "slower"
    assert row.both_missed == 1
    assert row.hits_a is not None
    assert row.hits_b is not None
    assert (row.hits_a.value, row.hits_b.value) == (6 / 8, 7 / 8)
    assert math.isfinite(row.ratio)
    assert row.mean_a is not None
    assert row.mean_b is not None
    assert row.mean_a > row.mean_b


def test_all_missed() -> None:
    result = compare(runs("a", [INF] * 8), runs("b", [INF] * 8))
    assert result.workloads[0].verdict == "inconclusive"
    assert result.workloads[0].ratio == 1.0
    assert result.workloads[0].both_missed == 8
    one_side = compare(runs("a", [INF] * 8), runs("b", NOISE))
    assert one_side.workloads[0].verdict == "slower"
    assert one_side.workloads[0].ratio == INF
    assert one_side.slower_than(1.05)


def test_studies_of_several_trials_pair_by_their_best() -> None:
    rules = Ruleset(name="external", version="1", summary="", trials=2, studies=8)
    a = [record(spec("a", study=s, trial=t, ruleset=rules), seconds=1.0 + t) for s in range(8) for t in range(2)]
    b = [record(spec("b", study=s, trial=t, ruleset=rules), seconds=4.0 - 2 * t) for s in range(8) for t in range(2)]
    (row,) = compare(a, b).workloads
    assert row.n == 8
    assert row.ratio == pytest.approx(0.5)


def test_what_cannot_be_compared_is_refused() -> None:
    with pytest.raises(UsageError, match="A must be one submission"):
        compare([], runs("b", NOISE))
    with pytest.raises(UsageError, match="B must be one submission, but has records of b@1, c@1"):
        compare(runs("a", NOISE), runs("b", NOISE) + runs("c", NOISE))
    with pytest.raises(UsageError, match="have no pair of runs"):
        compare(runs("a", NOISE), runs("b", NOISE, "v"))
    with pytest.raises(UsageError, match="two hardware classes"):
        compare(runs("a", NOISE), runs("b", NOISE, hardware="other"))
    with pytest.raises(UsageError, match="must be positive"):
        compare_times({"w": {0: math.nan}}, {"w": {0: 1.0}})


def test_other_axis_and_unknown_outcomes() -> None:
    broken = record(spec("a", study=8), status="interrupted", hit=None, points=())
    result = compare([*runs("a", NOISE), broken], runs("b", NOISE), by="steps")
    assert result.by == "steps"
    assert result.workloads[0].mean_a is None
    assert any("interrupted" in s.reason for s in result.skipped)


def test_a_divergence_counts_against_the_submission() -> None:
    """Half of its runs diverged: that the others were quick does not make it the faster one."""
    quick = runs("a", [0.8 * x for x in NOISE])
    broken = [
        msgspec.structs.replace(
            record(spec("a", facts("w"), study=8 + i), [2.0, 2.0], status="diverged"),
            points=(points([2.0])[0], msgspec.structs.replace(points([2.0, 2.0])[1], metrics={})),
        )
        for i in range(8)
    ]
    result = compare([*quick, *broken], runs("b", [*NOISE, *NOISE]))
    (row,) = result.workloads
    assert row.n == 16
    assert row.hits_a is not None
    assert row.hits_a.value == 0.5
    assert row.verdict != "faster"


def test_the_factors_are_those_of_the_pairs_that_the_ratio_uses() -> None:
    """In four further studies, A has two trials and is eight times slower. They are no pairs."""
    rules = Ruleset(name="external", version="1", summary="", trials=2, studies=8)
    a = [record(spec("a", study=i, ruleset=rules), seconds=x) for i, x in enumerate(NOISE[:3])]
    b = [record(spec("b", study=i, ruleset=rules), seconds=x) for i, x in enumerate(NOISE[:3])]
    a += [record(spec("a", study=i, trial=t, ruleset=rules), seconds=8.0) for i in range(3, 7) for t in range(2)]
    b += [record(spec("b", study=i, ruleset=rules), seconds=1.0) for i in range(3, 7)]
    (row,) = compare(a, b, "measured-time").workloads
    assert (row.n, row.ratio) == (3, 1.0)
    assert row.examples is not None
    assert row.cost is not None
    assert row.examples.ratio == 1.0
    assert row.cost.ratio == pytest.approx(1.0)


def test_runs_of_different_nonces_are_no_pairs_and_no_repetitions() -> None:
    def at_nonce(records: list[Record], value: str) -> list[Record]:
        return [
            msgspec.structs.replace(
                one,
                run_id=f"{one.run_id}-{value}",
                spec=msgspec.structs.replace(one.spec, nonce=Nonce(value=value, source="given")),
            )
            for one in records
        ]

    with pytest.raises(UsageError, match="no pair of runs"):
        compare(at_nonce(runs("a", NOISE), "aa"), at_nonce(runs("b", NOISE), "bb"))
    both = [*at_nonce(runs("a", NOISE), "aa"), *at_nonce(runs("a", NOISE), "bb")]
    assert compare(both, at_nonce(runs("b", NOISE), "bb")).workloads[0].n == 8
    usable, skipped = select_usable([score_run(one) for one in both])
    assert (len(usable), skipped) == (16, [])
    assert "nonce aa (8 runs of a@1); nonce bb (8 runs of a@1)" in describe_root_seeds(usable)


def test_studies_with_more_trials_are_no_partners_of_those_with_fewer() -> None:
    """The best of two is faster than the best of one without any difference between the submissions."""
    rules = Ruleset(name="external", version="1", summary="", trials=2, studies=8)
    a = [
        record(spec("a", study=i, trial=t, ruleset=rules), seconds=x * (1 + 0.1 * t))
        for i, x in enumerate(NOISE)
        for t in range(2)
    ]
    b = [record(spec("b", study=i, ruleset=rules), seconds=1.1 * x) for i, x in enumerate(NOISE)]
    with pytest.raises(UsageError, match="no pair of runs") as refused:
        compare(a, b)
    assert "8 studies: A has 2 trials and B has 1" in str(refused.value)
    b += [record(spec("b", study=i, trial=1, ruleset=rules), seconds=1.0 * x) for i, x in enumerate(NOISE[:6])]
    result = compare(a, b)
    assert result.workloads[0].n == 6
    assert [str(s) for s in result.skipped] == [
        "w@1, 2 studies: A has 2 trials and B has 1, so these studies are not paired"
    ]


def test_of_two_versions_of_a_workload_the_newest_is_compared() -> None:
    old, new = facts("w", "2"), facts("w", "10")
    a = [record(spec("a", version, study=i), seconds=x) for version in (old, new) for i, x in enumerate(NOISE)]
    b = [record(spec("b", new, study=i), seconds=2 * x) for i, x in enumerate(NOISE)]
    result = compare(a, b)
    assert [(row.workload, row.n, row.verdict) for row in result.workloads] == [("w@10", 8, "faster")]
    assert {s.reason for s in result.skipped} == {"w@10 is newer"}
    runs = [score_run(record) for record in (*a, *b)]
    older = compare_runs(runs[: len(a)], [*runs[len(a) :], *map(score_run, other_b(old))], installed=[old])
    assert [row.workload for row in older.workloads] == ["w@2"]
    assert {s.reason for s in older.skipped} == {"w@2 is the installed version"}


def other_b(version: WorkloadFacts) -> list[Record]:
    return [record(spec("b", version, study=i), seconds=2 * x) for i, x in enumerate(NOISE)]


def test_the_version_of_a_workload_may_contain_a_superscript() -> None:
    """`²` is a digit for `str.isdigit`, but `int` does not convert it."""
    versions = facts("w", "4"), facts("w", "4²")
    a, b = ([record(spec(name, version, study=i)) for version in versions for i in range(3)] for name in "ab")
    assert compare(a, b).workloads[0].workload == "w@4²"
