"""The documents of the project: their pages, and the fenced blocks of code in them."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
#: Folders whose pages are data, templates or fixtures.
EXCLUDED = ("tests/", "results/", ".github/")
_FENCE = re.compile(r"^(?P<indent> *)```(?P<language>[\w.+-]*)\s*$")
_FRAGMENT = re.compile(r"<!-- fragment: (?P<reason>.+?) -->")


@dataclass(frozen=True, kw_only=True)
class Block:
    """A fenced block of a page.

    Args:
        page: path of the page, relative to the repository.
        line: number of the line after the opening fence, from 1.
        language: the word after the opening fence; empty if there is none.
        text: the content, without the indentation of the fence.
        fragment: the reason why the block is not complete code; empty if it is complete. It is in a comment
            `<!-- fragment: REASON -->` on the line above the fence.
    """

    page: str
    line: int
    language: str
    text: str
    fragment: str

    @property
    def place(self) -> str:
        return f"{self.page}:{self.line}"


def list_pages() -> list[str]:
    """The Markdown files of the project, relative to the repository."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.md"]
    names = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    return sorted(name for name in set(names) if not name.startswith(EXCLUDED) and (ROOT / name).exists())


def find_blocks(page: str, text: str) -> Iterator[Block]:
    """The fenced blocks of a page.

    >>> [block] = find_blocks("a.md", "<!-- fragment: no imports -->\\n```python\\nx = y\\n```\\n")
    >>> block.language, block.text, block.line, block.fragment
    ('python', 'x = y\\n', 3, 'no imports')
    """
    lines = text.splitlines()
    opening: re.Match[str] | None = None
    first = 0
    for number, line in enumerate(lines):
        match = _FENCE.match(line)
        if match is None:
            continue
        if opening is None:
            opening, first = match, number + 1
            continue
        above = next((above for above in reversed(lines[: first - 1]) if above.strip()), "")
        marker = _FRAGMENT.search(above)
        content = [inner.removeprefix(opening["indent"]) for inner in lines[first:number]]
        yield Block(
            page=page,
            line=first + 1,
            language=opening["language"],
            text="".join(f"{inner}\n" for inner in content),
            fragment=marker["reason"] if marker else "",
        )
        opening = None


def all_blocks() -> list[Block]:
    """The blocks of all pages."""
    return [block for page in list_pages() for block in find_blocks(page, (ROOT / page).read_text(encoding="utf-8"))]


def join_continued(text: str) -> list[str]:
    r"""The lines of a block of shell commands. A line that ends in a backslash is joined with the next one.

    >>> join_continued("bench run \\\n  -s wsd\n\nmake demo  # fast\n# a comment\n")
    ['bench run   -s wsd', 'make demo  # fast']
    """
    joined = text.replace("\\\n", "")
    return [line.strip() for line in joined.splitlines() if line.strip() and not line.lstrip().startswith("#")]
