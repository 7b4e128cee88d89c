"""Read the parts of docstrings: the text, and the descriptions of arguments and fields under `Args:`."""

from __future__ import annotations

import inspect
import re

_SECTION = re.compile(r"^(Args|Returns|Raises|Yields|Attributes):$", re.MULTILINE)
_NAME = re.compile(r"^([\w, ]+): (.*)$")


def docstring_text(documented: object) -> str:
    """Return the text of a docstring before its first section, without examples.

    >>> docstring_text(docstring_text)
    'Return the text of a docstring before its first section, without examples.'
    """
    text = inspect.getdoc(documented) or ""
    text = _SECTION.split(text)[0].split("\n>>> ")[0]
    return text.strip()


def argument_texts(documented: object) -> dict[str, str]:
    """Return a mapping from the name of each argument or field to its description in one line.

    Args:
        documented: a function or class. A line of its section `Args:` may describe several names: `a, b: text`.

    >>> argument_texts(argument_texts)
    {'documented': 'a function or class. A line of its section `Args:` may describe several names: `a, b: text`.'}
    """
    pieces = _SECTION.split(inspect.getdoc(documented) or "")
    sections = dict(zip(pieces[1::2], pieces[2::2], strict=True))
    texts: dict[str, str] = {}
    names: list[str] = []
    section = sections.get("Args", "").strip("\n").partition("\n\n")[0]
    for line in inspect.cleandoc("\n" + section).splitlines():
        match = _NAME.match(line)
        if match and not line.startswith(" "):
            names = [name.strip() for name in match[1].split(",")]
            texts.update(dict.fromkeys(names, match[2]))
        else:
            texts.update({name: f"{texts[name]} {line.strip()}" for name in names})
    return texts
