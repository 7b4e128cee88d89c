"""Formats plain text: tables that fit the terminal, wrapped lines, numbers and sparklines."""

from __future__ import annotations

import os
import shutil
import sys
import textwrap
from collections.abc import Callable, Sequence

from harness.contract.workload import Target
from harness.errors import escape_controls

#: Characters per line of a table that is written to a pipe or a file.
WIDE = 140
#: Smallest width of the terminal at which a wide table is split by columns. In a narrower terminal, each row becomes a
#: block of lines.
NARROW = 72
_BARS = "▁▂▃▄▅▆▇█"
_GAP = "  "
_INDENT = "  "

#: Function that adds colours. Its arguments are the index of a row (0 is the heading) and one line of this row.
LineStyle = Callable[[int, str], str]


def terminal_width() -> int | None:
    """Return the number of characters per line: the environment variable `COLUMNS`, or else the terminal's width.

    The result is None if `COLUMNS` is not set and stdout is not a terminal.
    """
    if os.environ.get("COLUMNS", "").isdigit() or sys.stdout.isatty():
        return shutil.get_terminal_size((WIDE, 24)).columns
    return None


def wrap(line: str, width: int | None = None, indent: str = _INDENT) -> str:
    """Wrap a line between words to the width of the terminal, and indent all lines after the first.

    Control characters are escaped.

    Args:
        line: text without a line break.
        width: characters per line; None for the terminal's width. If it is None and there is no terminal, the line is
            not wrapped.
        indent: indentation of all lines after the first.

    >>> print(wrap("note: every submission missed", width=16))
    note: every
      submission
      missed
    """
    line = escape_controls(line)
    width = width or terminal_width()
    if width is None or len(line) <= width:
        return line
    return textwrap.fill(
        line, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False, replace_whitespace=False
    )


def columns(rows: Sequence[Sequence[str]], right_aligned: frozenset[int] = frozenset(), gap: str = _GAP) -> str:
    """Return rows as aligned columns.

    Args:
        rows: rows of cells. All rows have the same number of cells.
        right_aligned: indices of the columns that are aligned to the right.
        gap: text between columns.

    >>> print(columns([["name", "n"], ["wsd", "10"]], right_aligned=frozenset({1})))
    name   n
    wsd   10
    """
    return "\n".join(_align_rows(_escape_cells(rows), right_aligned, gap))


def _escape_cells(rows: Sequence[Sequence[str]]) -> list[list[str]]:
    """Escape the control characters of all cells, because a cell may contain a text from a record."""
    return [[escape_controls(cell) for cell in row] for row in rows]


