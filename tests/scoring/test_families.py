"""One method with several settings is one family: the best, and the spread."""

from __future__ import annotations

import math
from typing import Any, Literal

import msgspec
import pytest

from harness.contract.record import Record
from harness.contract.run import PartRef, SubmissionRef
from harness.report import leaderboard as renderers
from harness.scoring.families import family_keys, find_families
from harness.scoring.leaderboard import Leaderboard, build_leaderboards
from harness.scoring.summary import LeaderboardQuery, summarize
from tests.report import synthetic

ADAMW = (PartRef(kind="optimizer", name="adamw", load="m:adamw"), PartRef(kind="schedule", name="wsd", load="m:wsd"))


def ref(name: str, **changes: Any) -> SubmissionRef:
    return SubmissionRef(**{"name": name, "version": "1", "parts": ADAMW, "source_hash": "0" * 64, **changes})


def test_the_same_code_is_one_family_and_other_code_is_not() -> None:
    refs = [
        ref("wsd"),
        ref("minicpm", parts=ADAMW[::-1], model_options={"dropout": 0.1}),
        ref("edited", source_hash="1" * 64),
        ref("other", parts=ADAMW[:1]),
        ref("a-class", parts=(), load="m:C"),
        ref("same-class", parts=(), load="m:C"),
        ref("a-file", parts=(), load="/here/mine.py:Mine"),
        ref("the-same-file", parts=(), load="/there/mine.py:Mine"),
        ref("unknown", parts=()),
        ref("unknown-too", parts=()),
    ]
    names = [r.id for r in refs]
    families = find_families(names, [1.0] * len(names), family_keys(refs))
    assert [f.name if f else None for f in families] == [
        "minicpm", "minicpm", None, None, "a-class", "a-class", "a-file", "a-file", None, None,
    ]  # fmt: skip


def test_a_family_has_a_best_row_and_a_spread() -> None:
    names, keys = ["b@1", "x@1", "a@1", "c@1"], {"b@1": 0, "x@1": 1, "a@1": 0, "c@1": 0}
    first, alone, second, third = find_families(names, [1.0, 2.0, 3.0, math.inf], keys)
    assert alone is None
    assert first is not None
    assert (first.name, first.settings, first.low, first.high, first.missed) == ("a", 3, 1.0, 3.0, 1)
    assert [family.is_best for family in (first, second, third) if family] == [True, False, False]
    nothing, _ = find_families(["b@1", "a@1"], [math.inf, math.inf], keys)
    assert nothing is not None
    assert math.isnan(nothing.low)
    assert nothing.missed == 2


def with_ref(record: Record, submission: SubmissionRef) -> Record:
    return msgspec.structs.replace(record, spec=msgspec.structs.replace(record.spec, submission=submission))


def board(group: Literal["unranked", "all", "none"] = "unranked") -> Leaderboard:
    """The reference and two settings of one method; one of them is the code of the reference."""
    records = [
        with_ref(synthetic.record(name, study=study, speed=speed), ref(name, parts=parts))
        for study in range(3)
        for name, speed, parts in (
            ("alpha", 1.0, ADAMW), ("quick", 0.5, ADAMW), ("slow", 2.0, ADAMW), ("beta", 1.4, ADAMW[:1]),
        )
    ]  # fmt: skip
    query = LeaderboardQuery(references=("alpha",), group=group)
    (made,) = build_leaderboards([summarize(record, query) for record in records], query)
    return made


def names_in(text: str) -> list[str]:
    """The submissions of the ranking, in the order of their rows."""
    ranking = text.split("\n\n")[0].splitlines()[3:]
    return [line.split()[1] for line in ranking]


def test_the_ranking_names_the_family_and_groups_it_on_request() -> None:
    listed = renderers.as_text([board()], width=400)
    assert names_in(listed) == ["quick@1", "alpha@1", "beta@1", "slow@1"]
    assert "alpha: best of 3 {0.2" in listed
    grouped = renderers.as_text([board("all")], width=400)
    assert names_in(grouped) == ["quick@1", "alpha@1", "beta@1"], "the reference stays"
    assert "because the same results chose the setting" in grouped
    assert "because the same results chose the setting" not in listed


def test_grouping_changes_no_number() -> None:
    plain, grouped = renderers.leaderboard_json(board()), renderers.leaderboard_json(board("all"))
    assert plain == grouped
    assert [row["family"] and row["family"]["is_best"] for row in plain["rows"]] == [True, False, None, False]


def test_a_table_without_families_has_no_column() -> None:
    query = LeaderboardQuery(references=("alpha",))
    boards = build_leaderboards([summarize(record, query) for record in synthetic.field()], query)
    assert "family" not in renderers.as_text(boards, width=400).split("anchored:")[0]


@pytest.mark.parametrize(("group", "count"), [("unranked", 1), ("all", 1), ("none", 4)])
def test_a_grid_of_settings_is_one_row(group: Literal["unranked", "all", "none"], count: int) -> None:
    records = [synthetic.record("beta", study=study) for study in range(3)]
    records += [synthetic.exploring("alpha", 0, lr, speed=10 * lr) for lr in (0.05, 0.1, 0.2, 9.0)]
    query = LeaderboardQuery(group=group)
    boards = build_leaderboards([summarize(record, query) for record in records], query)
    shown = renderers.as_text(boards, width=400)
    lines = [line for line in shown.splitlines() if "alpha@1 [" in line]
    assert len(lines) == count
    assert "alpha@1 [lr=0.05]" in lines[0]
    assert "alpha: best of 4 {0.60 – 2.20" in lines[0]
    assert ", 1 missed}" in lines[0]
