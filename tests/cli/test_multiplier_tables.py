"""The tables of fixed-budget in all formats of `bench leaderboard`, in `bench report` and in `bench compare`."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest

from harness.contract.record import Record
from harness.contract.ruleset import Ruleset
from harness.storage.envelopes import write_envelope
from harness.storage.layout import RECORD, run_id
from harness.storage.records import encode
from tests.cli.conftest import Bench
from tests.scoring import builders
from tests.scoring.test_multipliers import as_stream, envelope, runs, tuned

#: A ruleset that does not rank submissions.
QUICK = Ruleset(name="quick", version="1", summary="", trials=1, studies=1)


@pytest.fixture
def table(bench: Bench) -> Bench:
    """`bench` in a folder with the runs of two submissions and an envelope."""
    store([*tuned([0.3, 0.8, 1.6, 0.4, 0.3]), *runs([1.6] * 5, hparams={"lr": 0.01 * 9}), *runs([1.0] * 5, "ref")])
    write_envelope(Path("calibration/envelopes"), envelope())
    return bench


def test_every_format_has_the_tables(table: Bench) -> None:
    text = table("leaderboard")
    assert text.code == 0
    assert "ranking by time multiplier" in text.out
    assert "1.60×" in text.out
    # Five studies are too few pairs for a verdict on two submissions.
    assert "No verdict: rank 1 is undecided between a@1 (1.60×) and ref@1 (1.00×)" in " ".join(text.out.split())
    shown = json.loads(table("leaderboard", "--json").out)["fixed_budget"]
    assert shown[1]["time_multiplier"]["value"] == pytest.approx(1.6)
    for output_format in ("md", "html"):
        assert "1.60×" in table("leaderboard", "--format", output_format).out
    assert table("report", "report.html").code == 0
    assert "ranking by time multiplier" in Path("report.html").read_text()


def test_without_the_envelope_the_command_that_makes_it_is_said(table: Bench) -> None:
    Path("calibration").rename("elsewhere")
    result = table("leaderboard")
    assert result.code == 0
    assert "bench calibrate w --envelope" in result.out.replace("\n", " ")
    assert "1.60×" in table("leaderboard", "--envelopes", "elsewhere/envelopes").out
    refused = table("leaderboard", "--envelopes", "nowhere")
    assert (refused.code, refused.err) == (
        2,
        "bench: --envelopes nowhere is not a folder (the default is calibration/envelopes)\n",
    )


def test_envelopes_are_found_beside_the_published_records(table: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that the tables of a checkout are the same from every folder."""
    Path("checkout").mkdir()
    Path("runs").rename("checkout/results")
    Path("calibration").rename("checkout/calibration")
    Path("elsewhere").mkdir()
    monkeypatch.chdir("elsewhere")
    assert "1.60×" in table("leaderboard", "--runs", "none", "--results", "../checkout/results").out
    shown = table("compare", "a", "ref", "--runs", "none", "--results", "../checkout/results").out
    assert "1.60×" in shown


def test_an_unknown_reference_is_refused(table: Bench) -> None:
    for command in (("leaderboard",), ("report", "report.html")):
        result = table(*command, "--reference", "reff")
        assert result.code == 2
        assert "unknown submission among the results 'reff'; did you mean 'ref'?" in result.err
        assert table(*command, "--reference", "ref").code == 0


def test_a_workload_whose_runs_are_all_under_fixed_budget_is_known(table: Bench) -> None:
    assert "1.60×" in table("leaderboard", "-w", "w").out
    assert table("leaderboard", "-w", "ww").code == 2
    assert "records is on the chosen workloads; leave out --tier" in table("leaderboard", "--tier", "gpu").out


def test_a_damaged_envelope_is_an_error(table: Bench) -> None:
    Path("calibration/envelopes/w.json").write_text('{"schema": 1}')
    result = table("leaderboard")
    assert result.code != 0
    assert "calibration/envelopes/w.json" in result.err
    assert "Traceback" not in result.err


