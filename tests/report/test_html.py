"""The report's file without a browser: what is in it and what it refuses."""

from __future__ import annotations

import importlib.util
import json
import re
from pathlib import Path

import pytest

from harness.contract.workload import Budget
from harness.errors import BenchError
from harness.report import html, page_runs
from harness.report.page_runs import decompress
from harness.scoring.summary import LeaderboardQuery
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
    runs = [page_runs.choose_evenly(range(n), page_runs._limit([n] * 40, 40, 2000)) for n in (250, 500)]
    assert len(runs[0]) == len(runs[1]) == 40
    assert page_runs._limit([250] * 4000, 40, 2000) == 1
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
