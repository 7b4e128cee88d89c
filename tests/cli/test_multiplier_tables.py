"""The tables of fixed-budget in all formats of `bench leaderboard`, and in `bench report`."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest

from harness.storage.envelopes import write_envelope
from harness.storage.layout import RECORD, run_id
from harness.storage.records import encode
from tests.cli.conftest import Bench
from tests.scoring.test_multipliers import envelope, runs, tuned


@pytest.fixture
def table(bench: Bench) -> Bench:
    """`bench` in a folder with the runs of two submissions and an envelope."""
    records = [*tuned([0.3, 0.8, 1.6, 0.4, 0.3]), *runs([1.6] * 5, hparams={"lr": 0.01 * 9}), *runs([1.0] * 5, "ref")]
    for record in records:
        stored = msgspec.structs.replace(record, run_id=run_id(record.spec))
        path = Path("runs") / stored.run_id / RECORD
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode(stored))
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
    result = table("leaderboard", "--envelopes", "none")
    assert result.code == 0
    assert "bench calibrate w --envelope" in result.out.replace("\n", " ")


def test_a_damaged_envelope_is_an_error(table: Bench) -> None:
    Path("calibration/envelopes/w.json").write_text('{"schema": 1}')
    result = table("leaderboard")
    assert result.code != 0
    assert "calibration/envelopes/w.json" in result.err
    assert "Traceback" not in result.err
