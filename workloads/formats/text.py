"""Plain text as character ids."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from harness.api import DataError


def read_text(path: Path) -> str:
    """The text of a UTF-8 file, line ends as they are.

    Raises:
        DataError: it is empty or not UTF-8; names the byte.
        FileNotFoundError: there is no such file.
    """
    raw = path.read_bytes()
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8 text: byte {error.start:,} is 0x{raw[error.start]:02x}") from None
    if not text:
        raise DataError(f"{path} is empty")
    return text


class Alphabet:
    """The characters of a text, numbered from 0 in code point order.

    >>> letters = Alphabet("hello")
    >>> letters.characters, letters.encode("hole").tolist(), letters.decode([1, 0])
    ('ehlo', [1, 3, 2, 0], 'he')

    Args:
        text: every character of it is in the alphabet.
    """

    def __init__(self, text: str) -> None:
        self._points = np.unique(_code_points(text))
        self.characters = "".join(map(chr, self._points.tolist()))

    def __len__(self) -> int:
        return len(self._points)

    def encode(self, text: str, where: str = "the text") -> NDArray[np.uint16]:
        """Character ids (uint16, shape (n,)).

        Args:
            where: what an error calls the text, usually its file.

        Raises:
            DataError: a character is not in the alphabet; names it and its position.
        """
        points = _code_points(text)
        ids = np.searchsorted(self._points, points)
        wrong = self._points[np.minimum(ids, len(self) - 1)] != points
        if wrong.any():
            at = int(np.argmax(wrong))
            raise DataError(
                f"{where}: character {text[at]!r} at position {at:,} is none of the {len(self)} of the alphabet"
            )
        return ids.astype(np.uint16)

    def decode(self, ids: object) -> str:
        """The text that these ids (integers, shape (n,)) stand for."""
        return "".join(map(chr, self._points[np.asarray(ids, dtype=np.int64)].tolist()))


def check(path: Path) -> None:
    """Raise DataError when a file is not UTF-8 text."""
    read_text(path)


def _code_points(text: str) -> NDArray[np.uint32]:
    return np.frombuffer(text.encode("utf-32-le"), "<u4")
