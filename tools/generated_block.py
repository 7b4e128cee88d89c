"""Generated blocks within pages that are otherwise written by people."""

from __future__ import annotations


def replace_block(page: str, name: str, command: str, content: str) -> str:
    """The page with the content of one block replaced.

    Args:
        page: Markdown with the lines `<!-- NAME: COMMAND -->` and `<!-- end of NAME -->`.
        name: what the block holds.
        command: what generates it.
        content: Markdown, without blank lines at its ends.

    Raises:
        ValueError: the page lacks one of the lines, or has it twice.

    >>> replace_block("<!-- table: make -->\\nold\\n<!-- end of table -->\\n", "table", "make", "new").splitlines()
    ['<!-- table: make -->', '', 'new', '', '<!-- end of table -->']
    """
    begin, end = f"<!-- {name}: {command} -->\n", f"<!-- end of {name} -->\n"
    for line in (begin, end):
        if page.count(line) != 1:
            raise ValueError(f"the page has the line {line.strip()} {page.count(line)} times; it must have it once")
    before, rest = page.split(begin)
    _, after = rest.split(end)
    return f"{before}{begin}\n{content}\n\n{end}{after}"
