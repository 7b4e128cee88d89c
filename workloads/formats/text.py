"""Read plain text, and encode it as character ids."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from harness.api import DataError


def read_text(path: Path) -> str:
    """Read the text of a UTF-8 file without changing its line ends.

    Raises:
        DataError: the file is empty or not UTF-8.
        FileNotFoundError: the file does not exist.
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
        text: the text whose characters form the alphabet.
    """

    def __init__(self, text: str) -> None:
        self._points = np.unique(_code_points(text))
        self.characters = "".join(map(chr, self._points.tolist()))

    def __len__(self) -> int:
        return len(self._points)

    def encode(self, text: str, where: str = "the text") -> NDArray[np.uint16]:
        """Return character ids (uint16, shape (n,)).

        Args:
            text: the text.
            where: name of the text in error messages, usually its file.

        Raises:
            DataError: a character is not in the alphabet.
        """
        points = _code_points(text)
        ids = np.searchsorted(self._points, points)
        wrong = self._points[np.minimum(ids, len(self) - 1)] != points
        if wrong.any():
            index = int(np.argmax(wrong))
            raise DataError(
                f"{where}: character {text[index]!r} at position {index:,} is not one of the {len(self)} characters "
                "of the alphabet"
            )
        return ids.astype(np.uint16)

    def decode(self, ids: object) -> str:
        """Return the text of character ids (integers, shape (n,))."""
        return "".join(map(chr, self._points[np.asarray(ids, dtype=np.int64)].tolist()))


def check(path: Path) -> None:
    """Raise DataError if a file is empty or not UTF-8 text."""
    read_text(path)


def _code_points(text: str) -> NDArray[np.uint32]:
    return np.frombuffer(text.encode("utf-32-le"), "<u4")
