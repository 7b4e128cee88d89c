"""The report's file without a browser: what is in it and what it refuses."""

from __future__ import annotations

import importlib.util
import json
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

from harness.contract.record import Record
from harness.contract.ruleset import Ruleset
from harness.contract.run import SubmissionRef
from harness.contract.workload import Budget
from harness.errors import BenchError
from harness.report import html, page_runs
from harness.report.page_runs import decompress
from harness.scoring.summary import LeaderboardQuery
from harness.system.units import format_size
from tests.report import synthetic
from tests.report.conftest import Bench


def test_the_file_refers_to_nothing_outside() -> None:
    page = html.page(synthetic.page_summaries(synthetic.field()), LeaderboardQuery(references=("alpha",)))
    ours = re.sub(r"<script>.*?</script>", "", page, flags=re.S)
    assert re.findall(r'(?:src|href)="(?!#|data:)[^"]*"', ours) == []
    blocks = page.count('<script type="text/plain" data-block=')
    assert page.count("</script>") == 4 + blocks, "no text in a record or in the library ends a script"
    assert len(page) < 2_500_000


def test_the_data_are_plain_json() -> None:
    page = html.page(
        synthetic.page_summaries(synthetic.field()), LeaderboardQuery(references=("alpha",)), ["a problem"]
    )
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, flags=re.S)
    assert found
    data = json.loads(found[1])
    assert data["problems"] == ["a problem"]
    assert data["records"] == 20
    blocks = dict(re.findall(r'<script type="text/plain" data-block="(\d+)">(.*?)</script>', page))
    (name,) = (name for name in data["shown"] if name.startswith("cpu-synthetic"))
    rows = decompress(blocks[str(data["blocks"][name])])
    crashed = [row for row in rows["missed"] if row[-1]]
    assert [row[5] for row in crashed] == ["ValueError: <script>alert('no')</script> (mine.py:4)"]
    assert sum(row[3] for row in rows["settings"]) == 19
    hills = decompress(blocks[str(data["blocks"][f"{name}|hills@1"])])
    assert {submission: group["runs"] for submission, group in hills.items()} == {
        f"{submission}@1": 4 if submission == "beta" else 3 for submission in synthetic.SPEED
    }


def test_long_runs_are_thinned_and_keep_their_ends() -> None:
    roomy = synthetic.facts(budget=Budget(horizon=200_000, gradient_examples=200_000, seconds={"default": 300.0}))
    long = synthetic.record("alpha", roomy, evaluations=2000, speed=150.0)
    data = html.payload(synthetic.page_summaries([long]), LeaderboardQuery())
    (group,) = decompress(data["blocks"]["cpu-synthetic|quick@1|hills@1"]).values()
    (curve,) = group["curves"]
    assert len(curve["steps"]) <= page_runs.MAX_POINTS
    assert curve["steps"][-1] == long.points[-1].steps
    assert curve["hit"]


def test_many_runs_are_drawn_in_part_and_counted_in_full(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page_runs, "MAX_CURVES", 3)
    monkeypatch.setattr(page_runs, "MAX_ROWS", 2)
    records = [synthetic.record("alpha", study=study, speed=1 + study, lr=0.01 * (study + 1)) for study in range(7)]
    data = html.payload(synthetic.page_summaries(records), LeaderboardQuery())
    (group,) = decompress(data["blocks"]["cpu-synthetic|quick@1|hills@1"]).values()
    assert [curve["study"] for curve in group["curves"]] == [0, 3, 6]
    assert group["runs"] == len(group["dots"]["best"]) == 7
    # The range is that of all runs: at the fifth evaluation, from the fastest to the slowest run.
    fifth = sorted(record.points[4].metrics["loss"] for record in records)
    assert [group["band"][name][4] for name in ("low", "mid", "high")] == pytest.approx(
        [fifth[0], fifth[3], fifth[6]], rel=1e-5
    )
    rows = decompress(data["blocks"]["cpu-synthetic|quick@1"])
    assert (len(rows["settings"]), rows["all_settings"]) == (2, 7)


def test_the_page_has_a_largest_size() -> None:
    """Ten thousand runs would need ten thousand curves; the page draws the same number for twice as many runs."""
    runs = [page_runs.choose_evenly(range(n), page_runs._runs_per_group([n] * 40, 40, 2000)) for n in (250, 500)]
    assert len(runs[0]) == len(runs[1]) == 40
    assert page_runs._runs_per_group([250] * 4000, 40, 2000) == 1
    assert len(page_runs.shorten("x" * 10**7)) == page_runs.MAX_REASON


def test_without_the_library_the_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(BenchError, match=r"algorace\[report\]"):
        html.page([], LeaderboardQuery())


def test_mistakes(bench: Bench, results: Path) -> None:
    assert bench("report", "out.pdf").code == 2
    assert bench("report", "out.html", "--runs", "nowhere").code == 1
    assert bench("report", "deep/er/out.html").code == 0
    misspelt = bench("report", "other.html", "--workload", "hils")
    assert misspelt.code == 2
    assert "did you mean 'hills'" in misspelt.err
    Path("empty").mkdir()
    assert not Path("other.html").exists()
    nothing = bench("report", "other.html", "--runs", "empty", "--results", "empty")
    assert nothing.code == 0
    assert "no finished runs, run trials with bench run" in nothing.err


