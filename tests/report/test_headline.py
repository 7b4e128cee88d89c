"""The sentences at the top of a table: who leads, by how much, who is tied, and what the numbers hide."""

from __future__ import annotations

import itertools
import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.contract.record import Record
from harness.report import leaderboard
from harness.report.headline import headline_sentences, join_names, ranking_sentences
from harness.report.verdicts import MAX_MATRIX, verdict_matrix, verdicts_json
from harness.scoring.headline import headline_of_ranks
from harness.scoring.leaderboard import Leaderboard, build_leaderboards
from harness.scoring.summary import LeaderboardQuery, parse_metric_budget, summarize
from harness.scoring.ties import PairVerdict, Ties, rank_ties
from tests.report import synthetic
from tests.report.conftest import Bench


def board_of(records: list[Record], **options: Any) -> Leaderboard:
    query = LeaderboardQuery(**{"references": ("alpha",), **options})
    return build_leaderboards([summarize(record, query) for record in records], query)[0]


def records_of(speeds: dict[str, dict[str, float]], studies: int = 8) -> list[Record]:
    """A run for each submission, workload and study; the speeds are seconds to the target."""
    return [
        synthetic.record(name, synthetic.facts(workload), study, speed=speed)
        for name, row in speeds.items()
        for workload, speed in row.items()
        for study in range(studies)
    ]


def said(board: Leaderboard) -> list[str]:
    return list(headline_sentences(board))


def test_the_leader_and_those_behind() -> None:
    speeds = {"alpha": 2.0, "quick": 1.0, "beta": 1.7, "gamma": 1.7}
    board = board_of(records_of({name: {"hills": s, "valleys": s} for name, s in speeds.items()}))
    quick = next(row for row in board.rows if row.submission == "quick@1")
    assert quick.factors is not None
    assert said(board) == [
        f"quick@1 leads: {quick.factors.examples:.2f}× the examples, {quick.factors.time:.2f}× the time of alpha@1.",
        f"Ranks 2 to 3 tied: {board.rows[1].submission} and {board.rows[2].submission}.",
    ]
    assert quick.factors.time == pytest.approx(0.5, rel=0.1)


def test_a_leading_reference_is_compared_with_the_second_one() -> None:
    board = board_of(synthetic.field(8))
    assert said(board)[0].startswith("alpha@1 leads: 0.")
    assert said(board)[0].endswith("the time of beta@1.")
    assert said(board)[1] == "Rank 2: beta@1."
    without = board_of(synthetic.field(8), references=())
    assert said(without) == said(board)
    assert said(board_of(synthetic.field(8), by="steps"))[0].endswith("× the steps of beta@1.")


def test_a_leader_that_misses_says_so() -> None:
    """The ratio of a leader is from the workloads that it reached, and the sentence names the others."""
    names = [f"w{i}" for i in range(8)]
    speeds = {"alpha": dict.fromkeys(names, 2.0), "bold": dict.fromkeys(names, 0.3) | {"w3": 50.0}}
    board = board_of(records_of(speeds))
    assert board.rows[0].submission == "bold@1"
    lead, hits, _ = said(board)
    assert lead.endswith("the time of alpha@1 on 7 of 8 workloads.")
    assert hits == "It did not reach the target on 1 of 8 workloads (w3@1)."


def test_a_shared_lead() -> None:
    speeds = {name: {"hills": 1.0, "valleys": 1.0} for name in ("alpha", "beta", "gamma")}
    board = board_of(records_of(speeds))
    first, ratios = said(board)
    names = join_names([row.submission for row in board.rows])
    assert first == f"{names} are tied for rank 1: no significant difference between them."
    assert ratios.startswith("The others take ")
    assert ratios.endswith("× the time of alpha@1 where both reach the target.")


def test_too_few_studies() -> None:
    board = board_of(synthetic.field(3))
    first, _, hits = said(board)
    assert first == (
        "No verdict: rank 1 is undecided between alpha@1, beta@1 and gamma-with-a-rather-long-name@1, because there "
        "are only 6 pairs of studies, and 7 are needed (4 studies on each workload)."
    )
    assert hits == (
        "The submissions whose best possible rank is 1 reached the target on 1 to 2 of 2 workloads, "
        "depending on the submission."
    )


