"""Commands that read all records do each step once per record: list its folder, hash it, decode it, read its points."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from harness.cli.compare import compare
from harness.cli.leaderboard import leaderboard
from harness.cli.report import report
from harness.contract.record import Record
from harness.contract.run import Point
from harness.report import html, page_runs
from harness.scoring import point_columns, summary, time_to_target
from harness.scoring.summary import LeaderboardQuery
from harness.storage import layout, marks, records
from harness.system.files import walk_folders
from tests.report import synthetic
from tests.storage import published

STUDIES = range(7)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    for name in ("alpha", "beta"):
        published.write(tmp_path / "results", name, *STUDIES)
    return tmp_path / "results"


class CountingDecoder:
    """Decodes records, and counts how often each content is decoded."""

    def __init__(self) -> None:
        self.counts: Counter[bytes] = Counter()
        self._decoder = records._RECORDS

    def decode(self, payload: bytes) -> Record:
        self.counts[payload] += 1
        return self._decoder.decode(payload)


@pytest.mark.parametrize(
    ("command", "arguments"),
    [
        (leaderboard, ("--reference", "alpha", "--json")),
        (compare, ("alpha", "beta", "--json")),
        (report, ("OUT.html", "--reference", "alpha")),
    ],
)
def test_each_step_is_done_once_per_record(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: click.Command, arguments: tuple[str, ...]
) -> None:
    decoder, listed, hashed = CountingDecoder(), Counter[Path](), Counter[bytes]()

    def counting_walk(path: Path, on_error: Callable[[Path, OSError], None]) -> Iterator[tuple[Path, Any, Any]]:
        for step in walk_folders(path, on_error):
            listed[step[0]] += 1
            yield step

    def counting_hash(record: Record, payload: bytes) -> bool:
        hashed[payload] += 1
        return matches_hash(record, payload)

    matches_hash = records._matches_hash
    monkeypatch.setattr(records, "_RECORDS", decoder)
    monkeypatch.setattr(records, "_matches_hash", counting_hash)
    for module in (layout, marks):
        monkeypatch.setattr(module, "walk_folders", counting_walk)
    monkeypatch.setattr(html, "plotting_scripts", list)
    for _ in range(2):
        options = ["--runs", str(tmp_path / "none"), "--results", str(folder)]
        outcome = CliRunner().invoke(
            command, [*(word.replace("OUT", str(tmp_path / "out")) for word in arguments), *options], obj=()
        )
        assert outcome.exit_code == 0, outcome.output
    # The command ran twice. The second time, the content hash is already verified.
    assert len(decoder.counts) == 2 * len(STUDIES)
    assert set(decoder.counts.values()) == set(listed.values()) == {2}
    assert hashed == Counter(decoder.counts.keys())


def test_the_columns_of_a_run_are_made_once(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int] = []

    class CountingColumns(point_columns.PointColumns):
        def __init__(self, points: tuple[Point, ...]) -> None:
            super().__init__(points)
            made.append(len(points))

    for module in (page_runs, summary, time_to_target):
        monkeypatch.setattr(module, "PointColumns", CountingColumns)
    record = synthetic.record()
    summary.summarize(record, LeaderboardQuery())
    assert made == [len(record.points)]
    time_to_target.score_run(record)
    assert len(made) == 2
    html.payload(synthetic.page_summaries([record]), LeaderboardQuery())
    assert len(made) == 3


def test_columns_are_the_fields_of_the_points() -> None:
    points = synthetic.record().points
    columns = point_columns.PointColumns(points)
    assert columns.scored("process") == [point.process_seconds for point in points]
    assert columns.scored("wall") == [point.seconds for point in points]
    assert columns.values("loss") == columns.values_of_stage("loss", 0) == [point.metrics["loss"] for point in points]
    assert columns.values_of_stage("loss", 1) == []
    assert point_columns.finite_values(columns.values("absent")) == []
    assert point_columns.finite_values([1.0, float("inf"), 2.0]) == [1.0, 2.0]


def test_a_run_that_is_removed_after_the_listing_is_no_problem(folder: Path) -> None:
    problems: list[str] = []
    listed = list(layout.walk_all([folder], problems))
    removed, *_ = (subfolder / names[0] for subfolder, names in listed if names)
    removed.unlink()
    assert len(list(records.iter_listed_records(listed, problems))) == 2 * len(STUDIES) - 1
    assert problems == []
