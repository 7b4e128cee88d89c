"""Plain-text layout: tables that fit the terminal, wrapping, numbers, sparklines."""

from __future__ import annotations

import os
import shutil
import sys
import textwrap
from collections.abc import Callable, Sequence

from harness.contract.workload import Target

#: Characters of a line of a table where no terminal limits it: in pipes and files.
WIDE = 140
#: In a terminal narrower than this a table that does not fit becomes one block per row.
NARROW = 72
_BARS = "▁▂▃▄▅▆▇█"
_GAP = "  "
_INDENT = "  "

#: Decorates a line of a table, given the index of its row (0 is the heading); must not change what is seen.
LineStyle = Callable[[int, str], str]


def terminal_width() -> int | None:
    """Characters of a line: `COLUMNS` where it is set, else the terminal's; None where stdout is not a terminal."""
    if os.environ.get("COLUMNS", "").isdigit() or sys.stdout.isatty():
        return shutil.get_terminal_size((WIDE, 24)).columns
    return None


def wrap(line: str, width: int | None = None, indent: str = _INDENT) -> str:
    """A sentence on lines of the terminal's width, broken between words only; further lines are indented.

    Args:
        line: without a line break.
        width: characters of a line; the terminal's when None, and then no limit where there is no terminal.
        indent: what further lines begin with.

    >>> print(wrap("note: every submission missed", width=16))
    note: every
      submission
      missed
    """
    width = width or terminal_width()
    if width is None or len(line) <= width:
        return line
    return textwrap.fill(
        line, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False, replace_whitespace=False
    )


def columns(rows: Sequence[Sequence[str]], right: frozenset[int] = frozenset(), gap: str = _GAP) -> str:
    """Rows as aligned columns; the columns in `right` are aligned to the right.

    >>> print(columns([["name", "n"], ["wsd", "10"]], right_aligned=frozenset({1})))
    name   n
    wsd   10
    """
    return "\n".join(_aligned(rows, right, gap))


def _aligned(rows: Sequence[Sequence[str]], right: frozenset[int], gap: str = _GAP) -> list[str]:
    widths = _widths(rows)
    lines = (
        gap.join(
            cell.rjust(w) if i in right else cell.ljust(w) for i, (cell, w) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    )
    return [line.rstrip() for line in lines]


def _widths(rows: Sequence[Sequence[str]]) -> list[int]:
    return [max(map(len, column)) for column in zip(*rows, strict=True)]


def fit_table(
    rows: Sequence[Sequence[str]],
    *,
    right: frozenset[int] = frozenset(),
    lead: int = 1,
    width: int | None = None,
    split: bool = True,
    style: LineStyle | None = None,
) -> str:
    """A table that fits the terminal, without breaking a cell.

    A table that is too wide is split by columns into several, each of which repeats the first `lead` columns. In a
    narrow terminal, and where not even one column fits beside these, every row becomes a block of lines `name: value`
    below its last leading cell. Only a word that is longer than the line exceeds it.

    Args:
        rows: the heading, then the rows; all of one length.
        right: columns that are aligned to the right.
        lead: leading columns, such as rank and name.
        width: characters of a line; the terminal's when None, or `WIDE` where there is no terminal.
        split: whether columns may stand in different tables; otherwise a table that is too wide becomes blocks.
        style: decorates each line.

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
    groups = _column_groups(_widths(rows), lead, width)
    if groups is None or (len(groups) > 1 and (width < NARROW or not split)):
        return _blocks(rows, lead, width, style)
    tables = []
    for group in groups:
        part = [[row[i] for i in group] for row in rows]
        lines = _aligned(part, frozenset(i for i, column in enumerate(group) if column in right))
        tables.append("\n".join(_styled(style, i, line) for i, line in enumerate(lines)))
    return "\n\n".join(tables)


def _column_groups(widths: Sequence[int], lead: int, width: int) -> list[list[int]] | None:
    """Columns of each table, the leading ones in all of them; None where no column fits beside these."""
    leading = list(range(lead))
    taken = sum(widths[i] + len(_GAP) for i in leading)
    groups: list[list[int]] = []
    room = 0
    for i in range(lead, len(widths)):
        needed = widths[i] + len(_GAP)
        if groups and needed <= room:
            groups[-1].append(i)
            room -= needed
        elif taken + widths[i] <= width:
            groups.append([*leading, i])
            room = width - taken - widths[i]
        else:
            return None
    return groups or ([leading] if taken - len(_GAP) <= width else None)


def _blocks(rows: Sequence[Sequence[str]], lead: int, width: int, style: LineStyle | None) -> str:
    heading, *body = rows
    order = [*range(lead - 1), *range(lead, len(heading))]
    blocks = []
    for index, row in enumerate(body, 1):
        lines = [row[lead - 1]]
        for i in order:
            if row[i]:
                line = f"{_INDENT}{heading[i].strip()}: {row[i].strip()}" if heading[i].strip() else _INDENT + row[i]
                lines += wrap(line, width, indent=3 * _INDENT).split("\n")
        blocks.append("\n".join(_styled(style, index, line) for line in lines))
    return "\n\n".join(blocks)


def _styled(style: LineStyle | None, row: int, line: str) -> str:
    return line if style is None else style(row, line)


def sparkline(values: Sequence[float], width: int = 24) -> str:
    """A curve in one line of text; the highest value is a full block.

    >>> sparkline([3.0, 2.0, 1.0])
    '█▄▁'
    """
    if not values:
        return ""
    chosen = [values[i * len(values) // width] for i in range(width)] if len(values) > width else list(values)
    chosen[-1] = values[-1]
    low, high = min(chosen), max(chosen)
    span = (high - low) or 1.0
    return "".join(_BARS[int((v - low) / span * (len(_BARS) - 1))] for v in chosen)


def target_bound(target: Target) -> str:
    """A target's value and the side from which it must be reached.

    >>> target_bound(Target(metric="loss", goal="min", value=1.1))
    '≤ 1.1'
    """
    return f"{'≤' if target.goal == 'min' else '≥'} {number(target.value)}"


def seconds(value: float) -> str:
    """
    >>> seconds(3.21), seconds(75), seconds(7300)
    ('3.2 s', '1 min 15 s', '2 h 01 min')
    """
    if value < 60:
        return f"{value:.1f} s"
    if value < 3600:
        return f"{int(value // 60)} min {int(value % 60):02} s"
    return f"{int(value // 3600)} h {int(value % 3600 // 60):02} min"


def number(value: float) -> str:
    """
    >>> number(1234567), number(0.00314159), number(1.5)
    ('1,234,567', '0.00314', '1.5')
    """
    return f"{value:,.0f}" if float(value).is_integer() and abs(value) >= 1000 else f"{value:.3g}"
