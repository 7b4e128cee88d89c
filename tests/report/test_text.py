"""Tables fit the terminal: no line is too long, no cell is broken, names stay whole."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from harness.report import text
from harness.report.algoperf_tables import scores_text
from harness.report.text import fit_table
from harness.scoring.algoperf.rules import score_table
from harness.scoring.algoperf.targets import BASE_WORKLOADS
from tests.report import synthetic
from tests.report.conftest import Bench

WIDTHS = (60, 80, 100, 140)
LONG = "a-submission-with-a-name-that-somebody-made-much-too-long"


def table(names: list[str], columns: int = 9) -> list[list[str]]:
    heading = ["rank", "submission", *(f"workload-{i}@1 (coarse)" for i in range(columns))]
    rows = [
        [str(r), name, *(f"{r}{i}.25 (4/5 hit) {{{r}{i}.11 – missed}}" for i in range(columns))]
        for r, name in enumerate(names, 1)
    ]
    return [heading, *rows]


def words(rows: list[list[str]]) -> set[str]:
    """Every word of a table's cells."""
    return {word for row in rows for cell in row for word in cell.split()}


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("names", [["wsd@1", "adamw-cosine@1"], ["wsd@1", LONG]], ids=["short", "long"])
def test_no_line_is_too_long_and_no_word_is_broken(width: int, names: list[str]) -> None:
    rows = table(names)
    shown = fit_table(rows, right_aligned=frozenset(range(2, 11)), leading_columns=2, width=width)
    assert max(map(len, shown.splitlines())) <= width
    assert {word.removesuffix(":") for word in shown.split()} >= words(rows) - {"submission"}
    assert all(name in shown for name in names)


@pytest.mark.parametrize("width", [80, 100, 140])
def test_a_wide_table_is_split_by_columns_and_repeats_rank_and_name(width: int) -> None:
    parts = fit_table(table(["wsd@1", "sgd@1"]), leading_columns=2, width=width).split("\n\n")
    assert len(parts) > 1
    for part in parts:
        heading, first, second = part.splitlines()
        assert heading.split()[:2] == ["rank", "submission"]
        assert first.split()[:2] == ["1", "wsd@1"]
        assert second.split()[:2] == ["2", "sgd@1"]
        assert "workload-" in heading


@pytest.mark.parametrize(("width", "name"), [(60, "wsd@1"), (80, LONG)])
def test_one_block_per_row_where_it_is_narrow_or_no_column_fits(width: int, name: str) -> None:
    blocks = fit_table(table([name, "sgd@1"]), leading_columns=2, width=width).split("\n\n")
    assert len(blocks) == 2
    lines = blocks[0].splitlines()
    assert lines[:3] == [name, "  rank: 1", "  workload-0@1 (coarse): 10.25 (4/5 hit) {10.11 – missed}"]
    assert all(": " in line for line in lines[1:])


def test_a_table_that_fits_stays_whole_whatever_the_width() -> None:
    small = [["rank", "name", "n"], ["1", "wsd", "5"]]
    assert fit_table(small, leading_columns=2, width=20) == text.columns(small)
    assert fit_table(small[:1], width=20) == "rank  name  n"
    assert fit_table([], width=20) == ""


def test_rows_that_belong_together_become_blocks_instead_of_several_tables() -> None:
    rows = [["", "A", "B"], ["optimizer", "a" * 40, "b" * 40]]
    assert fit_table(rows, width=80, split=False) == f"optimizer\n  A: {'a' * 40}\n  B: {'b' * 40}"


def test_a_word_longer_than_the_line_stays_whole() -> None:
    shown = fit_table([["name", "hash"], ["wsd", "f" * 90]], width=60)
    assert shown.splitlines()[0] == "wsd"
    assert "f" * 90 in shown
    assert text.wrap("a " + "b" * 30 + " c", width=10) == "a\n  " + "b" * 30 + "\n  c"


def test_each_line_is_styled_on_its_own() -> None:
    shown = fit_table([["name", "n"], ["wsd", "5"]], style=lambda row, line: f"<{row}>{line}")
    assert shown == "<0>name  n\n<1>wsd   5"


def test_the_width_is_that_of_columns_or_of_the_terminal_or_wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "83")
    assert text.terminal_width() == 83
    monkeypatch.delenv("COLUMNS")
    monkeypatch.setattr("sys.stdout", type("Pipe", (), {"isatty": lambda self: False})())
    assert text.terminal_width() is None
    assert text.wrap("a " * 500) == "a " * 500, "nothing is folded in a pipe"
    lines = fit_table(table(["wsd@1"]), leading_columns=2).splitlines()
    assert 100 < max(map(len, lines)) <= text.WIDE


# --- commands ---------------------------------------------------------------------------------------


@pytest.fixture
def long_names(tmp_path: Path) -> None:
    names = {"alpha": 1.0, "beta-with-a-name-of-some-length": 1.4, LONG: 2.0}
    synthetic.write(
        tmp_path / "runs",
        [
            synthetic.record(name, synthetic.facts(workload), study, speed=speed)
            for name, speed in names.items()
            for workload in ("hills", "valleys", "mountains")
            for study in range(7)
        ],
    )


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize(
    "arguments",
    [
        ("leaderboard", "--reference", "alpha"),
        ("leaderboard", "--by", "metric@50%"),
        ("compare", "alpha", LONG),
        ("diff", "run-alpha-hills-1-0", f"run-{LONG}-hills-1-0"),
        ("best", "hills"),
    ],
    ids=["leaderboard", "metric", "compare", "diff", "best"],
)
def test_commands_fit_the_terminal(
    bench: Bench, long_names: None, monkeypatch: pytest.MonkeyPatch, width: int, arguments: tuple[str, ...]
) -> None:
    wide = bench(*arguments).out
    monkeypatch.setenv("COLUMNS", str(width))
    fitted = bench(*arguments).out
    too_long = [line for line in fitted.splitlines() if len(line) > width and " " in line.strip()]
    assert too_long == []

    def numbers(output: str) -> set[str]:
        return set(re.findall(r"(?<!\S)[\[{]?\d[\d.,]*(?!\S)", output))

    assert numbers(wide) <= numbers(fitted), "a number was broken or is gone"
    if arguments[0] == "leaderboard":
        assert f"{LONG}@1" in fitted


@pytest.mark.parametrize("width", WIDTHS)
def test_algoperf_scores_fit_the_terminal(width: int) -> None:
    names = ["baseline", "shampoo_submission", "schedule_free_adamw", LONG]
    times = {name: dict.fromkeys(BASE_WORKLOADS, 12345.0 * (1 + i)) for i, name in enumerate(names)}
    shown = scores_text(score_table(times, held_out=(), reference="baseline"), width=width)
    assert max(map(len, shown.splitlines())) <= width
    assert all(shown.count(name) >= 2 for name in names)
    assert shown.count("12,345") >= len(BASE_WORKLOADS)


def test_at_60_columns_a_submission_is_a_block(bench: Bench, long_names: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    fitted = bench("leaderboard", "--reference", "alpha").out
    assert "\nalpha@1 (reference)\n  rank: 1\n  n: 7\n  anchored: 0.400 [" in fitted
    assert f"\n{LONG}@1\n  rank: 3\n" in fitted
