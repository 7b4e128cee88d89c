"""The tables of calibrations show what `bench calibrate` could not compute as a dash."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from harness.calibration.results import Calibration, Level, TunedSetting
from tools import make_calibration
from tools.make_calibration import POOL_COLUMNS, STREAM_COLUMNS, pool_row, stream_row, tables

SETTING = TunedSetting(submission="adamw@1", hparams={"lr": 0.001}, value=1.0, examples=64, run="run-a")


def calibration(**fields: Any) -> Calibration:
    return Calibration(
        workload="w@1", hardware="cpu", torch="2", settings=(SETTING,), best="adamw@1", anchor="adamw@1", horizon=64,
        **fields,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("levels", "hits"),
    [
        ({}, "–"),
        ({"main": Level(value=0.5, examples=(None, None), seconds=(None, None))}, "0 of 2 seeds, median – examples"),
        ({"main": Level(value=0.5, examples=(64, None), seconds=(1.0, None))}, "1 of 2 seeds, median 64 examples"),
    ],
)
def test_a_pool_without_a_level_or_a_hit_has_a_row(levels: dict[str, Level], hits: str) -> None:
    row = dict(zip(POOL_COLUMNS, pool_row(calibration(levels=levels)), strict=True))
    assert row["hard target"] == "–"
    assert row["**main target**"] == ("**0.5**" if levels else "**–**")
    assert row["`adamw-cosine` at the main target"] == hits


def test_a_stream_whose_first_stage_is_uncalibrated_is_no_pool(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    made = calibration(uncalibrated=("first", "second"))
    row = dict(zip(STREAM_COLUMNS, stream_row(made), strict=True))
    assert row["targets of the stages, without the factor"] == "–"
    assert row["tolerance factor"] == "not searched, because too few seeds reached first, second"
    monkeypatch.setattr(make_calibration, "FOLDER", tmp_path)
    (tmp_path / "w.json").write_bytes(msgspec.json.encode(made))
    assert tables().splitlines()[-1] == f"| {' | '.join(row.values())} |"
