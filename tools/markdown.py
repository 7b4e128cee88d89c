"""Write Markdown: tables."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def table_lines(heading: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Return the lines of a table.

    >>> table_lines(["name", "text"], [["a", "b|c"]])
    ['| name | text |', '|---|---|', '| a | b\\\\|c |']
    """
    cells = [[" ".join(cell.split()).replace("|", "\\|") for cell in row] for row in rows]
    return [
        "| " + " | ".join(heading) + " |",
        "|" + "---|" * len(heading),
        *("| " + " | ".join(row) + " |" for row in cells),
    ]
