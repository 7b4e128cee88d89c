"""Compute the code hash of a submission or workload: the hash of its tokens, without comments, docstrings, layout.

`source_hash`, in contrast, is the hash of the bytes. An edited comment changes the source hash but not the results. The
code hash therefore decides whether a finished run is kept (docs/adr/0020-a-comment-reruns-nothing.md).
"""

from __future__ import annotations

import ast
import functools
import io
import tokenize
from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType

from harness.plugins.source_hash import hash_contents, labelled_contents

#: Names with which code reads its docstrings.
_READS_DOCSTRINGS = ("__doc__", "getdoc")
#: Names with which code reads its source, or its place in the source.
_READS_SOURCE = (
    "__file__",
    "__loader__",
    "co_firstlineno",
    "co_positions",
    "f_lineno",
    "getcomments",
    "getsource",
    "getsourcelines",
    "linecache",
    "tb_lineno",
    "tokenize",
)
#: Tokens whose text is layout. INDENT, DEDENT and NEWLINE are kept, without their text.
_SKIPPED = frozenset({tokenize.COMMENT, tokenize.NL, tokenize.ENCODING, tokenize.ENDMARKER})
_LAYOUT: Mapping[int, str] = MappingProxyType(
    {tokenize.INDENT: "{indent}", tokenize.DEDENT: "{dedent}", tokenize.NEWLINE: "{newline}"}
)
#: Tokens that begin and end an f-string or t-string, by the version of Python. Before 3.12, an f-string is one token.
_BEGINS = frozenset(getattr(tokenize, name) for name in ("FSTRING_START", "TSTRING_START") if hasattr(tokenize, name))
_ENDS = frozenset(getattr(tokenize, name) for name in ("FSTRING_END", "TSTRING_END") if hasattr(tokenize, name))


def code_hash(loads: Iterable[str]) -> str:
    """Return the SHA-256 of the tokens in the source files of import paths. No module is imported.

    The hash covers the same files as `source_hash`. Comments, empty lines, the width of an indentation, and line breaks
    within brackets do not count. Docstrings count only if a file reads docstrings. If a file reads its own source, or
    cannot be tokenised, the hash covers the bytes of all files instead.

    Raises:
        PluginError: an import path is malformed.
    """
    contents = labelled_contents(loads)
    try:
        texts = [tokens_text(content, docstrings=False) for _, content in contents]
        words = {word for text in texts for word in text.split("\0")}
        if _mentions(words, _READS_DOCSTRINGS):
            texts = [tokens_text(content) for _, content in contents]
    except (SyntaxError, ValueError, tokenize.TokenError):
        return hash_contents(contents)
    if _mentions(words, _READS_SOURCE):
        return hash_contents(contents)
    return hash_contents((label, text.encode()) for (label, _), text in zip(contents, texts, strict=True))


def _mentions(words: Iterable[str], names: tuple[str, ...]) -> bool:
    """Return whether a token is one of the names, or a string that contains one, as in `getattr(f, "__doc__")`."""
    return any(word in names or (word[-1:] in "'\"" and any(name in word for name in names)) for word in words if word)


@functools.lru_cache(maxsize=1024)
def tokens_text(source: bytes, docstrings: bool = True) -> str:
    """Return the tokens of a Python file, separated by NUL.

    Args:
        source: content of the file.
        docstrings: whether docstrings are included.

    Raises:
        SyntaxError, ValueError, tokenize.TokenError: the content is not Python.

    >>> tokens_text(b"x = [1,  # one\\n 2]") == tokens_text(b"# two\\n\\nx=[1, 2]\\n")
    True
    >>> tokens_text(b"x = 1\\n") == tokens_text(b"x = (1)\\n")
    False
    >>> tokens_text(b"'''Text.'''\\nx = 1", docstrings=False) == tokens_text(b"x = 1")
    True
    """
    places = frozenset() if docstrings else _docstring_places(source)
    return "\0".join(_iter_texts(source, places))


def _iter_texts(source: bytes, left_out: frozenset[tuple[int, int]]) -> Iterator[str]:
    """Yield the text of each token, without the statements that begin at the places `left_out`."""
    in_docstring, depth, began = False, 0, (0, 0)
    lines = [""]
    for token in tokenize.tokenize(io.BytesIO(source).readline):
        if token.type == tokenize.ENCODING:
            lines += source.decode(token.string).splitlines(keepends=True)
        if token.type in _SKIPPED:
            continue
        if token.start in left_out:
            in_docstring = True
        if in_docstring:
            # The docstring ends with its statement: at the end of the line, or at a semicolon.
            in_docstring = token.type != tokenize.NEWLINE and token.string != ";"
            continue
        # All tokens of an f-string become one text.
        if token.type in _BEGINS:
            depth, began = depth + 1, token.start if depth == 0 else began
        if depth:
            if token.type in _ENDS:
                depth -= 1
                if depth == 0:
                    yield _cut(lines, began, token.end)
            continue
        yield _LAYOUT.get(token.type, token.string)


def _cut(lines: list[str], start: tuple[int, int], end: tuple[int, int]) -> str:
    """Return the text between two places in lines, which are counted from 1."""
    if start[0] == end[0]:
        return lines[start[0]][start[1] : end[1]]
    return "".join([lines[start[0]][start[1] :], *lines[start[0] + 1 : end[0]], lines[end[0]][: end[1]]])


def _docstring_places(source: bytes) -> frozenset[tuple[int, int]]:
    """Return the line and the column of every docstring."""
    lines = source.splitlines()
    places = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and node.body:
            first = node.body[0]
            if (
                isinstance(first, ast.Expr)
                and isinstance(first.value, ast.Constant)
                and isinstance(first.value.value, str)
            ):
                # ast counts bytes of UTF-8, tokenize counts characters.
                before = lines[first.lineno - 1][: first.col_offset]
                places.add((first.lineno, len(before.decode(errors="replace"))))
    return frozenset(places)
