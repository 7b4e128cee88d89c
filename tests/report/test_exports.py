"""Exports: CSV and Parquet have the same rows, and the entries for the Hub follow its specification."""

from __future__ import annotations

import csv
import io
import math
from pathlib import Path
from typing import Any

import msgspec
import pandas as pd
import pytest
import yaml

from harness import cli
from harness.contract.marks import Mark
from harness.report.exports import RUN_COLUMNS, as_csv, hub_files, run_row
from harness.scoring.leaderboard import build_leaderboards
from harness.scoring.summary import LeaderboardQuery, summarize
from harness.storage.marks import append_mark
from harness.storage.records import add_content_hash
from tests.report import synthetic

#: The fields of an entry: docs/hub/eval-results.md and eval_results.yaml of github.com/huggingface/hub-docs.
ENTRY_FIELDS = {"dataset", "value", "verifyToken", "date", "source", "evaluation_framework", "notes"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return synthetic.write(tmp_path_factory.mktemp("records"), [add_content_hash(r) for r in synthetic.field()])


def boards(*records: Any) -> Any:
    query = LeaderboardQuery(references=("alpha",))
    return build_leaderboards([summarize(record, query) for record in records], query)


def test_a_row_has_the_values_at_the_hit() -> None:
    record = synthetic.record("alpha", speed=1.0)
    row = run_row(record)
    assert tuple(row)[: len(RUN_COLUMNS)] == RUN_COLUMNS
    assert record.hit is not None
    point = record.points[record.hit]
    assert (row["hit"], row["examples"], row["scored_seconds"]) == (True, point.examples, point.process_seconds)
    assert (row["metric"], row["target"], row["trust"], row["doubt"]) == ("loss", 1.0, "self-reported", "")
    assert row["hparam.shape"] == "cosine"
    assert run_row(msgspec.structs.replace(record, points=(), hit=None))["examples"] is None


def test_csv_has_one_row_per_run_and_no_formula() -> None:
    evil = synthetic.record("=cmd()")
    text = as_csv([run_row(synthetic.record("alpha")), run_row(evil)])
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [row["submission"] for row in rows] == ["alpha", "'=cmd()"]
    assert rows[0]["hparam.lr"] == "0.001"


def test_the_command_writes_equal_rows_as_csv_and_as_parquet(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    victim, doubted = synthetic.field()[0], synthetic.field()[1]
    for record, event in ((victim, "withdrawn"), (doubted, "doubted")):
        fields = {
            "run_id": record.run_id,
            "record": add_content_hash(record).content_hash,
            "time": "2026",
            "why": "odd",
        }
        append_mark(folder, msgspec.convert({"event": event, **fields}, Mark))
    out = tmp_path / "new/runs.parquet"
    assert cli.invoke(["results", "export", str(folder), "--format", "parquet", "--out", str(out)]) == 0
    captured = capsys.readouterr()
    assert "withdrawn, left out" in captured.err
    assert cli.invoke(["results", "export", str(folder)]) == 0
    rows = pd.read_csv(io.StringIO(capsys.readouterr().out), keep_default_na=False)
    frame = pd.read_parquet(out)
    assert list(frame.columns) == list(rows.columns)
    assert list(frame.run_id) == list(rows.run_id)
    assert victim.run_id not in set(frame.run_id)
    assert dict(zip(frame.run_id, frame.doubt, strict=True))[doubted.run_id] == "odd"
    assert sorted(path.name for path in out.parent.iterdir()) == ["runs.parquet"]


def test_entries_for_the_hub() -> None:
    records = [synthetic.record(name, synthetic.facts(), study) for study in range(3) for name in ("alpha", "beta")]
    files = hub_files(boards(*records), "org/benchmark", {"beta@1": "2026-01-02"}, "https://example.org/results")
    assert set(files) == {"algorace_alpha_1_quick_1_cpu_synthetic.yaml", "algorace_beta_1_quick_1_cpu_synthetic.yaml"}
    entries = yaml.safe_load(files["algorace_beta_1_quick_1_cpu_synthetic.yaml"])
    by_task = {entry["dataset"]["task_id"]: entry for entry in entries}
    assert set(by_task) == {"anchored", "hills"}
    assert by_task["hills"]["value"] == pytest.approx(1 / 1.4, rel=0.1), "beta takes 1.4 times as long"
    for entry in entries:
        assert set(entry) <= ENTRY_FIELDS
        assert set(entry["dataset"]) == {"id", "task_id"}
        assert isinstance(entry["value"], float)
        assert math.isfinite(entry["value"])
        assert isinstance(entry["date"], str), "a date that YAML reads as text stays in the form of ISO 8601"
        assert entry["source"]["url"] == "https://example.org/results"
        assert "n = 3" in entry["notes"]
    reference = yaml.safe_load(files["algorace_alpha_1_quick_1_cpu_synthetic.yaml"])
    assert {entry["dataset"]["task_id"]: entry["value"] for entry in reference} == {"anchored": 0.4, "hills": 1.0}


def test_a_miss_is_0_for_the_hub_and_a_table_without_a_reference_has_no_entries() -> None:
    slow = synthetic.record("beta", speed=100.0)
    (name,) = [name for name in hub_files(boards(synthetic.record("alpha"), slow), "o/b", {}) if "beta" in name]
    entries = yaml.safe_load(hub_files(boards(synthetic.record("alpha"), slow), "o/b", {})[name])
    assert [entry["value"] for entry in entries if entry["dataset"]["task_id"] == "hills"] == [0.0]
    assert hub_files(boards(slow), "o/b", {}) == {}


def test_options_that_are_missing_are_named(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.invoke(["results", "export", str(folder), "--format", "hf"]) == 2
    assert "--dataset OWNER/NAME" in capsys.readouterr().err
    assert cli.invoke(["results", "export", str(folder), "--format", "parquet"]) == 2
    assert "--out runs.parquet" in capsys.readouterr().err


def test_the_command_writes_the_hub_files(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The synthetic records have no reference, so there is nothing to compare with."""
    arguments = ["results", "export", str(folder), "--format", "hf", "--dataset", "o/b", "--out", str(tmp_path)]
    assert cli.invoke(arguments) == 0
    assert "wrote 0 files" in capsys.readouterr().err
    assert (tmp_path / ".eval_results").is_dir()
