"""Texts from records are shown, and never act: not in a terminal, a spreadsheet, a Markdown or an HTML page."""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness import cli
from harness.errors import escape_controls
from harness.report import text
from harness.report.escaping import escape_csv, escape_markdown
from harness.report.grid import Grid, grid_html, grid_markdown, grid_text
from tests.report import synthetic

CONTROLS = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e\u2066]")
#: A formula, a cursor movement, a direction of writing, and markup.
NAMES = ("=1+1", "@SUM(A1)", "+1", "-2|x", "\x1b[2J<b>", "a\nb\u202e", "[x](y)", "`*x*`")


def test_controls_are_shown_in_pythons_notation() -> None:
    assert escape_controls("a\x1b[31mb\r\n\t\x9b\u202e\x00") == r"a\x1b[31mb\r\n\t\x9b\u202e\x00"
    assert escape_controls("a\nb\r", keep="\n") == "a\nb\\r"
    assert escape_controls("ünï ≤ 1.1 ▁▂▃ 中") == "ünï ≤ 1.1 ▁▂▃ 中"


@pytest.mark.parametrize("value", ["=1+1", "+1", "-1+2", "@x", " =1", "\t=1", "＝1", "=cmd|' /C calc'!A0"])
def test_a_formula_is_text(value: str) -> None:
    assert str(escape_csv(value))[0] in "'\\"


@pytest.mark.parametrize("value", [-1.5, 3, None, True, float("-inf"), "wsd", "a=b", "1-2", "large_bn_init"])
def test_other_cells_are_unchanged(value: object) -> None:
    assert escape_csv(value) is value


@given(st.text())
def test_markdown_stays_in_its_cell(value: str) -> None:
    grid = Grid(title="t", heading=["a", "b"], rows=[[value, "x"]], right_aligned=frozenset())
    line = grid_markdown(grid)[2]
    assert len(re.split(r"(?<!\\)(?:\\\\)*\|", line)) == 4
    assert not CONTROLS.search(line)
    assert not re.search(r"<[A-Za-z/!?]", line)


@given(st.lists(st.text(), min_size=2, max_size=2), st.integers(10, 200))
def test_text_tables_have_no_control_characters(row: list[str], width: int) -> None:
    grid = Grid(title=row[0], heading=["a", "b"], rows=[row], right_aligned=frozenset({1}))
    for shown in (grid_text(grid, width), text.columns([row]), text.wrap(row[0], width), grid_html(grid)):
        assert not CONTROLS.search(shown)


def test_markdown_shows_what_a_record_says() -> None:
    assert escape_markdown("a|b") == r"a\|b"
    assert escape_markdown(r"a\|b") == r"a\\\|b"
    assert escape_markdown("<img src=x> p < 0.01 &lt; &") == "&lt;img src=x> p < 0.01 &amp;lt; &"
    assert escape_markdown("_x_ fastmri_tanh") == r"\_x\_ fastmri_tanh"


@pytest.mark.parametrize("form", ["csv", "md", "html", "table"])
def test_a_leaderboard_of_hostile_names(tmp_path: Path, form: str, capsys: pytest.CaptureFixture[str]) -> None:
    synthetic.write(tmp_path, [synthetic.record(name, study=k) for name in NAMES for k in range(2)])
    command = ["leaderboard", "--runs", "none", "--results", str(tmp_path), "--format", form]
    assert cli.invoke(command) == 0, capsys.readouterr().err
    shown = capsys.readouterr()
    assert not CONTROLS.search(shown.out + shown.err)
    if form == "csv":
        names = {row["submission"] for row in csv.DictReader(io.StringIO(shown.out))}
        shown_names = ("'=1+1", "'@SUM(A1)", "'+1", "'-2|x", r"\x1b[2J<b>", r"a\nb\u202e", "[x](y)", "`*x*`")
        assert names == {f"{name}@1" for name in shown_names}
    if form == "md":
        assert "[x\\](y)" in shown.out
        assert "<b>" not in shown.out


def test_an_error_has_no_control_characters(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.invoke(["show", "\x1b[31mnothing"]) == 2
    assert "\\x1b[31mnothing" in capsys.readouterr().err
