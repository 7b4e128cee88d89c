"""Logs of other tools as data frames: read by their own columns and exactly, or refused."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path

import pytest

import harness
from harness.errors import DataError
from harness.report import log_files


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
        ("step,seconds,loss\n1,-1,1\n", "line 2, column seconds"),
        ("step,seconds,loss\n1,2,1\n2,1,1\n", "line 3, column seconds"),
        ("step,seconds,loss\n1,nan,1\n", "line 2, column seconds"),
        ("step,seconds,loss\nx,1,1\n", "line 2, column step"),
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


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("step,seconds,loss\n0,10,1.9,0.5\n", "line 2: 4 fields, but the header has 3"),
        ("step,seconds,loss\n0,10,1.9,\n", "line 2: 4 fields, but the header has 3"),
        ("step,seconds,loss,lr\n0,10,1.9,0.1\n\n1,20,2.5\n", "line 4: 3 fields, but the header has 4"),
        ("step,seconds,loss,loss\n0,10,1.9,0.1\n", "the column 'loss' is given twice"),
        ('step,seconds,loss\n0,10,"1.9\n', "cannot read"),
    ],
)
def test_lines_that_do_not_fit_the_header_are_refused(tmp_path: Path, text: str, word: str) -> None:
    path = tmp_path / "log.csv"
    path.write_text(text)
    with pytest.raises(DataError, match=word):
        harness.import_csv(path, metric="loss", submission="a", workload="w")


@pytest.mark.parametrize(
    ("row", "word"),
    [
        ("1.5,1,1", "line 2, column step: '1.5' is not a whole number"),
        ("1e19,1,1", "line 2, column step: '1e19' exceeds a signed integer of 64 bits"),
        ("9223372036854775808,1,1", "exceeds a signed integer of 64 bits"),
        ("1e999999999,1,1", "exceeds a signed integer of 64 bits"),
        ("inf,1,1", "column step: 'inf' is not a number"),
        ("1,inf,1", "column seconds"),
        (",1,1", "column step: '' is empty"),
        ("1,1,tensor(2.0)", "column loss: 'tensor\\(2.0\\)' is a number in the notation of a Python object"),
        ("1,1,[2.0]", "notation of a Python object"),
        ("1,1,2_000", "column loss: '2_000' is not a number"),
        ("1,1,1e999", "exceeds the range of a float"),
        ("1,1,True", "column loss: 'True' is not a number"),
    ],
)
def test_cells_without_an_exact_value_are_refused(tmp_path: Path, row: str, word: str) -> None:
    path = tmp_path / "log.csv"
    path.write_text(f"step,seconds,loss\n{row}\n")
    with pytest.raises(DataError, match=word):
        harness.import_csv(path, metric="loss", submission="a", workload="w")


@pytest.mark.parametrize(("column", "word"), [("_step", "64 bits"), ("_runtime", "a float"), ("loss", "a float")])
@pytest.mark.parametrize("sign", [1, -1])
def test_integers_beyond_every_float_are_refused(tmp_path: Path, column: str, word: str, sign: int) -> None:
    path = tmp_path / "history.json"
    path.write_text(json.dumps([{"_step": 2, "_runtime": 2.0, "loss": 2.5, column: sign * 10**400}]))
    with pytest.raises(DataError, match=f"exceeds .*{word}"):
        harness.import_wandb(path, submission="a", workload="w")


def test_cells_are_converted_exactly(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    path.write_text(
        "\ufeffstep,seconds,loss\r\n1e3, 1.5 ,NaN\r\n9007199254740993,2,-Infinity\r\n9223372036854775807,3,\r\n"
    )
    frame = harness.import_csv(path, metric="loss", submission="a", workload="w")
    assert frame["steps"].tolist() == [1000, 9007199254740993, 2**63 - 1]
    assert frame["seconds"].tolist() == [1.5, 2.0, 3.0]
    losses = frame["metric.loss"].tolist()
    assert math.isnan(losses[0])
    assert losses[1] == -math.inf
    assert math.isnan(losses[2])


def history(folder: Path, losses: Sequence[object], **columns: object) -> Path:
    rows = [{"_step": k, "_runtime": 1.0 + k, "loss": loss, **columns} for k, loss in enumerate(losses)]
    path = folder / "history.json"
    path.write_text(json.dumps(rows))
    return path


@pytest.mark.parametrize("columns", [{}, {"lr": 0.1}])
@pytest.mark.parametrize("tail", [["NaN", "Infinity"], [math.nan, math.inf], ["nan", "+inf"]])
def test_a_diverged_history(tmp_path: Path, columns: dict[str, object], tail: list[object]) -> None:
    frame = harness.import_wandb(history(tmp_path, [2.5, "9.1", *tail], **columns), submission="a", workload="w")
    losses = frame["metric.loss"].tolist()
    assert losses[:2] == [2.5, 9.1]
    assert math.isnan(losses[2])
    assert losses[3] == math.inf
    assert frame["steps"].tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("cell", ["tensor(2.0)", "tensor(2., device='cuda:0')", "np.float32(2.0)"])
def test_a_history_of_objects_is_refused(tmp_path: Path, cell: str) -> None:
    for losses in ([cell, cell], [1.0, cell]):
        with pytest.raises(DataError, match=r"row \d, column loss: .* notation of a Python object") as error:
            harness.import_wandb(history(tmp_path, losses, lr=0.1), submission="a", workload="w")
        assert "loss.item()" in str(error.value)


def test_columns_without_a_number_are_named(tmp_path: Path) -> None:
    path = history(tmp_path, [1.0], phase="train", image={"_type": "image-file"}, done=False)
    frame = harness.import_wandb(path, submission="a", workload="w")
    assert [c for c in frame.columns if c.startswith("metric.")] == ["metric.loss"]
    assert frame.attrs["left_out"] == [f"the column {name} has no number" for name in ("phase", "image", "done")]
    with pytest.raises(DataError, match="row 1, column loss"):
        harness.import_wandb(history(tmp_path, ["high", 1.0]), submission="a", workload="w")


def test_a_json_history_of_other_things(tmp_path: Path) -> None:
    path = tmp_path / "history.json"
    for text in ("[1, 2]", '{"_step": 0}\n7\n', "[" * 100_000, "\xff"):
        path.write_text(text, encoding="latin-1")
        with pytest.raises(DataError, match=r"cannot read|is not text"):
            log_files.read_json(path)
