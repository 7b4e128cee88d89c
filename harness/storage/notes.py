"""Notes that a user writes about local runs, one text file per run."""

from __future__ import annotations

from pathlib import Path

from harness.system.files import write_atomically

NOTE = "note.txt"
#: Longest note that is read, in bytes.
MAX_BYTES = 10_000


def read_note(folder: Path) -> str:
    """The note about the run of a folder; empty without one."""
    try:
        with open(folder / NOTE, "rb") as file:
            return " ".join(file.read(MAX_BYTES).decode("utf-8", errors="replace").split())
    except OSError:
        return ""


def write_note(folder: Path, note: str) -> None:
    """Write the note about the run of a folder, in place of the one that it has.

    Raises:
        StoreError: the file cannot be written.
    """
    write_atomically(folder / NOTE, note.encode() + b"\n")
