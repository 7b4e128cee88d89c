"""Write the list of rules in docs/rules.md from the docstrings of `harness/worker/rules/`.

usage: python -m tools.make_rules            (a test fails if the list is stale)
"""

from __future__ import annotations

import textwrap
from pathlib import Path

from harness.worker.rules import rule_docs
from tools.generated_block import replace_block

PAGE = Path(__file__).resolve().parent.parent / "docs" / "rules.md"
LINE_LENGTH = 120


def page() -> str:
    """Return the page with an up-to-date list."""
    return replace_block(PAGE.read_text(encoding="utf-8"), "rules", "python -m tools.make_rules", rules())


def rules() -> str:
    """Return the rules as Markdown.

    The heading of a rule is its first sentence. The list below says what is forbidden, why, and what to do instead.
    """
    return "\n\n".join(_rule(docstring) for _, docstring in rule_docs())


def _rule(docstring: str) -> str:
    summary, *paragraphs = docstring.strip().split("\n\n")
    items: list[str] = []
    for paragraph in paragraphs:
        label, _, text = " ".join(paragraph.split()).partition(": ")
        items += textwrap.wrap(
            f"- *{label}:* {text}",
            LINE_LENGTH,
            subsequent_indent="  ",
            break_long_words=False,
            break_on_hyphens=False,
        )
    return "\n".join([f"### {' '.join(summary.split()).removesuffix('.')}", "", *items])


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
