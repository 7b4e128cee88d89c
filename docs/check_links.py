"""Checks that every relative link in the project's Markdown files leads somewhere, and that no placeholder is left."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

_PLACEHOLDER = re.compile(r"@[A-Z]{3,}@")
_LINK = re.compile(r"\[[^\]]*\]\(([^)#\s]+)(?:#[^)]*)?\)")


def main() -> int:
    root = Path(__file__).resolve().parent.parent
    listed = subprocess.run(["git", "ls-files", "*.md"], cwd=root, capture_output=True, text=True, check=True)
    broken = []
    for name in listed.stdout.split():
        page = root / name
        broken += [f"{name}: placeholder {found}" for found in _PLACEHOLDER.findall(page.read_text())]
        for target in _LINK.findall(page.read_text()):
            if "://" not in target and not target.startswith("mailto:") and not (page.parent / target).exists():
                broken.append(f"{name}: {target}")
    for line in broken:
        print(f"broken: {line}", file=sys.stderr)
    print(f"{len(listed.stdout.split())} pages, {len(broken)} broken")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
