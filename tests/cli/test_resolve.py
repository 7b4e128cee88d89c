"""The form of grids on the command line: any values can be written, and are read back as they were."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from harness.cli.resolve import format_grid, parse_grid

WORDS = st.text(st.characters(codec="ascii", exclude_characters="\n\r", min_codepoint=32), min_size=1).filter(
    lambda word: word == word.strip()
)


@given(st.lists(WORDS, min_size=1, max_size=4))
def test_values_with_commas_and_quotes_are_read_back(values: list[str]) -> None:
    assert parse_grid(format_grid({"name": values}), "--set") == {"name": tuple(values)}


def test_an_empty_value_is_kept() -> None:
    assert parse_grid(["name="], "--set") == {"name": ("",)}
