"""Makes texts from records safe to show: in a terminal, in a cell of a spreadsheet, and in Markdown."""

from __future__ import annotations

import re
from typing import TypeVar

from harness.errors import escape_controls

_Value = TypeVar("_Value")

#: Beginning of a text that a spreadsheet evaluates as a formula.
_FORMULA = re.compile(r"\s*[=+\-@＝＋－＠]")
#: Characters with a meaning in Markdown. An underscore within a word, as in `large_bn_init`, has no meaning. Brackets
#: are a link only if an address follows.
_MARKUP = re.compile(r"[\\`*|~]|\](?=[(\[:])|(?<!\w)_|_(?!\w)")
#: Beginning of an HTML entity, and of an HTML tag.
_ENTITY = re.compile(r"&(?=#?\w+;)")
_TAG = re.compile(r"<(?=[A-Za-z/!?])")


def escape_csv(value: str | _Value) -> str | _Value:
    """Return a value for a cell of a CSV file. An apostrophe is put before a text that would be a formula.

    Numbers, including negative numbers, are returned unchanged.

    >>> escape_csv("=1+1"), escape_csv(-1.5), escape_csv("wsd")
    ("'=1+1", -1.5, 'wsd')
    """
    if not isinstance(value, str):
        return value
    text = escape_controls(value)
    return f"'{text}" if _FORMULA.match(text) else text


def escape_markdown(text: str) -> str:
    r"""Return a text that Markdown shows as it is, also in a cell of a table.

    >>> print(escape_markdown("a|b <b> [x](y) large_bn_init"))
    a\|b &lt;b> [x\](y) large_bn_init
    """
    escaped = _MARKUP.sub(r"\\\g<0>", escape_controls(text))
    return _TAG.sub("&lt;", _ENTITY.sub("&amp;", escaped))