def test_two_submissions_are_compared_by_time_multiplier(table: Bench) -> None:
    shown = table("compare", "a", "ref")
    assert shown.code == 0
    assert "A = a@1, B = ref@1, by time multiplier (fixed-budget@1, cpu-x)" in shown.out
    assert "a@1 against ref@1: inconclusive (n=5)" in shown.out
    plain = json.loads(table("compare", "a", "ref", "--json").out)
    assert plain["overall"]["time_multiplier"]["value"] == pytest.approx(1.6)
    assert (plain["overall"]["n"], plain["overall"]["verdict"]) == (5, "inconclusive")
    assert table("compare", "a", "ref", "--workload", "w", "--ruleset", "fixed-budget").code == 0


def test_a_significant_loss_is_an_exit_code(table: Bench) -> None:
    store(runs([1.6] * 8, hparams={"lr": 0.01 * 9})[5:] + runs([1.0] * 8, "ref")[5:])
    assert table("compare", "ref", "a", "--fail-if-slower-than", "1.5").code == 1
    assert table("compare", "ref", "a", "--fail-if-slower-than", "1.7").code == 0
    assert "ref@1 is slower than a@1 (n=8): 0.62× the time multiplier" in table("compare", "ref", "a").out


def test_the_ruleset_that_ranks_is_compared_unless_another_is_named(table: Bench) -> None:
    store([*quick_runs("a"), *quick_runs("ref")])
    result = table("compare", "a", "ref")
    assert "compared under fixed-budget, which ranks submissions; --ruleset quick compares other runs" in result.err
    assert "by time multiplier" in result.out
    assert "by time\n" in table("compare", "a", "ref", "--ruleset", "quick").out
    store(quick_runs("c"))
    assert "a and c have no results" not in table("compare", "a", "c").err, "both have results under quick"


def test_what_cannot_be_compared_is_said(table: Bench) -> None:
    assert (
        "--by examples: results under fixed-budget are compared by"
        in table("compare", "a", "ref", "--by", "examples").err
    )
    assert "unknown submission among the results 'aa'" in table("compare", "aa", "ref").err
    unknown = table("compare", "a", "ref", "--ruleset", "fixed-budge").err
    assert "unknown ruleset among the results 'fixed-budge'; did you mean 'fixed-budget'?" in unknown
    store(quick_runs("c"))
    said = "a and c have no results under the same ruleset (a has fixed-budget; c has quick)"
    assert said in table("compare", "a", "c").err
    other = runs([1.0] * 5, "d", workload="v")
    store(other)
    assert "a@1 and d@1 have no runs on the same workload" in table("compare", "a", "d").err
    store([as_stream(one) for name in ("a", "ref") for one in runs([1.0] * 5, name, workload="s")])
    said = "a and ref have results on pools and on streams, which are ranked separately"
    assert said in table("compare", "a", "ref").err
    assert table("compare", "a", "ref", "--workload", "w").code == 0
    stop = Ruleset(name="fixed-stop", version="1", summary="", trials=1, studies=8, tuning_studies=4, stopping="chosen")
    store([at_ruleset(one, stop) for name in ("e", "f") for one in runs([1.0] * 5, name)])
    assert "results under fixed-stop cannot be compared in pairs" in table("compare", "e", "f").err


def store(records: list[Record]) -> None:
    """Write the records to the folder of runs."""
    for record in records:
        stored = msgspec.structs.replace(record, run_id=run_id(record.spec))
        path = Path("runs") / stored.run_id / RECORD
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode(stored))


def quick_runs(submission: str) -> list[Record]:
    return [builders.record(builders.spec(submission, builders.facts("w"), study, ruleset=QUICK)) for study in range(5)]


def at_ruleset(record: Record, ruleset: Ruleset) -> Record:
    return msgspec.structs.replace(record, spec=msgspec.structs.replace(record.spec, ruleset=ruleset))
