"""A series records how its differences are computed: with which envelopes, or without."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from harness.contract.run import RunSpec
from tests.gating.test_command import Bench, bench, by_marker, write

__all__ = ["bench"]  # the fixture
SERIES = ("gate", "./mine.py", "-w", "resnet-digits", "--series", "edits")
CONFIRM = ("gate", "--confirm", "edits")
STATE, ENVELOPE = Path(".bench-series/edits.json"), Path("calibration/gate/resnet-digits.json")


def losses(spec: RunSpec) -> float:
    return float(by_marker(spec) * spec.workload.facts.budget.horizon**-0.2)


def replace_envelope() -> None:
    stored: dict[str, Any] = json.loads(ENVELOPE.read_text())
    ENVELOPE.write_text(json.dumps({**stored, "values": [2 * value for value in stored["values"]]}))


def candidate() -> dict[str, Any]:
    (found,) = json.loads(STATE.read_text())["candidates"]
    return dict(found)


@pytest.fixture
def open_gate(bench: Bench) -> Bench:
    """A series with one candidate whose gate is undecided after two pairs."""
    bench.losses = losses
    write(0.9)
    assert bench(*SERIES, "--max-pairs", "2").code == 4
    return bench


def test_a_gate_of_a_series_goes_on_with_its_envelope(open_gate: Bench) -> None:
    assert set(candidate()["envelopes"]) == {"resnet-digits"}
    result = open_gate(*SERIES, "--no-envelope")
    assert result.code == 2
    assert "candidate 1 of edits was gated with envelopes (leave out --no-envelope" in result.err
    original = ENVELOPE.read_text()
    replace_envelope()
    result = open_gate(*SERIES)
    assert result.code == 2
    assert "candidate 1 of edits was gated with another envelope of resnet-digits (restore the file" in result.err
    assert candidate()["outcome"] == "undecided"
    ENVELOPE.write_text(original)
    assert open_gate(*SERIES).code == 0
    assert "was gated with envelopes" in open_gate(*CONFIRM, "--no-envelope").err
    replace_envelope()
    assert "was gated with another envelope" in open_gate(*CONFIRM).err
    ENVELOPE.write_text(original)
    assert open_gate(*CONFIRM).code == 0


def test_a_gate_without_an_envelope_goes_on_without_one(bench: Bench) -> None:
    bench.losses = losses
    write(0.9)
    assert bench(*SERIES, "--no-envelope", "--max-pairs", "2").code == 4
    assert candidate()["envelopes"] == {}
    assert "was gated without an envelope (repeat the command with --no-envelope)" in bench(*SERIES).err
    assert bench(*SERIES, "--no-envelope").code == 0
    _, confirmed = bench.json(*CONFIRM)
    assert confirmed["confirmed"][0]["fallback"] == "the candidate was gated without an envelope"


def test_a_file_that_names_no_envelopes_is_continued(open_gate: Bench) -> None:
    """Earlier versions did not store them."""
    stored = json.loads(STATE.read_text())
    del stored["candidates"][0]["envelopes"]
    STATE.write_text(json.dumps(stored))
    assert open_gate(*SERIES).code == 0
