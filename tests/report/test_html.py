"""The report's file without a browser: what is in it and what it refuses."""

from __future__ import annotations

import importlib.util
import json
import re
from pathlib import Path

import pytest

from harness.contract.workload import Budget
from harness.errors import BenchError
from harness.report import html
from harness.scoring.summary import LeaderboardQuery
from tests.report import synthetic
from tests.report.conftest import Bench


def test_the_file_refers_to_nothing_outside() -> None:
    page = html.page(synthetic.field(), LeaderboardQuery(references=("alpha",)))
    ours = re.sub(r"<script>.*?</script>", "", page, flags=re.S)
    assert re.findall(r'(?:src|href)="(?!#|data:)[^"]*"', ours) == []
    assert page.count("</script>") == 4, "no text in a record or in the library ends a script"
    assert len(page) < 2_500_000


def test_the_data_are_plain_json() -> None:
    page = html.page(synthetic.field(), LeaderboardQuery(references=("alpha",)), ["a problem"])
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, flags=re.S)
    assert found
    data = json.loads(found[1])
    assert data["problems"] == ["a problem"]
    assert len(data["runs"]) == data["records"] == 20
    crashed = [run for run in data["runs"] if run["failed"]]
    assert [run["why"] for run in crashed] == ["ValueError: <script>alert('no')</script> (mine.py:4)"]


def test_long_runs_are_thinned_and_keep_their_ends() -> None:
    roomy = synthetic.facts(budget=Budget(horizon=200_000, gradient_examples=200_000, seconds={"default": 300.0}))
    long = synthetic.record("alpha", roomy, evaluations=2000, speed=150.0)
    (run,) = html.payload([long], LeaderboardQuery())["runs"]
    assert len(run["steps"]) <= html.MAX_POINTS + 1
    assert run["steps"][-1] == long.points[-1].steps
    assert run["hit"]


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
