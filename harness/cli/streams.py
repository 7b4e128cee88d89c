"""Handle standard streams that are closed or full, or that cannot encode a character.

- Standard output: a failed write ends the command with one message and exit code 1. If `head -1` closes the pipe in
  `bench runs | head -1`, there is no message, and the command keeps its exit code.
- Standard error: messages that cannot be written are dropped. The exit code does not change.
- Characters that standard output cannot encode are replaced.
"""

from __future__ import annotations

import codecs
import io
import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

_REPLACE = "bench-replace"
#: Replacements of characters that the harness prints. Braille patterns become `*`. Other characters become `?`.
_REPLACEMENTS: dict[str, str] = {
    "≥": ">=",
    "≤": "<=",
    "×": "x",
    "→": "->",
    "–": "-",
    "—": "-",
    "…": "...",
    "µ": "u",
    "−": "-",
    "·": ".",
    **dict.fromkeys("┼├└┘┌┐", "+"),
    "─": "-",
    "│": "|",
    "┤": "|",
    "▏": "|",
    "█": "#",
    "\u2800": " ",
}
#: The braille patterns, the characters from which curves are drawn.
_BRAILLE = range(0x2801, 0x2900)


def prepare_streams() -> None:
    """Replace the standard streams by streams with the properties that this module describes."""
    _open_closed_descriptors()
    codecs.register_error(_REPLACE, _replace)
    output, errors = sys.stdout, sys.stderr
    # A stream that a test or an embedding program has put in place of `sys.stdout` or `sys.stderr` is kept.
    if output is None or isinstance(output, io.TextIOWrapper):
        sys.stdout = io.TextIOWrapper(
            io.BufferedWriter(OutputFile(1, "wb", closefd=False)),
            encoding=output.encoding if output else "utf-8",
            errors=output.errors if output and output.errors not in ("strict", "surrogateescape") else _REPLACE,
            line_buffering=os.isatty(1),
        )
    if errors is None or isinstance(errors, io.TextIOWrapper):
        sys.stderr = io.TextIOWrapper(
            io.BufferedWriter(LossyFile(2, "wb", closefd=False)),
            encoding=errors.encoding if errors else "utf-8",
            errors="backslashreplace",
            line_buffering=True,
        )


class OutputFile(io.FileIO):
    """A file that remembers the first error in writing to it."""

    failure: OSError | None = None

    def write(self, data: ReadableBuffer, /) -> int:
        try:
            return super().write(data)
        except OSError as error:
            self.failure = self.failure or error
            raise


class LossyFile(io.FileIO):
    """A file that drops data that cannot be written to it."""

    def write(self, data: ReadableBuffer, /) -> int:
        try:
            return super().write(data) or memoryview(data).nbytes
        except OSError:
            return memoryview(data).nbytes


def flush_output() -> OSError | None:
    """Flush standard output. If this or an earlier write failed, return the error and discard the remaining output."""
    failure = output_failure()
    try:
        sys.stdout.flush()
    except OSError as error:
        failure = failure or error
    if failure is not None:
        # The interpreter flushes standard output when it exits. Without these lines, this flush would fail, too.
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, sys.stdout.fileno())
        os.close(null)
    return failure


def output_failure() -> OSError | None:
    """Return the first error so far in writing to standard output, or None."""
    raw = getattr(getattr(sys.stdout, "buffer", None), "raw", None)
    return raw.failure if isinstance(raw, OutputFile) else None


def can_encode(text: str) -> bool:
    """Return whether standard output can encode all characters of a text."""
    try:
        text.encode(getattr(sys.stdout, "encoding", None) or "utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _open_closed_descriptors() -> None:
    """Open the descriptors 0 to 2 if they are closed, so that no other file gets one of these numbers."""
    # Descriptor 1 is opened for reading, so that writing to it fails. Otherwise output would be lost without an error.
    for descriptor, flags in ((0, os.O_RDONLY), (1, os.O_RDONLY), (2, os.O_WRONLY)):
        try:
            os.fstat(descriptor)
        except OSError:
            opened = os.open(os.devnull, flags)  # gets the lowest free number, which is `descriptor`
            os.set_inheritable(opened, True)


def _replace(error: UnicodeError) -> tuple[str, int]:
    """Return the replacement of characters that cannot be encoded, and the position after them.

    >>> _replace(UnicodeEncodeError("ascii", "a ≥ é", 2, 5, ""))
    ('>= ?', 5)
    """
    if not isinstance(error, UnicodeEncodeError):
        raise error
    characters = error.object[error.start : error.end]
    return "".join(map(_replacement, characters)), error.end


def _replacement(character: str) -> str:
    if character.isascii():
        return character
    return _REPLACEMENTS.get(character, "*" if ord(character) in _BRAILLE else "?")