def test_studies_of_different_root_seeds_are_no_pairs_and_a_note_names_them() -> None:
    records = [synthetic.record("alpha", study=study) for study in range(8)]
    other = [synthetic.record("beta", study=study, spec={"root_seed": 7}) for study in range(8)]
    board = board_of([*records, *other])
    assert said(board)[0] == (
        "No verdict: rank 1 is undecided between alpha@1 and beta@1, "
        "because some of them have no common study with the same root seed."
    )
    assert [note for note in board.notes if "root seeds" in note] == [
        "studies of 2 root seeds are scored together, but studies of different root seeds are not paired: "
        "0 (8 runs of alpha@1); 7 (8 runs of beta@1)"
    ]
    assert not [note for note in board_of(records).notes if "root seed" in note]


def test_one_submission_no_hit_and_no_test() -> None:
    assert said(board_of([synthetic.record()])) == ["alpha@1 is the only submission, so nothing is compared."]
    missed = [synthetic.record(name, speed=60.0) for name in ("alpha", "beta")]
    assert said(board_of(missed)) == ["Nobody leads: no submission reached a target."]
    budget = parse_metric_budget("50%")
    assert said(board_of(synthetic.field(8), metric_budget=budget)) == [
        "By mean rank, alpha@1 is first (1.00), then beta@1.",
        "No test decides between them.",
    ]


def test_a_first_submission_that_is_tied_with_a_later_one_does_not_lead() -> None:
    """`quick` is ahead of `beta` and `beta` ahead of `gamma`, but only two studies of `quick` and `gamma` are pairs."""
    records = [synthetic.record("quick", study=study, speed=1.0) for study in range(12)]
    records += [synthetic.record("beta", study=study, speed=1.5) for study in range(22)]
    records += [synthetic.record("gamma", study=study, speed=2.0) for study in range(10, 22)]
    board = board_of(records)
    assert [row.ranks for row in board.rows] == [(1, 2), (2, 2), (2, 3)]
    assert said(board)[0].startswith("quick@1 is first, without a significant difference from gamma@1: 0.")


def test_every_format_has_the_sentences(bench: Bench, results: Path) -> None:
    reference = ("--reference", "alpha")
    table = json.loads(bench("leaderboard", "--json", *reference).out)["tables"][0]
    text = table["headline"]["text"]
    first = text.split(". ")[0] + "."
    assert table["headline"]["required_pairs"] == 7
    assert f"**{first}** " in bench("leaderboard", "--format", "md", *reference).out
    assert f"<p><strong>{first}</strong> " in bench("leaderboard", "--format", "html", *reference).out
    lines = bench("leaderboard", *reference).out.splitlines()
    assert lines[1] == text
    assert {(pair["a"], pair["b"]) for pair in table["verdicts"]} == {tuple(pair) for pair in table["ties"]}
    assert {pair["verdict"] for pair in table["verdicts"]} == {"undecided"}


def test_the_matrix_is_that_of_the_verdicts() -> None:
    studies = {
        "a": {"w": dict.fromkeys(range(9), 1.0)},
        "b": {"w": dict.fromkeys(range(9), 2.0)},
        "c": {"w": {i: 2.0 * 1.01 ** (-1) ** i for i in range(9)}},
        "d": {"w": dict.fromkeys(range(9), math.inf)},
    }
    verdicts = rank_ties(studies, order=list(studies), workloads=["w"]).verdicts
    matrix = verdict_matrix(verdicts, list(studies))
    assert matrix["names"] == list(studies)
    assert [cell and cell[:2] for cell in matrix["cells"][1]] == [
        ["slower", "2.00×"], None, ["tied", "1.00×"], ["faster", "column missed"],
    ]  # fmt: skip
    assert matrix["cells"][0][1] == ["faster", "0.50×", 9]
    assert [cell and cell[:2] for cell in matrix["cells"][3]][:1] == [["slower", "row missed"]]
    plain = verdicts_json(verdicts)
    assert plain[0] == {
        "a": "a", "b": "b", "verdict": "faster", "ratio": 0.5, "pairs": 9, "p": pytest.approx(0.0234375),
        "contradicts_order": False,
    }  # fmt: skip
    assert plain[2]["ratio"] is None
    wide = verdict_matrix((), [f"s{i}" for i in range(MAX_MATRIX + 3)])
    assert (len(wide["cells"]), wide["left_out"]) == (MAX_MATRIX, 3)


