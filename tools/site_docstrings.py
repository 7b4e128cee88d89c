"""An extension of griffe, the reader of docstrings for the site. It turns doctests into code blocks."""

from __future__ import annotations

from typing import Any

import griffe


class FencedDoctests(griffe.Extension):
    """Wraps the doctests of every docstring in fences."""

    def on_instance(self, *, obj: griffe.Object, **_: Any) -> None:
        """Change the docstring of an object that griffe has read."""
        if obj.docstring is not None and ">>> " in obj.docstring.value:
            obj.docstring.value = fence_doctests(obj.docstring.value)


def fence_doctests(text: str) -> str:
    """Return a docstring with its doctests in fences.

    >>> fence_doctests("Add.\\n\\n>>> 1 + 1\\n2").replace("```", "'").splitlines()
    ['Add.', '', "'pycon", '>>> 1 + 1', '2', "'"]
    """
    return "\n\n".join(
        f"```pycon\n{paragraph}\n```" if paragraph.startswith(">>> ") else paragraph for paragraph in text.split("\n\n")
    )
