"""Notes that a user writes about local runs, one text file per run."""

from __future__ import annotations

from pathlib import Path

from harness.errors import StoreError
from harness.system.files import open_regular, write_atomically

#: Name of the file with the note, in the folder of the run.
NOTE = "note.txt"
#: Maximum number of bytes that are read from a note.
MAX_BYTES = 10_000


def read_note(folder: Path) -> str:
    """Return the note about the run in a folder, as one line; "" if there is no note."""
    try:
        with open_regular(folder / NOTE) as file:
            return " ".join(file.read(MAX_BYTES).decode("utf-8", errors="replace").split())
    except StoreError:
        return ""


def write_note(folder: Path, note: str) -> None:
    """Write the note about the run in a folder, replacing an earlier note.

    Raises:
        StoreError: the file cannot be written.
    """
    write_atomically(folder / NOTE, note.encode() + b"\n")
