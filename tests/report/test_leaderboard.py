"""`bench leaderboard` and `bench best`: tables, formats, and what bad input does."""

from __future__ import annotations

import csv
import io
import json
import math
from pathlib import Path
from typing import Any

import click
import msgspec
import pytest

from harness.contract.record import Record
from harness.plugins.registry import Registry, load_registry
from harness.report import leaderboard
from harness.report.grid import Grid
from harness.scoring.leaderboard import build_leaderboards
from harness.scoring.summary import LeaderboardQuery, parse_metric_budget, summarize
from harness.storage.records import encode, read_record
from tests.report import synthetic
from tests.report.conftest import Bench

REFERENCE = ("--reference", "alpha")


def tables_of(bench: Bench, *more: str) -> dict[str, Any]:
    done = bench("leaderboard", "--json", *more)
    assert done.code == 0, done.err
    return {table["hardware"]: table for table in json.loads(done.out)["tables"]}


def test_ranks_scores_and_spreads(bench: Bench, results: Path) -> None:
    table = tables_of(bench, *REFERENCE)["cpu-synthetic"]
    assert [row["submission"].partition("@")[0] for row in table["rows"]] == list(synthetic.SPEED)
    first, second, third = table["rows"]
    assert first["anchored"] == pytest.approx(0.4)
    assert first["speedup"] == pytest.approx(1.0)
    assert first["anchored"] > second["anchored"] > third["anchored"]
    assert first["anchored_spread"]["kind"] == "range", "three studies give no interval"
    assert first["ranks"] == [1, 3], "six pairs, and Holm over three: ties"
    assert second["n"] == [3, 4]
    assert second["cells"]["hills@1"] | {"spread": None, "value": None} == {
        "value": None, "spread": None, "studies": 4, "hits": 3, "stopped_early": False,
    }  # fmt: skip
    assert third["cells"]["valleys@1"]["value"] is None, "a miss is null, and no zero"
    assert third["speedup_workloads"] == ["hills@1"]
    assert not table["ranked"]
    assert {row["trust"] for row in table["rows"]} == {"self-reported"}


def test_from_six_studies_on_there_is_an_interval_and_ranks_are_told_apart(bench: Bench, tmp_path: Path) -> None:
    synthetic.write(tmp_path / "runs", synthetic.field(studies=8))
    table = tables_of(bench, *REFERENCE)["cpu-synthetic"]
    assert [row["ranks"] for row in table["rows"]] == [[1, 1], [2, 2], [3, 3]]
    assert table["rows"][0]["anchored_spread"]["kind"] == "interval"
    assert table["ties"] == []
    shown = bench("leaderboard", *REFERENCE).out
    assert "0.400 [" in shown


def test_hardware_classes_never_share_a_table(bench: Bench, results: Path) -> None:
    tables = tables_of(bench, *REFERENCE)
    assert set(tables) == {"cpu-synthetic", "gpu-synthetic"}
    assert any("single submission" in note for note in tables["gpu-synthetic"]["notes"])


def test_without_the_reference_there_is_no_anchored_score(bench: Bench, results: Path) -> None:
    """By default, the reference is any submission with the tag `reference`, and none of these has a record."""
    table = tables_of(bench)["cpu-synthetic"]
    assert {row["anchored"] for row in table["rows"]} == {None}
    assert any("adamw-cosine" in note for note in table["notes"])
    assert table["rows"][0]["profile"] == 1.0


@pytest.mark.parametrize("by", ["examples", "steps"])
def test_other_axes(bench: Bench, results: Path, by: str) -> None:
    table = tables_of(bench, "--by", by, *REFERENCE)["cpu-synthetic"]
    value = table["rows"][0]["cells"]["hills@1"]["value"]
    assert value == pytest.approx(1100 if by == "examples" else 110, rel=0.2)
    assert f": {by} to target" in bench("leaderboard", "--by", by).out


