"""Write docs/adr/README.md: the index of the decision records, from their first lines.

usage: python -m tools.make_decisions          (a test fails if the page is stale)
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from tools.markdown import table_lines

FOLDER = Path(__file__).resolve().parent.parent / "docs" / "adr"
PAGE = FOLDER / "README.md"
#: The title, the date and the status of a decision record, and the rest of the paragraph about the status.
START = re.compile(r"# (\d+)\. (.+)\n\nDate: (\S+)\. Status: ([^.]+)\.(.*?)\n\n", re.DOTALL)
LINK = re.compile(r"\[ADR\s+\d+\]\([^)]+\)")
HEAD = """# Decisions

This page lists the design decisions of AlgoRace. Each page gives the context, the decision, the alternatives and the
consequences of one of them. You need them to know why something is as it is.
`python -m tools.make_decisions` generates this page. Do not edit it.

The status *amended* means that the page itself contains amendments. The last column names later decisions that change
a part of a decision.
"""


def page() -> str:
    """Return the page as Markdown."""
    rows = [_row(path.name, path.read_text(encoding="utf-8")) for path in records()]
    return "\n".join([HEAD, *table_lines(("decision", "date", "status", "amended by"), rows), ""])


def records() -> Iterator[Path]:
    """Yield the decision records by number."""
    yield from sorted(FOLDER.glob("[0-9][0-9][0-9][0-9]-*.md"))


def _row(name: str, text: str) -> tuple[str, str, str, str]:
    """Return the row about a decision record.

    >>> _row("0001-a.md", "# 1. A\\n\\nDate: 2026-01-01. Status: accepted. Amended by [ADR\\n2](0002-b.md): x.\\n\\n")
    ('[1. A](0001-a.md)', '2026-01-01', 'accepted', '[ADR 2](0002-b.md)')

    Raises:
        ValueError: the first lines do not have the form of a decision record.
    """
    start = START.match(text)
    if start is None:
        raise ValueError(f"{name}: write `# N. TITLE`, an empty line and `Date: DATE. Status: STATUS.`")
    number, title, date, status, remarks = start.groups()
    _, _, amendments = remarks.partition("Amended by")
    links = ", ".join(" ".join(link.split()) for link in LINK.findall(amendments))
    return f"[{number}. {title}]({name})", date, status, links or "–"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
