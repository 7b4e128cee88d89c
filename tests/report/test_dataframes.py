"""Records and other people's logs as data frames."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest

import harness
from harness.errors import BenchError, DataError
from tests.report import synthetic


def test_one_row_per_run_and_point(results: Path) -> None:
    frame = harness.load_results(results)
    records = synthetic.field()
    assert len(frame) == sum(len(r.points) for r in records)
    assert frame["run_id"].nunique() == len(records)
    hits = frame[frame["hit"]].groupby("run_id").last()
    assert (hits["metric.loss"] <= 1.0).all()
    assert set(frame["hparam.lr"]) == {1e-3}
    assert frame.attrs["left_out"] == []


def test_a_run_without_points_keeps_its_row(tmp_path: Path) -> None:
    synthetic.write(tmp_path, [synthetic.record("alpha", evaluations=0, status="crashed")])
    frame = harness.load_results(tmp_path)
    assert list(frame["status"]) == ["crashed"]
    assert frame["point"].isna().all()


def test_no_results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert harness.load_results().empty
    with pytest.raises(DataError, match="nowhere is not a folder"):
        harness.load_results("nowhere")


def test_parquet(results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    frame = harness.load_results(results)
    if importlib.util.find_spec("pyarrow"):
        import pandas as pd

        harness.to_parquet(frame, tmp_path / "all.parquet")
        assert len(pd.read_parquet(tmp_path / "all.parquet")) == len(frame)
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(BenchError, match=r"algorace\[parquet\]"):
        harness.to_parquet(frame, tmp_path / "all.parquet")


def test_a_csv(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    path.write_text("step,seconds,val_loss\n10,1.5,3.2\n20,3.0,2.9\n")
    frame = harness.import_csv(path, metric="val_loss", submission="mine", workload="theirs", study=2)
    assert list(frame["metric.val_loss"]) == [3.2, 2.9]
    assert list(frame["scored_seconds"]) == [1.5, 3.0]
    assert set(frame["study"]) == {2}
    assert list(frame.columns[:3]) == ["run_id", "submission", "version"]


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("step,seconds\n1,1\n", "no column loss"),
        ("step,seconds,loss\n1,-1,1\n", "line 2: seconds"),
        ("step,seconds,loss\n1,2,1\n2,1,1\n", "line 3: seconds"),
        ("step,seconds,loss\n1,nan,1\n", "line 2: seconds"),
        ("step,seconds,loss\nx,1,1\n", "line 2: step"),
        ("", "cannot read"),
    ],
)
def test_a_csv_that_is_none(tmp_path: Path, text: str, word: str) -> None:
    path = tmp_path / "log.csv"
    path.write_text(text)
    with pytest.raises(DataError, match=word):
        harness.import_csv(path, metric="loss", submission="a", workload="w")


def test_a_wandb_history(tmp_path: Path) -> None:
    rows = [
        {"_step": 0, "_runtime": 0.5, "_timestamp": 1.0, "train/loss": 3.0},
        {"_step": 1, "_runtime": 1.0, "_timestamp": 2.0, "train/loss": 2.0, "val/loss": 2.5},
    ]
    (tmp_path / "list.json").write_text(json.dumps(rows))
    (tmp_path / "lines.json").write_text("\n".join(map(json.dumps, rows)))
    (tmp_path / "table.csv").write_text("_step,_runtime,train/loss,val/loss\n0,0.5,3.0,\n1,1.0,2.0,2.5\n")
    for name in ("list.json", "lines.json", "table.csv"):
        frame = harness.import_wandb(tmp_path / name, submission="a", workload="w")
        assert list(frame["metric.train/loss"]) == [3.0, 2.0]
        only = harness.import_wandb(tmp_path / name, submission="a", workload="w", metrics=["val/loss"])
        assert list(only["seconds"]) == [1.0]
        with pytest.raises(DataError, match="no metric acc"):
            harness.import_wandb(tmp_path / name, submission="a", workload="w", metrics=["acc"])
    (tmp_path / "chart.csv").write_text('"Step","run - loss"\n1,2\n')
    with pytest.raises(DataError, match="export the run's history"):
        harness.import_wandb(tmp_path / "chart.csv", submission="a", workload="w")


def test_unknown_names_are_unknown() -> None:
    with pytest.raises(AttributeError, match="nothing"):
        harness.nothing  # noqa: B018
