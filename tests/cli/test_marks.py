"""`bench results doubt|withdraw|restore`, and how tables, pages and frames treat the marked records."""

from __future__ import annotations

import json
from pathlib import Path

import harness
from harness.storage.marks import MARKS, index_marks
from harness.storage.records import read_record
from tests.cli.conftest import Bench, Output
from tests.storage import published


def run_of(submission: str, study: int) -> str:
    return published.record(submission, study).run_id


def leaderboard(bench: Bench, *arguments: str) -> Output:
    return bench("leaderboard", "--results", "results", *arguments)


def ranking(output: Output) -> dict[str, dict[str, int]]:
    table = json.loads(output.out)["tables"][0]
    return {row["submission"]: {"n": row["n"][1], "doubted": row["doubted"]} for row in table["rows"]}


def test_a_doubted_record_stays_in_the_table_with_a_mark_and_the_reason(bench: Bench) -> None:
    done = bench("results", "doubt", run_of("beta", 1), "--why", "the weights\n were  lost")
    assert (done.code, done.out) == (0, "")
    assert "(beta@1 on hills@1) is doubted: results/marks.jsonl" in done.err
    assert ranking(leaderboard(bench, "--json"))["beta@1"] == {"n": 3, "doubted": 1}
    line = f"† doubted: {run_of('beta', 1)} (beta@1 on hills@1, quick@1): the weights were lost ("
    for form in ("table", "md", "html"):
        shown = leaderboard(bench, "--format", form).out
        assert line in " ".join(shown.split())
        assert "beta@1 †" in shown
        assert "alpha@1 †" not in shown
    (mark,) = json.loads(leaderboard(bench, "--json").out)["marked"]
    assert mark["run_id"] == run_of("beta", 1)
    assert mark["why"] == "the weights were lost"


def test_a_withdrawn_record_is_left_out_and_the_table_says_so(bench: Bench) -> None:
    identity = run_of("beta", 1)
    bench("results", "withdraw", identity, "--why", "a wrong dataset")
    assert ranking(leaderboard(bench, "--json"))["beta@1"] == {"n": 2, "doubted": 0}
    line = f"withdrawn, left out: {identity} (beta@1 on hills@1, quick@1): a wrong dataset"
    for form in ("table", "md", "html"):
        assert line in " ".join(leaderboard(bench, "--format", form).out.split())
    # The record itself is still there, with its history.
    assert "withdrawn on 20" in bench("show", identity).out
    assert "withdrawn: a wrong dataset" in bench("runs").out
    frame = harness.load_results("results")
    assert identity not in set(frame.run_id)
    assert frame.attrs["left_out"][0].startswith(line)
    # A table of a part of the folder leaves it out, too; so does a comparison, which says so on stderr.
    part = bench("leaderboard", "--results", "results/hills/beta", "--json")
    assert ranking(part)["beta@1"]["n"] == 2
    assert line in bench("compare", "alpha", "beta").err


def test_marks_are_taken_back_and_the_history_stays(bench: Bench) -> None:
    identity = run_of("beta", 1)
    refused = bench("results", "restore", identity, "--why", "found again")
    assert refused.code == 2
    assert "neither doubted nor withdrawn" in refused.err
    bench("results", "doubt", identity, "--why", "odd")
    bench("results", "withdraw", identity, "--why", "wrong")
    assert bench("results", "restore", identity, "--why", "found again").code == 0
    assert ranking(leaderboard(bench, "--json"))["beta@1"] == {"n": 3, "doubted": 0}
    assert json.loads(leaderboard(bench, "--json").out)["marked"] == []
    marks = json.loads(bench("show", identity, "--json").out)["marks"]
    assert [mark["event"] for mark in marks] == ["doubted", "withdrawn", "restored"]
    assert len(Path("results", MARKS).read_text().splitlines()) == 3


def test_a_mark_belongs_to_one_content(bench: Bench) -> None:
    """Another record of the same trial is not marked."""
    identity = run_of("beta", 1)
    bench("results", "doubt", identity, "--why", "odd")
    record = read_record(Path(f"results/hills/beta/{identity}.json"))
    assert set(index_marks([Path("results")], [])) == {(identity, record.content_hash)}


def test_packed_records_keep_their_marks(bench: Bench) -> None:
    bench("results", "pack", "results")
    assert bench("results", "withdraw", run_of("beta", 1), "--why", "wrong").code == 0
    assert ranking(leaderboard(bench, "--json"))["beta@1"]["n"] == 2
    assert bench("results", "unpack", "results").code == 0
    assert ranking(leaderboard(bench, "--json"))["beta@1"]["n"] == 2


def test_the_folders_of_the_project_file_hold(bench: Bench, tmp_path: Path) -> None:
    Path("results").rename("published")
    Path("bench.yaml").write_text("results: published\n")
    assert bench("results", "doubt", run_of("beta", 1), "--why", "odd").code == 0
    assert (tmp_path / "published" / MARKS).exists()


def test_usage_errors(bench: Bench, tmp_path: Path) -> None:
    assert "--why has 0 characters" in bench("results", "doubt", run_of("beta", 1), "--why", " ").err
    (elsewhere,) = published.write(tmp_path / "elsewhere", "beta", 0)
    refused = bench("results", "doubt", str(elsewhere), "--why", "odd")
    assert refused.code == 2
    assert "is neither in results nor in runs" in refused.err


def test_a_damaged_line_is_reported_and_a_half_line_is_replaced(bench: Bench) -> None:
    identity = run_of("beta", 1)
    bench("results", "withdraw", identity, "--why", "wrong")
    path = Path("results", MARKS)
    path.write_bytes(b"{damaged}\n" + path.read_bytes() + b'{"time": "2026')
    output = leaderboard(bench, "--json")
    assert ranking(output)["beta@1"]["n"] == 2
    assert "line 1 of" in output.err
    bench("results", "doubt", run_of("beta", 2), "--why", "odd")
    assert [line[:8] for line in path.read_text().splitlines()] == ["{damaged", '{"time":', '{"time":']