def test_a_ranking_by_another_amount_states_the_amounts() -> None:
    """Rankings that are plain tables, such as those by multiplier, have the same sentences with other amounts."""
    studies = {name: {"w": {i: t * 1.01 ** (-1) ** i for i in range(9)}} for name, t in (("a", 1.0), ("b", 2.0))}
    studies["c"] = {"w": {i: t * 1.01 ** (-1) ** (i // 2) for i, t in enumerate([2.0] * 9)}}
    amounts = {name: f"{name.upper()}×" for name in "abc"}
    ties = rank_ties(studies, order=list("abc"), workloads=["w"])
    headline = headline_of_ranks(list("abc"), ties, ["w"], amounts, "multiplier")
    assert ranking_sentences(headline) == ("a leads: multiplier A×.", "Ranks 2 to 3 tied: b (B×) and c (C×).")
    shared = headline_of_ranks(
        ["b", "c"], rank_ties(studies, order=["b", "c"], workloads=["w"]), ["w"], amounts, "multiplier"
    )
    assert ranking_sentences(shared) == (
        "By multiplier: b (B×) and c (C×) are tied for rank 1: no significant difference between them.",
    )


def test_a_shared_lead_says_who_is_behind_some_leaders_and_who_is_behind_all() -> None:
    """`a` and `b` lead. `c` is significantly behind `a` alone, and `d` and `e` are behind both."""
    order = list("abcde")
    pairs = {
        pair: PairVerdict(a=pair[0], b=pair[1], verdict="tied", log_ratios=(-0.1,) * 9, p=0.5)
        for pair in itertools.combinations(order, 2)
    }
    for a, b in ("ac", "ad", "bd", "ae", "be"):
        pairs[a, b] = replace(pairs[a, b], verdict="faster")
    ranks = {"a": (1, 2), "b": (1, 3), "c": (2, 5), "d": (3, 5), "e": (3, 5)}
    ties = Ties(verdicts=tuple(pairs.values()), ranks=ranks)
    headline = headline_of_ranks(order, ties, ["w"], {name: f"{name.upper()}×" for name in order}, "multiplier")
    assert ranking_sentences(headline)[1:] == (
        "c (C×) is significantly behind at least one of them.",
        "d (D×) and e (E×) are significantly behind all of them.",
    )


def test_submissions_without_a_common_workload_are_not_told_to_share_seeds() -> None:
    """Only `hills` counts, because `steep` is coarse, and `beta` and `gamma` have no run on `hills`."""
    speeds = {"alpha": {"hills": 1.0, "steep": 1.0}, "beta": {"steep": 1.0}, "gamma": {"steep": 1.0}}
    board = board_of(
        [
            synthetic.record(name, synthetic.facts(workload, coarse=workload == "steep"), study, speed=speed)
            for name, row in speeds.items()
            for workload, speed in row.items()
            for study in range(3)
        ]
    )
    assert said(board)[0] == (
        "No verdict: rank 1 is undecided between alpha@1, beta@1 and gamma@1, because some of them have no run on a "
        "common workload that counts for the ranks (hills@1)."
    )


def test_a_contradiction_is_marked() -> None:
    """`a` is 5 % faster on five workloads and misses the sixth, so that its score is the lower one."""
    columns = [f"w{i}" for i in range(6)]
    a = {w: {i: 0.95 * (1 + i / 100) for i in range(10)} for w in columns[:5]}
    b = {w: {i: 1 + i / 100 for i in range(10)} for w in columns}
    verdicts = rank_ties({"a": a, "b": b}, order=["b", "a"], workloads=columns).verdicts
    assert verdict_matrix(verdicts, ["b", "a"])["cells"][0][1][:2] == ["tied", "!1.05×"]
    assert verdicts_json(verdicts)[0]["contradicts_order"]


def test_names_of_records_cannot_break_the_formats() -> None:
    board = board_of([synthetic.record(name) for name in ("alpha", "x|<b>")])
    assert "<b>" not in leaderboard.as_html([board])
    assert r"x\|" in leaderboard.as_markdown([board])