def test_metric_at_a_budget_marks_runs_that_had_stopped(bench: Bench, results: Path) -> None:
    table = tables_of(bench, "--by", "metric@50%")["cpu-synthetic"]
    assert [row["mean_place"] for row in table["rows"]] == [1.0, 2.0, 3.0]
    assert table["rows"][0]["cells"]["hills@1"]["stopped_early"]
    assert not table["rows"][2]["cells"]["hills@1"]["stopped_early"]
    shown = bench("leaderboard", "--by", "metric@1.5s").out
    assert "metric at 1.5 seconds" in shown
    assert "*" in shown


@pytest.mark.parametrize("text", ["", "0s", "-1s", "5", "budgets", "nan%"])
def test_a_metric_budget_that_is_none(text: str) -> None:
    with pytest.raises(Exception, match="metric@"):
        parse_metric_budget(text)


def test_targets_are_recomputed_and_what_cannot_be_decided_is_named(bench: Bench, results: Path) -> None:
    main, easy = (tables_of(bench, "--target", t)["cpu-synthetic"] for t in ("main", "easy"))
    for before, after in zip(main["rows"], easy["rows"], strict=True):
        low, high = (row["cells"]["hills@1"]["value"] for row in (after, before))
        assert low < high
    assert bench("leaderboard", "--target", "hard").code == 0
    hard = tables_of(bench, "--target", "hard")["cpu-synthetic"]
    assert hard["rows"] == []
    assert {skip["why"] for skip in hard["left_out"]} == {"hills@1 has no hard target", "valleys@1 has no hard target"}


def test_a_harder_target_than_the_one_it_stopped_at_is_unknown_and_no_miss() -> None:
    harder = msgspec.structs.replace(synthetic.TARGET, value=0.5)
    facts = synthetic.facts(levels={"hard": (harder,)})
    records = [synthetic.record("alpha", facts), synthetic.record("beta", facts, speed=60.0)]
    (table,) = build_leaderboards(
        [summarize(r, LeaderboardQuery(level="hard")) for r in records], LeaderboardQuery(level="hard")
    )
    assert [row.submission for row in table.rows] == ["beta@1"]
    assert any("stopped at its own target" in s.reason for s in table.left_out)


def test_workload_and_tier(bench: Bench, results: Path) -> None:
    assert tables_of(bench, "--workload", "hills")["cpu-synthetic"]["workloads"] == ["hills@1"]
    wrong = bench("leaderboard", "--workload", "hils")
    assert wrong.code == 2
    assert "did you mean 'hills'" in wrong.err
    assert "none of 20 records is on the chosen workloads" in bench("leaderboard", "--tier", "gpu").out


def test_every_format(bench: Bench, results: Path) -> None:
    rows = list(csv.DictReader(io.StringIO(bench("leaderboard", "--format", "csv", *REFERENCE).out)))
    assert len(rows) == 7
    assert {
        row["value"] for row in rows if row["submission"].startswith("gamma") and row["workload"] == "valleys@1"
    } == {"inf"}
    page = bench("leaderboard", "--format", "html").out
    assert page.startswith("<!doctype html>")
    assert "<script" not in page
    text = bench("leaderboard", "--format", "md").out
    assert text.startswith("# Leaderboard\n")
    assert "| alpha@1" in text
    assert bench("leaderboard", "--format", "json").out == bench("leaderboard", "--json").out
    assert "missed (0/3 hit)" in bench("leaderboard").out


