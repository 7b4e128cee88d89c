"""Records and other people's logs as data frames."""

from __future__ import annotations

import importlib.util
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


def test_columns_of_points_are_those_of_each_point(tmp_path: Path) -> None:
    crashed = synthetic.record("beta", evaluations=0, status="crashed")
    runs = [synthetic.record("alpha", lr=0.5), crashed, synthetic.record("alpha", study=1)]
    frame = harness.load_results(synthetic.write(tmp_path, runs))
    for record in runs:
        rows = frame[frame["run_id"] == record.run_id]
        assert list(rows["metric.loss"].dropna()) == [point.metrics["loss"] for point in record.points]
        assert list(rows["steps"].dropna()) == [point.steps for point in record.points]
        assert list(rows["point"].dropna()) == list(range(len(record.points)))
        assert set(rows["hparam.lr"]) == {record.spec.hparams["lr"]}
    assert frame["evaluated_examples"].isna().all()
    assert list(frame.columns)[-4:] == ["metric.loss", "hparam.lr", "hparam.shape", "hparam.weight_decay"]


def test_numbers_keep_their_types(tmp_path: Path) -> None:
    frame = harness.load_results(synthetic.write(tmp_path, [synthetic.record("alpha")]))
    assert frame.dtypes[["steps", "point", "hit", "lr", "study"]].astype(str).to_list() == [
        "int64", "int64", "bool", "float64", "int64",
    ]  # fmt: skip


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


def test_unknown_names_are_unknown() -> None:
    with pytest.raises(AttributeError, match="nothing"):
        harness.nothing  # noqa: B018
