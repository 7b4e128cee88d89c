"""Replace the generated blocks of pages that are otherwise written by hand."""

from __future__ import annotations


def replace_block(page: str, name: str, command: str, content: str) -> str:
    """Return the page with the content of one block replaced.

    Args:
        page: Markdown with the lines `<!-- NAME: COMMAND -->` and `<!-- end of NAME -->`.
        name: name of the block.
        command: the command that generates the block.
        content: Markdown, without blank lines at its beginning and end.

    Raises:
        ValueError: one of the lines is missing or occurs twice.

    >>> replace_block("<!-- table: make -->\\nold\\n<!-- end of table -->\\n", "table", "make", "new").splitlines()
    ['<!-- table: make -->', '', 'new', '', '<!-- end of table -->']
    """
    begin, end = f"<!-- {name}: {command} -->\n", f"<!-- end of {name} -->\n"
    for line in (begin, end):
        if page.count(line) != 1:
            raise ValueError(f"the page has the line {line.strip()} {page.count(line)} times; it must occur once")
    before, rest = page.split(begin)
    _, after = rest.split(end)
    return f"{before}{begin}\n{content}\n\n{end}{after}"
