"""Broken links and missing headings are found."""

from __future__ import annotations

from pathlib import Path

from tools.check_links import anchors, find_problems


def test_anchors_are_those_of_github() -> None:
    text = "# One: `two`\n\n## A & B\n\n### Twice\n### Twice\n\n```\n# no heading\n```\n## See [there](x.md)\n"
    assert anchors(text) == {"one-two", "a--b", "twice", "twice-1", "see-there"}


def test_links_that_lead_nowhere_are_named(tmp_path: Path) -> None:
    (tmp_path / "other.md").write_text("# Known\n")
    page = tmp_path / "page.md"
    page.write_text(
        "[a](other.md) [b](other.md#known) [c](#here) [d](https://example.org/x) `[e](code.md)`\n\n# Here\n\n"
        "[f](missing.md) [g](other.md#unknown) @MISSING@\n\n```\n[h](fenced.md)\n```\n"
    )
    assert list(find_problems(page)) == [
        "placeholder @MISSING@",
        "missing.md",
        "other.md#unknown: there is no heading #unknown",
    ]