def test_the_page_opens_on_the_table_with_the_most_submissions() -> None:
    records = synthetic.field()
    ranked = Ruleset(name="tuned", version="1", summary="one trial", trials=1, studies=3, ranked=True)
    records += [synthetic.record(spec={"hardware": "a-first-one"}), synthetic.record(spec={"ruleset": ranked})]
    payload = html.payload(synthetic.page_summaries(records), LeaderboardQuery())
    assert payload["tables"][0]["id"] == "a-first-one|quick@1"
    assert payload["opens"] == "cpu-synthetic|quick@1"
    alone = [record for record in records if record.spec.ruleset == ranked or record.spec.hardware == "a-first-one"]
    assert html.payload(synthetic.page_summaries(alone), LeaderboardQuery())["opens"] == "cpu-synthetic|tuned@1"
    assert html.payload([], LeaderboardQuery())["opens"] == ""


def shown_groups(records: list[Record], workload: str = "hills@1") -> dict[str, Any]:
    data = html.payload(synthetic.page_summaries(records), LeaderboardQuery())
    groups: dict[str, Any] = decompress(data["blocks"][f"cpu-synthetic|quick@1|{workload}"])
    return groups


def test_curves_tell_sources_versions_and_budgets_apart_as_tables_do() -> None:
    """Two sources with one name, another budget of the same version, and an older version of the workload."""
    alpha = SubmissionRef(name="alpha", version="1", source_hash="1" * 64)
    budget = Budget(horizon=3000, gradient_examples=8000, seconds={"default": 60.0})
    late = "2026-02-01T00:00:00"
    records = [
        *(synthetic.record("alpha", study=study, started=f"{late}{study}") for study in range(3)),
        synthetic.record("alpha", study=3, spec={"submission": alpha}, started=late),
        synthetic.record("alpha", synthetic.facts(budget=budget), 4),
        synthetic.record("alpha", synthetic.facts(version="0"), 5),
    ]
    groups = shown_groups(records)
    assert {name: group["runs"] for name, group in groups.items()} == {"alpha@1#000000": 3, "alpha@1#111111": 1}
    data = html.payload(synthetic.page_summaries(records), LeaderboardQuery())
    assert data["shown"] == {"cpu-synthetic|quick@1": {"hills@1": sorted(groups)}}
    assert sorted(groups) == sorted(row["submission"] for row in data["tables"][0]["rows"])


def test_medians_are_those_of_the_scored_runs() -> None:
    """Runs with overrides, and a second record of a run, are drawn and are not in the median."""
    records = [synthetic.record("alpha", study=study) for study in range(3)]
    scored = shown_groups(records)["alpha@1"]
    more = [*records, records[0], *(synthetic.exploring(study=study, speed=9.0) for study in range(5))]
    group = shown_groups(more)["alpha@1"]
    assert (scored["runs"], group["runs"], group["scored"]) == (3, 9, 3)
    assert group["band"] == scored["band"]


def test_stages_of_a_stream_have_medians_of_their_own() -> None:
    """Each stage is counted from its beginning. The run that ends in the first stage is the worst of the second."""
    ended = msgspec.structs.replace(synthetic.staged(2, 9, 4), status="crashed", hit=None)
    group = shown_groups([synthetic.staged(0, 2, 5), synthetic.staged(1, 4, 7), ended])["alpha@1"]
    assert "band" not in group
    early, late = group["stages"]
    assert early["examples"] == [100, 200, 300, 400]
    assert late["examples"] == [100, 200, 300]
    assert late["time"] == pytest.approx([0.1, 0.2, 0.3])
    worse = sorted(run["metric"][first] for run, first in zip(group["curves"][:2], (2, 4), strict=True))[1]
    assert late["mid"][0] == pytest.approx(worse, rel=1e-4), "the median of two runs and one that never began"
    assert group["curves"][0]["stage"] == [0, 0, 1, 1, 1]
    workloads = html.payload(synthetic.page_summaries([ended]), LeaderboardQuery())["workloads"]
    stages = workloads["cpu-synthetic|quick@1"]["hills@1"]["stages"]
    assert stages == [{"name": "early", "target": 2.0}, {"name": "late", "target": 1.0}]


def test_a_coarse_workload_is_marked() -> None:
    coarse = synthetic.facts(coarse=True)
    data = html.payload(synthetic.page_summaries([synthetic.record(workload=coarse)]), LeaderboardQuery())
    assert data["workloads"]["cpu-synthetic|quick@1"]["hills@1"]["coarse"]


def test_the_command_prints_the_size_of_the_file(bench: Bench, results: Path, tmp_path: Path) -> None:
    done = bench("report", "page.html")
    assert f"wrote page.html ({format_size((tmp_path / 'page.html').stat().st_size)})" in done.err
