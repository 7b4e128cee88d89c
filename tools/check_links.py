"""Check that every link in the project's Markdown files to another file or heading leads to an existing one.

usage: python -m tools.check_links            (exit code 1 if a link is broken)
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
#: A placeholder for a generated figure, such as `@NAME@`.
PLACEHOLDER = re.compile(r"@[A-Z]{3,}@")
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ +(.*?)\s*$", re.MULTILINE)
#: A fenced block, in which headings and links are ignored.
FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
#: A code span, in which links are ignored.
CODE = re.compile(r"`[^`\n]*`")


def main() -> int:
    """Print every broken link of the Markdown files that git does not ignore, and return the exit code."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.md"]
    names = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    pages = [ROOT / name for name in names if (ROOT / name).exists()]
    problems = [f"{page.relative_to(ROOT)}: {problem}" for page in pages for problem in find_problems(page)]
    for problem in problems:
        print(f"broken: {problem}", file=sys.stderr)
    print(f"{len(pages)} pages, {len(problems)} broken links")
    return 1 if problems else 0


def find_problems(page: Path) -> Iterator[str]:
    """Yield a page's broken links, and the placeholders that no generated figure has replaced."""
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    yield from (f"placeholder {name}" for name in PLACEHOLDER.findall(text))
    for link in LINK.findall(CODE.sub("", text)):
        if "://" in link or link.startswith("mailto:"):
            continue
        name, _, anchor = link.partition("#")
        target = page.parent / name if name else page
        if not target.exists():
            yield link
        elif anchor and target.suffix == ".md" and anchor not in anchors(target.read_text(encoding="utf-8")):
            yield f"{link}: there is no heading #{anchor}"


def anchors(text: str) -> set[str]:
    """Return the anchors that GitHub generates for a page's headings."""
    names: set[str] = set()
    for heading in HEADING.findall(FENCE.sub("", text)):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()
        name = anchor = re.sub(r"[^\w\- ]", "", plain).replace(" ", "-")
        number = 0
        while name in names:
            number += 1
            name = f"{anchor}-{number}"
        names.add(name)
    return names


if __name__ == "__main__":
    sys.exit(main())
