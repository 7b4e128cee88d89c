"""A message has one line of limited length without control characters, whatever it quotes."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness import cli
from harness.errors import MAX_MESSAGE, BenchError, UsageError, limit_message, unknown_name_error
from tests.report.test_escaping import CONTROLS


@given(st.text(), st.integers(min_value=2, max_value=300))
def test_a_limited_message_is_short_and_shows_its_controls(text: str, limit: int) -> None:
    shown = limit_message(text, limit)
    assert len(shown) <= limit
    assert not CONTROLS.search(shown)
    assert limit_message(shown, limit) == shown


@pytest.mark.parametrize("text", ["a" * 10_000_000, "\x1b[31m" * 2000, "[" * 1400 + "\u202e" * 400, "\ud800" * 900])
def test_an_error_is_one_short_line(text: str) -> None:
    error = UsageError(f"first {text} last", fix=f"write {text}\nagain")
    assert error.what.startswith("first ")
    assert error.what.endswith(" last")
    assert len(f"bench: {error}") <= MAX_MESSAGE
    assert not CONTROLS.search(str(error))
    assert "\n" not in str(error)
    # An error is often repeated with the words of another one.
    assert BenchError(error.what, fix=error.fix).what == error.what


def test_a_usual_message_is_unchanged() -> None:
    what = "lr=‑1 is out of range: " + "/a/long/path" * 50
    assert UsageError(what, fix="allowed: above 0").what == what


def test_a_long_list_of_names_ends_in_a_number() -> None:
    names = [f"name-{number:03}" for number in range(200)]
    assert str(unknown_name_error("part", "x" * 5000, names)).endswith(" and 150 more)")
    assert str(unknown_name_error("part", "x", names[:3])).endswith("(choose one of: name-000, name-001, name-002)")


@pytest.mark.parametrize(
    "argument", ["x\0y", "--runs=\0", "a\ud800", "x" * 5000, "\x1b[31m" * 1000, "--" + "y" * 3000, "-y" + "\n" * 3000]
)
def test_an_odd_argument_is_one_short_message(argument: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.invoke(["leaderboard", argument]) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("bench: ")
    assert len(captured.err.rstrip("\n")) <= MAX_MESSAGE
    assert not CONTROLS.search(captured.err)
    assert "internal error" not in captured.err


@pytest.mark.parametrize(
    "arguments",
    [["note", "a," * 3000], ["show", "9" * 400], ["diff", "../" * 3000, "x"], ["runs", "--runs", "y/" * 5000]],
)
def test_a_name_that_no_file_system_can_store_is_no_internal_error(
    arguments: list[str], capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.invoke(arguments) in (1, 2)
    message = capsys.readouterr().err
    assert message.startswith("bench: ")
    assert "internal error" not in message
    assert len(message.rstrip("\n")) <= MAX_MESSAGE