def _align_rows(rows: Sequence[Sequence[str]], right_aligned: frozenset[int], gap: str = _GAP) -> list[str]:
    widths = _widths(rows)
    lines = (
        gap.join(
            cell.rjust(width) if i in right_aligned else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    )
    return [line.rstrip() for line in lines]


def _widths(rows: Sequence[Sequence[str]]) -> list[int]:
    return [max(map(len, column)) for column in zip(*rows, strict=True)]


def fit_table(
    rows: Sequence[Sequence[str]],
    *,
    right_aligned: frozenset[int] = frozenset(),
    leading_columns: int = 1,
    width: int | None = None,
    split: bool = True,
    style: LineStyle | None = None,
) -> str:
    """Return a table that fits the terminal. Cells in columns are not wrapped.

    The leading columns are the columns at the left, such as rank and name. A table that is too wide has one of two
    forms:

    - It is split by columns into several tables. Each of them begins with the leading columns.
    - Each row becomes a block of lines. This happens in a narrow terminal, or if a column does not fit next to the
      leading columns. The first line of a block is the cell in the last leading column. The other lines are
      `heading: cell`. They are wrapped, and exceed the width only if a single word exceeds it.

    Args:
        rows: the heading and the rows. All rows have the same number of cells.
        right_aligned: indices of the columns that are aligned to the right.
        leading_columns: number of leading columns.
        width: characters per line; None for the terminal's width, or `WIDE` if there is no terminal.
        split: whether a table that is too wide may be split by columns. If it may not, its rows become blocks.
        style: function that adds colours to each line; None for no colours.

    >>> table = [["rank", "name", "seconds", "memory"], ["1", "wsd", "12.5", "3 MiB"], ["2", "sgd", "14.1", "2 MiB"]]
    >>> print(fit_table(table, right_aligned=frozenset({0, 2, 3}), leading_columns=2, width=80))
    rank  name  seconds  memory
       1  wsd      12.5   3 MiB
       2  sgd      14.1   2 MiB
    >>> print(fit_table(table, leading_columns=2, width=20))
    wsd
      rank: 1
      seconds: 12.5
      memory: 3 MiB
    <BLANKLINE>
    sgd
      rank: 2
      seconds: 14.1
      memory: 2 MiB
    """
    width = width or terminal_width() or WIDE
    if not rows:
        return ""
    rows = _escape_cells(rows)
    groups = _column_groups(_widths(rows), leading_columns, width)
    if groups is None or (len(groups) > 1 and (width < NARROW or not split)):
        return _blocks(rows, leading_columns, width, style)
    tables = []
    for group in groups:
        part = [[row[i] for i in group] for row in rows]
        lines = _align_rows(part, frozenset(i for i, column in enumerate(group) if column in right_aligned))
        tables.append("\n".join(_apply_style(style, i, line) for i, line in enumerate(lines)))
    return "\n\n".join(tables)


def _column_groups(widths: Sequence[int], leading_columns: int, width: int) -> list[list[int]] | None:
    """Return the column indices of each part of a split table, including the leading columns.

    The result is None if a column does not fit next to the leading columns.
    """
    leading = list(range(leading_columns))
    leading_width = sum(widths[i] + len(_GAP) for i in leading)
    groups: list[list[int]] = []
    free_width = 0
    for i in range(leading_columns, len(widths)):
        column_width = widths[i] + len(_GAP)
        if groups and column_width <= free_width:
            groups[-1].append(i)
            free_width -= column_width
        elif leading_width + widths[i] <= width:
            groups.append([*leading, i])
            free_width = width - leading_width - widths[i]
        else:
            return None
    return groups or ([leading] if leading_width - len(_GAP) <= width else None)


def _blocks(rows: Sequence[Sequence[str]], leading_columns: int, width: int, style: LineStyle | None) -> str:
    heading, *body = rows
    order = [*range(leading_columns - 1), *range(leading_columns, len(heading))]
    blocks = []
    for index, row in enumerate(body, 1):
        lines = [row[leading_columns - 1]]
        for i in order:
            if row[i]:
                line = f"{_INDENT}{heading[i].strip()}: {row[i].strip()}" if heading[i].strip() else _INDENT + row[i]
                lines += wrap(line, width, indent=3 * _INDENT).split("\n")
        blocks.append("\n".join(_apply_style(style, index, line) for line in lines))
    return "\n\n".join(blocks)


def _apply_style(style: LineStyle | None, row: int, line: str) -> str:
    return line if style is None else style(row, line)


def sparkline(values: Sequence[float], width: int = 24, bounds: tuple[float, float] | None = None) -> str:
    """Return a curve as one line of block characters.

    Args:
        values: the curve.
        width: largest number of characters.
        bounds: values of the lowest block and of the full block. The curve is cut off at these values. If None, the
            smallest and the largest value are used.

    >>> sparkline([3.0, 2.0, 1.0]), sparkline([9.0, 2.0, 1.5, 1.0], bounds=(1.0, 2.0))
    ('█▄▁', '██▄▁')
    """
    if not values:
        return ""
    sampled = [values[i * len(values) // width] for i in range(width)] if len(values) > width else list(values)
    sampled[-1] = values[-1]
    low, high = bounds or (min(sampled), max(sampled))
    span = (high - low) or 1.0
    return "".join(_BARS[int((min(max(value, low), high) - low) / span * (len(_BARS) - 1))] for value in sampled)


def target_bound(target: Target) -> str:
    """Return `≤` (if the metric is minimised) or `≥` (if the metric is maximised), followed by the target's value.

    >>> target_bound(Target(metric="loss", goal="min", value=1.1))
    '≤ 1.1'
    """
    return f"{'≤' if target.goal == 'min' else '≥'} {number(target.value)}"


def seconds(value: float) -> str:
    """Return a duration in seconds as text.

    >>> seconds(3.21), seconds(75), seconds(7300)
    ('3.2 s', '1 min 15 s', '2 h 01 min')
    """
    if value < 60:
        return f"{value:.1f} s"
    if value < 3600:
        return f"{int(value // 60)} min {int(value % 60):02} s"
    return f"{int(value // 3600)} h {int(value % 3600 // 60):02} min"


def number(value: float) -> str:
    """Return a number as text with three significant digits. Integers of at least 1,000 keep all digits.

    >>> number(1234567), number(4519.6), number(0.00314159), number(1.5)
    ('1,234,567', '4,520', '0.00314', '1.5')
    """
    if float(value).is_integer() and abs(value) >= 1000:
        return f"{value:,.0f}"
    rounded = f"{value:.3g}"
    # Without an exponent, a number below a million is easier to read.
    return f"{float(rounded):,.0f}" if 1000 <= abs(float(rounded)) < 1e6 else rounded
