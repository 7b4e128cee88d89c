"""A table of strings, and its rendering as text, Markdown and HTML."""

from __future__ import annotations

import html
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from harness.errors import escape_controls
from harness.report import text
from harness.report.escaping import escape_markdown


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """A table of strings.

    Args:
        title: one line above the table.
        sentences: sentences between the title and the table, the most important one first; may be empty.
        heading: column headings.
        rows: rows of cells, each as long as the heading.
        right_aligned: indices of the columns that are aligned to the right.
        leading_columns: number of columns at the left that are repeated if a wide table is split into several tables.
        first_row_leads: whether the first row is the only row with the best rank.
        is_ranking: whether the rows are submissions with ranks. A page has a section for each ranking.
        notes: explanations below the table; may be empty.
    """

    title: str
    heading: list[str]
    rows: list[list[str]]
    right_aligned: frozenset[int]
    leading_columns: int = 1
    first_row_leads: bool = False
    is_ranking: bool = False
    sentences: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Palette:
    """Functions that add terminal colours to a line. The default functions return the line unchanged.

    Args:
        title: function for the title of a table.
        heading: function for the heading of a table.
        leader: function for the row of the only submission with the best rank, and for the sentences above a table.
        note: function for the notes below a table.
    """

    title: Callable[[str], str] = str
    heading: Callable[[str], str] = str
    leader: Callable[[str], str] = str
    note: Callable[[str], str] = str

    def lines(self, decorate: Callable[[str], str], paragraph: str) -> str:
        """Apply `decorate` to each line of a paragraph separately, so that no colour extends over a line break."""
        return "\n".join(decorate(line) for line in paragraph.split("\n"))


PLAIN = Palette()


def grid_text(grid: Grid, width: int | None = None, palette: Palette = PLAIN) -> str:
    """Return a grid as text that fits the terminal (see `text.fit_table`)."""

    def decorate(row: int, line: str) -> str:
        if row == 0:
            return palette.heading(line)
        return palette.leader(line) if row == 1 and grid.first_row_leads else line

    table = text.fit_table(
        [grid.heading, *grid.rows],
        right_aligned=grid.right_aligned,
        leading_columns=grid.leading_columns,
        width=width,
        style=decorate,
    )
    sentences = [palette.lines(palette.leader, text.wrap(" ".join(grid.sentences), width))] if grid.sentences else []
    notes = [palette.lines(palette.note, text.wrap(note, width)) for note in grid.notes]
    return "\n".join([palette.lines(palette.title, text.wrap(grid.title, width)), *sentences, table, *notes])


def grid_markdown(grid: Grid) -> list[str]:
    """Return the lines of a grid as a Markdown table, between its sentences and its notes, and without its title."""

    def row(values: Sequence[str]) -> str:
        return "| " + " | ".join(map(escape_markdown, values)) + " |"

    rule = "|" + "|".join("--:" if i in grid.right_aligned else "---" for i in range(len(grid.heading))) + "|"
    first, *others = map(escape_markdown, grid.sentences) if grid.sentences else ("",)
    paragraph = [" ".join([f"**{first}**", *others]), ""] if first else []
    notes = ["", *(f"- {escape_markdown(note)}" for note in grid.notes)] if grid.notes else []
    return [*paragraph, row(grid.heading), rule, *(row(r) for r in grid.rows), *notes]


def grid_html(grid: Grid) -> str:
    """Return a grid as an HTML table with its title as caption, in a region that can be scrolled with the keyboard.

    The sentences of the grid stand above the region, and its notes below.
    """

    def row(values: Sequence[str], tag: str) -> str:
        cells = (
            f"<{tag}{' class=r' if i in grid.right_aligned else ''}>{html.escape(escape_controls(v))}</{tag}>"
            for i, v in enumerate(values)
        )
        return f"<tr>{''.join(cells)}</tr>"

    rows = "".join(row(r, "td") for r in grid.rows)
    title = html.escape(escape_controls(grid.title))
    table = f"<table><caption>{title}</caption><thead>{row(grid.heading, 'th')}</thead><tbody>{rows}</tbody></table>"
    first, *others = (html.escape(escape_controls(sentence)) for sentence in grid.sentences or ("",))
    paragraph = f"<p>{' '.join([f'<strong>{first}</strong>', *others])}</p>" if first else ""
    notes = "".join(f"<p>{html.escape(escape_controls(note))}</p>" for note in grid.notes)
    return f'{paragraph}<div tabindex="0" role="region" aria-label="{title}">{table}</div>{notes}'
