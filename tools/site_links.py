"""A hook of mkdocs that turns links to files that are not on the site into links to GitHub.

The pages are written for GitHub, where `../CONTRIBUTING.md` is a relative link. The site contains only the pages
(`.md`) in `docs/`.
"""

from __future__ import annotations

import os
import re
from typing import Any

#: Address of the repository's files.
BLOB = "https://github.com/algorace/algorace/blob/main/"
_LINK = re.compile(r"(\[[^\]]*\]\()([^)\s#]+)(#[^)\s]*)?\)")
_FENCE = re.compile(r"(^ *```.*?^ *```)", re.MULTILINE | re.DOTALL)


def on_page_markdown(markdown: str, *, page: Any, **_: Any) -> str:
    """Return the text of a page with its links to files outside the site replaced. mkdocs calls this function."""
    return replace_links(markdown, page.file.src_uri)


def replace_links(markdown: str, page: str) -> str:
    """Return the text of a page with its links to files other than the pages in `docs/` replaced.

    Args:
        markdown: the text.
        page: path of the page, relative to `docs/`.

    >>> replace_links("[a](../harness/README.md#map), [b](gate.md), [c](measured/x.txt)", "gate.md").split(", ")[::2]
    ['[a](https://github.com/algorace/algorace/blob/main/harness/README.md#map)', \
'[c](https://github.com/algorace/algorace/blob/main/docs/measured/x.txt)']
    """

    def replace(match: re.Match[str]) -> str:
        before, target, anchor = match[1], match[2], match[3] or ""
        if "://" in target or target.startswith("mailto:"):
            return match[0]
        path = os.path.normpath(os.path.join("docs", os.path.dirname(page), target))
        # A link to anything other than a page leads to GitHub.
        if path.startswith("docs/") and path.endswith(".md"):
            return f"{before}{os.path.relpath(path, os.path.dirname(f'docs/{page}'))}{anchor})"
        return f"{before}{BLOB}{path}{anchor})"

    pieces = _FENCE.split(markdown)
    return "".join(piece if index % 2 else _LINK.sub(replace, piece) for index, piece in enumerate(pieces))