def test_colour_changes_no_character(bench: Bench, results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = bench("leaderboard", *REFERENCE).out
    assert "\x1b" not in plain
    monkeypatch.setenv("FORCE_COLOR", "1")
    coloured = bench("leaderboard", *REFERENCE).out
    assert "\x1b[1mcpu-synthetic" in coloured
    assert click.unstyle(coloured) == plain


def test_versions_and_sources_never_mix() -> None:
    newer = synthetic.facts(version="10")
    other = synthetic.record("alpha", newer, 1)
    ref = msgspec.structs.replace(other.spec.submission, source_hash="f" * 64)
    other = msgspec.structs.replace(other, spec=msgspec.structs.replace(other.spec, submission=ref))
    records = [synthetic.record("alpha", synthetic.facts(version="9")), synthetic.record("alpha", newer), other]
    (table,) = build_leaderboards([summarize(r, LeaderboardQuery()) for r in records], LeaderboardQuery())
    assert [facts.id for facts in table.workloads] == ["hills@10"]
    assert {row.submission for row in table.rows} == {"alpha@1#000000", "alpha@1#ffffff"}
    assert any("newer" in s.reason for s in table.left_out)


def test_a_missed_variant_takes_its_base_workload_away_in_the_profile_score() -> None:
    base, variant = synthetic.facts("hills"), synthetic.facts("hills+steep")
    both = [("alpha", 1.0, 1.0), ("beta", 1.2, 99.0)]
    records = [synthetic.record(name, base, speed=speed) for name, speed, _ in both]
    records += [synthetic.record(name, variant, speed=speed) for name, _, speed in both]
    summaries = [summarize(r, LeaderboardQuery()) for r in records]
    (table,) = build_leaderboards(summaries, LeaderboardQuery())
    rows = {row.submission: row for row in table.rows}
    assert {name: row.profile for name, row in rows.items()} == {"alpha@1": 1.0, "beta@1": 0.0}
    assert {name: dict(row.ratios) for name, row in rows.items()} == {
        "alpha@1": {"hills@1": 1.0}, "beta@1": {"hills@1": math.inf},
    }  # fmt: skip
    assert "profile score: whoever misses a variant misses its base workload: hills+steep@1" in table.notes
    alone = [summary for summary in summaries if summary.spec.workload.facts.name == "hills+steep"]
    (table,) = build_leaderboards(alone, LeaderboardQuery())
    assert {row.submission: row.profile for row in table.rows} == {"alpha@1": 1.0, "beta@1": 0.0}
    other = summarize(synthetic.record("gamma", base, speed=1.1), LeaderboardQuery())
    (table,) = build_leaderboards([*summaries, other], LeaderboardQuery())
    assert all(row.profile > 0.9 for row in table.rows if row.profile is not None), "the variant is left out"
    reason = "some submissions on the base workload have no run on this variant"
    assert ("profile score/hills+steep@1", reason) in {(skipped.item, skipped.reason) for skipped in table.left_out}


def test_text_markdown_and_html_explain_and_list_the_same() -> None:
    boards = build_leaderboards([summarize(broken(metrics={}), LeaderboardQuery())], LeaderboardQuery())
    for pages in ((boards, "no metric &#x27;loss&#x27;", "no metric 'loss'"), ([], "", "")):
        shown, in_html, in_text = pages
        assert in_html in leaderboard.as_html(shown)
        assert in_text in leaderboard.as_text(shown)
        assert in_text in leaderboard.as_markdown(shown)
        assert "anchored: mean over workloads" not in leaderboard.as_html(shown)
        assert "anchored: mean over workloads" not in leaderboard.as_markdown(shown)


# --- bad input --------------------------------------------------------------------------------------


def test_files_that_are_no_records_are_named(bench: Bench, results: Path) -> None:
    good = (results / "run-alpha-hills-1-0-cpu-synthetic" / "record.json").read_text()
    for name, content in {
        "run-schema": good.replace('"schema":1', '"schema":99'),
        "run-edited": good.replace('"lr":0.001', '"lr":0.002', 1),
        "run-damaged": good[: len(good) // 2],
        "run-nan": good.replace('"seconds":0.2', '"seconds":NaN', 1),
    }.items():
        (results / name).mkdir()
        (results / name / "record.json").write_text(content)
    done = bench("leaderboard", *REFERENCE)
    assert done.code == 0
    assert "schema 99" in done.err
    assert "was edited" in done.err
    assert "run-damaged" in done.err
    assert "run-nan" in done.err
    assert "Traceback" not in done.err
    assert len(json.loads(bench("leaderboard", "--json").out)["problems"]) == 4


def broken(**changes: object) -> Record:
    made = synthetic.record("alpha", study=5)
    point = msgspec.structs.replace(made.points[0], **changes)
    return msgspec.structs.replace(made, points=(point, *made.points[1:]))


@pytest.mark.parametrize(
    ("record", "word"),
    [
        (broken(metrics={}), "no metric 'loss'"),
        (broken(seconds=-1.0), "seconds -1.0"),
        (broken(seconds=math.nan), "seconds nan"),
        (broken(process_seconds=math.inf), "process_seconds inf"),
    ],
)
def test_unusable_points_are_left_out_by_name(record: Record, word: str) -> None:
    records = [synthetic.record("alpha"), synthetic.record("beta"), record]
    summaries = [summarize(r, LeaderboardQuery()) for r in records]
    (table,) = build_leaderboards(summaries, LeaderboardQuery())
    assert any(word in s.reason and record.run_id in s.item for s in table.left_out)
    assert table.rows[0].n == (1, 1)
    assert word in leaderboard.as_text([table])


def test_two_records_with_one_id(bench: Bench, results: Path) -> None:
    first = read_record(results / "run-alpha-hills-1-0-cpu-synthetic" / "record.json")
    changed = msgspec.structs.replace(first, reason="another")
    (results / "run-copy").mkdir()
    (results / "run-copy" / "record.json").write_bytes(encode(changed))
    done = bench("leaderboard")
    assert "has the run_id of another record" in done.err
    assert tables_of(bench)["cpu-synthetic"]["rows"][0]["n"] == [3, 3]


def test_an_empty_folder(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    assert bench("leaderboard").out == "no finished runs; run trials with bench run\n"
    assert "No results yet." in bench("leaderboard", "--format", "md").out
    assert bench("leaderboard", "--format", "csv").out.count("\n") == 1
    assert json.loads(bench("leaderboard", "--json").out)["tables"] == []


def test_all_missed(bench: Bench, tmp_path: Path) -> None:
    synthetic.write(tmp_path / "runs", [synthetic.record(name, speed=99.0) for name in ("alpha", "beta")])
    table = tables_of(bench, *REFERENCE)["cpu-synthetic"]
    assert "every submission missed every target" in table["notes"]
    assert {row["anchored"] for row in table["rows"]} == {None}, "no silent zero"
    assert {row["speedup"] for row in table["rows"]} == {None}


#: The results have one run on another class.
CPU = ("--hardware", "cpu-synthetic")

# --- best -------------------------------------------------------------------------------------------


def test_best_is_ready_to_copy(bench: Bench, results: Path) -> None:
    done = bench("best", "hills", *CPU)
    assert done.out.startswith("bench run -s alpha -w hills --ruleset quick --set lr=0.001 --set shape=cosine")
    assert json.loads(bench("best", "hills", *CPU, "--json").out)["hparams"]["lr"] == 0.001
    assert bench("best", "hils").code == 2


def test_best_compares_no_seconds_of_two_hardware_classes(bench: Bench, results: Path) -> None:
    for by in ("time", "measured-time"):
        refused = bench("best", "hills", "--by", by)
        assert refused.code == 2
        assert "add --hardware with one of cpu-synthetic, gpu-synthetic" in refused.err
    assert bench("best", "hills", "--by", "examples").code == 0
    other = bench("best", "hills", "--hardware", "gpu-synthetic")
    assert other.out.startswith("bench run -s alpha -w hills --ruleset quick --set")
    assert "--device cuda" in other.out
    assert "did you mean 'cpu-synthetic'" in bench("best", "hills", "--hardware", "cpu-synthtic").err


def test_best_without_a_hit(bench: Bench, tmp_path: Path) -> None:
    synthetic.write(tmp_path / "runs", [synthetic.record("alpha", speed=99.0)])
    done = bench("best", "hills")
    assert done.code == 1
    assert done.out.startswith("# no run reached the target of hills@1; the best loss:\nbench run -s alpha -w hills")
    assert "# loss best 2.876, target ≤ 1; best of 1" in done.out
    shown = json.loads(bench("best", "hills", "--json").out)
    assert (shown["reached"], shown["metric"]) == (False, "loss")
    assert shown["value"] == pytest.approx(2.876, abs=1e-3)


def test_best_uses_the_installed_version_of_a_workload(bench: Bench, tmp_path: Path) -> None:
    """A record of a later version, which anybody can invent, does not displace the others."""
    version = int(load_registry().workload("lm-tiny").facts.version)
    for later, speed in ((0, 1.0), (1, 0.5)):
        facts = synthetic.facts("lm-tiny", version=str(version + later))
        synthetic.write(tmp_path / "runs", [synthetic.record("alpha", facts, speed=speed, study=later)])
    shown = json.loads(bench("best", "lm-tiny", "--json").out)
    assert f"-lm-tiny-{version}-" in shown["run_id"]


def test_best_of_some_submissions(bench: Bench, results: Path) -> None:
    """Of the named ones alone, with or without a version; a name without a run is an error."""
    names = sorted({row["submission"] for table in tables_of(bench).values() for row in table["rows"]})
    last = names[-1]
    shown = bench("best", "hills", "-s", last, *CPU).out
    assert shown.startswith(f"bench run -s {last.partition('@')[0]} -w hills")
    assert bench("best", "hills", "-s", ",".join(names), *CPU).out == bench("best", "hills", *CPU).out
    refused = bench("best", "hills", "-s", "alhpa")
    assert refused.code == 2
    assert "did you mean 'alpha'" in refused.err


def test_best_is_of_the_newest_version(bench: Bench, tmp_path: Path) -> None:
    """The target of an older one may have been easier."""
    newer = synthetic.facts(version="2")
    synthetic.write(
        tmp_path / "runs",
        [synthetic.record("alpha", speed=0.5), synthetic.record("beta", newer, speed=2.0)],
    )
    name = newer.name
    assert bench("best", name).out.startswith(f"bench run -s beta -w {name}")


def test_a_run_that_broke_is_last_at_a_budget(bench: Bench, tmp_path: Path) -> None:
    """It was the best of all when it broke."""
    quick = [synthetic.record("alpha", study=i, speed=1.0, evaluations=6, status="crashed", hit=None) for i in range(3)]
    slow = [synthetic.record("beta", study=i, speed=60.0) for i in range(3)]
    synthetic.write(tmp_path / "runs", [*quick, *slow])
    table = tables_of(bench, "--by", "metric@budget")["cpu-synthetic"]
    assert [(row["submission"], row["ranks"]) for row in table["rows"]] == [("beta@1", [1, 1]), ("alpha@1", [2, 2])]
    (cell,) = table["rows"][1]["cells"].values()
    assert (cell["value"], cell["hits"]) == (None, 0)
    shown = bench("leaderboard", "--by", "metric@budget").out
    assert "broke (3/3 broke)" in shown


@pytest.mark.parametrize("command", [("leaderboard",), ("report", "report.html")])
def test_the_plugins_are_read_once(
    command: tuple[str, ...], bench: Bench, results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise the warnings about plugins are printed several times."""
    calls = []

    def count(**options: Any) -> Registry:
        calls.append(options)
        return load_registry(**options)

    monkeypatch.setattr("harness.cli.resolve.load_registry", count)
    assert bench(*command).code == 0
    assert len(calls) == 1


def test_tables_of_ranked_rulesets_stand_before_unranked_leaderboards() -> None:
    query = LeaderboardQuery(references=("alpha",))
    boards = build_leaderboards([summarize(record, query) for record in synthetic.field()], query)
    assert not any(board.ranked for board in boards)
    grid = Grid(
        title="a ranking of its own",
        sentences=("Alpha leads.",),
        heading=["rank", "submission"],
        rows=[["1", "alpha"]],
        right_aligned=frozenset(),
        notes=("rank: what a rank is",),
    )
    for shown in (
        leaderboard.as_text(boards, [grid], width=300),
        leaderboard.as_markdown(boards, more=[grid]),
        leaderboard.as_html(boards, [grid]),
    ):
        order = [shown.index(part) for part in ("Alpha leads.", "rank: what a rank is", "cpu-synthetic")]
        assert order == sorted(order)
    assert "## a ranking of its own" in leaderboard.as_markdown(boards, more=[grid])
